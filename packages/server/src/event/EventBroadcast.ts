import type { ServerResponse } from "node:http"
import type { Socket } from "node:net"
import type { Event } from "@rat/domain"
import { untilReconnected } from "@rat/lakehouse"
import { Context, Effect, Fiber, Layer, Semaphore } from "effect"
import { heartbeat } from "../http/ServerSentEvents.ts"
import { RunSettings } from "../run/RunSettings.ts"
import { type EventFilter, matchesFilter } from "./EventHub.ts"
import { EventLog } from "./EventLog.ts"
import { eventFrame, gapFrame } from "./EventWire.ts"

/** What a client has not taken yet; beyond it nothing is written until it has, and then read from the log. */
const maxBufferedBytes = 256 * 1024

/** Events that a client which catches up gets at once. */
const pageSize = 100

/** Clients that read from the log at the same time: those who are behind must not slow down the others. */
const readers = 4

/** Heartbeats that a client which takes nothing lives through. */
const maxStalledBeats = 4

/** Clients with the same filter get the same bytes. */
interface Group {
  readonly filter: EventFilter
  readonly clients: Set<Client>
}

interface Client {
  readonly socket: Socket
  /** Whether the body is sent in chunks (HTTP/1.1), which need a frame of their own. */
  readonly isChunked: boolean
  readonly group: Group
  /** Everything up to here has been written, or is not wanted. */
  position: bigint
  /** It does not get live events: it reads from the log, or waits until it has taken what was written. */
  isBehind: boolean
  /** Heartbeats since it took anything of what waits for it, and how much that was at the last one. */
  stalledBeats: number
  waitingBytes: number
}

/** One message to many: encoded once, framed once. */
interface Message {
  readonly bytes: Buffer
  readonly chunk: Buffer
}

const message = (text: string): Message => {
  const bytes = Buffer.from(text, "utf8")
  const head = Buffer.from(`${bytes.length.toString(16)}\r\n`, "latin1")
  return { bytes, chunk: Buffer.concat([head, bytes, Buffer.from("\r\n", "latin1")]) }
}

/** Without data: nothing happens, but the client resumes from here. */
const idFrame = (offset: bigint): string => `id: ${offset}\n\n`

const groupKey = ({ key, namespace, types }: EventFilter) => JSON.stringify([key, namespace, types?.toSorted()])

/**
 * Writes this node's events to the sockets of its event streams. An event is encoded once for all clients and the same
 * buffer goes to each socket, past the response object (whose chunks would be three writes). What a client does not
 * take stays bounded: it is left out until its socket has drained, and catches up from the log.
 *
 * Invariants: every client gets each event of its filter once, in order; `position` never goes back; nothing here waits
 * for a client.
 */
export class EventBroadcast extends Context.Service<
  EventBroadcast,
  {
    /**
     * Sends events to a response whose head is set, behind `after` or from now on, until interrupted. The response is not
     * ended. Nobody else may write to it meanwhile.
     */
    readonly send: (
      response: ServerResponse,
      options: { readonly filter: EventFilter; readonly after: bigint | undefined },
    ) => Effect.Effect<never>
    /** Clients now, and how many of them are behind. */
    readonly state: Effect.Effect<{ readonly clients: number; readonly behind: number }>
  }
>()("rat/server/event/EventBroadcast") {
  static readonly layer = Layer.effect(
    EventBroadcast,
    Effect.gen(function* () {
      const log = yield* EventLog
      const settings = yield* RunSettings
      const scope = yield* Effect.scope
      const context = yield* Effect.context<never>()
      const fork = Effect.runForkWith(context)
      const reading = yield* Semaphore.make(readers)
      const groups = new Map<string, Group>()
      /** Of the last event that was handed out here. */
      let newest = 0n

      const write = (client: Client, { bytes, chunk }: Message) => {
        client.socket.write(client.isChunked ? chunk : bytes)
      }
      const isFull = ({ socket }: Client) => socket.writableLength > maxBufferedBytes

      const advance = (client: Client) => {
        if (client.position < newest) client.position = newest
      }

      newest = yield* log.attach({
        events: (events) => {
          const first = events[0]?.offset
          if (first === undefined) return
          newest = events.at(-1)!.offset
          const frames: Array<string> = []
          const frameOf = (index: number) => (frames[index] ??= eventFrame(events[index]!))
          let everything: Message | undefined
          for (const { clients, filter } of groups.values()) {
            const wanted = wantedOf(events, filter)
            if (wanted.length === 0) {
              for (const client of clients) if (!client.isBehind) advance(client)
              continue
            }
            const isAll = wanted.length === events.length
            const made = (isAll ? everything : undefined) ?? message(wanted.map(frameOf).join(""))
            if (isAll) everything = made
            for (const client of clients) {
              if (client.isBehind) continue
              if (isFull(client)) {
                // Its socket says when it has taken what it was sent.
                client.isBehind = true
                continue
              }
              if (client.position < first) write(client, made)
              else {
                // It has read further in the log than this node had come.
                const rest = wanted.filter((index) => events[index]!.offset > client.position)
                if (rest.length > 0) write(client, message(rest.map(frameOf).join("")))
              }
              advance(client)
            }
          }
        },
        skipped: (upTo) => {
          const gaps = new Map<bigint, Message>()
          for (const { clients } of groups.values()) {
            for (const client of clients) {
              if (client.isBehind || client.position >= upTo) continue
              const gap = gaps.get(client.position) ?? message(gapFrame(client.position, upTo))
              gaps.set(client.position, gap)
              client.position = upTo
              write(client, gap)
            }
          }
          newest = upTo
        },
      })

      /** Reads for a client until it is live again, or full again. */
      const catchUp = Effect.fnUntraced(function* (client: Client) {
        for (;;) {
          if (client.socket.destroyed || isFull(client)) return
          if (client.position === newest) {
            // Nothing is handed out between this look and the change.
            client.isBehind = false
            return
          }
          const page = yield* log
            .page(client.position, pageSize, client.group.filter)
            .pipe(reading.withPermit, Effect.retry(untilReconnected), Effect.orDie)
          if (client.position > newest) {
            // It comes from a node that is ahead of this one. If the log does not know its offset, it comes from another log: a
            // database that was set back.
            if (page.newest < client.position) {
              client.position = page.newest
              write(client, message(idFrame(page.newest)))
            }
            client.isBehind = false
            return
          }
          const gap = page.missed > 0 ? gapFrame(client.position, page.oldest - 1n) : ""
          const text = gap + page.events.map(eventFrame).join("")
          if (text !== "") write(client, message(text))
          client.position = page.next
        }
      })

      const join = (client: Client) => {
        const { socket } = client
        let reader: Fiber.Fiber<void> | undefined
        const read = () => {
          if (!client.isBehind || (reader !== undefined && reader.pollUnsafe() === undefined)) return
          reader = fork(catchUp(client))
        }
        socket.on("drain", read)
        client.group.clients.add(client)
        // So that who loses the connection before the first event resumes from here.
        if (!client.isBehind) write(client, message(idFrame(client.position)))
        read()
        return () => {
          socket.off("drain", read)
          client.group.clients.delete(client)
          if (client.group.clients.size === 0) groups.delete(groupKey(client.group.filter))
          return reader === undefined ? Effect.void : Fiber.interrupt(reader)
        }
      }

      const send = Effect.fnUntraced(function* (
        response: ServerResponse,
        options: { readonly filter: EventFilter; readonly after: bigint | undefined },
      ) {
        response.flushHeaders()
        // Behind an answer that is still being sent on the same connection (pipelining) there is no socket yet.
        const socket = response.socket ?? (yield* socketOf(response))
        return yield* Effect.acquireUseRelease(
          Effect.sync(() => {
            const key = groupKey(options.filter)
            const group = groups.get(key) ?? { filter: options.filter, clients: new Set() }
            groups.set(key, group)
            const isChunked = response.chunkedEncoding
            const position = options.after ?? newest
            return join({
              socket,
              isChunked,
              group,
              position,
              isBehind: position !== newest,
              stalledBeats: 0,
              waitingBytes: 0,
            })
          }),
          () => Effect.never,
          (leave) => leave(),
        )
      })

      yield* Effect.sync(() => {
        // The offset goes along, so that who resumes after a quiet time need not have the log searched for what it wants.
        const beat = message(`id: ${newest}\n${heartbeat}`)
        for (const { clients } of groups.values()) {
          for (const client of clients) {
            if (!isFull(client)) {
              if (!client.isBehind && client.position === newest) write(client, beat)
              continue
            }
            const { writableLength } = client.socket
            client.stalledBeats = writableLength < client.waitingBytes ? 0 : client.stalledBeats + 1
            client.waitingBytes = writableLength
            if (client.stalledBeats > maxStalledBeats) client.socket.destroy()
          }
        }
      }).pipe(Effect.delay(settings.streamHeartbeat), Effect.forever, Effect.forkIn(scope))

      return EventBroadcast.of({
        send,
        state: Effect.sync(() => {
          const clients = [...groups.values()].flatMap((group) => [...group.clients])
          return { clients: clients.length, behind: clients.filter(({ isBehind }) => isBehind).length }
        }),
      })
    }),
  )
}

const wantedOf = (events: ReadonlyArray<Event>, filter: EventFilter): ReadonlyArray<number> => {
  const wanted: Array<number> = []
  for (let index = 0; index < events.length; index++) if (matchesFilter(filter, events[index]!)) wanted.push(index)
  return wanted
}

const socketOf = (response: ServerResponse) =>
  Effect.callback<Socket>((resume) => {
    response.once("socket", (socket: Socket) => process.nextTick(() => resume(Effect.succeed(socket))))
  })
