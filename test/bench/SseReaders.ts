/**
 * Clients of event streams in a process of their own, as light as can be: plain sockets that count. Driven by messages of the
 * bench; also used as `readers()` there.
 */
import { type ChildProcess, fork } from "node:child_process"
import { connect, type Socket } from "node:net"
import { fileURLToPath } from "node:url"

type Command =
  | { readonly kind: "open"; readonly port: number; readonly path: string; readonly count: number }
  | { readonly kind: "pause" | "resume"; readonly from: number; readonly to: number }
  | { readonly kind: "reset" | "report" | "close" }

export interface Report {
  /** Events that arrived since the last reset, at all sockets and at the one that got the fewest and is not paused. */
  readonly events: number
  readonly fewest: number
  /** From an event's `at` to its arrival, of a tenth of the sockets that are not paused. */
  readonly delaysMs: ReadonlyArray<number>
  readonly lost: number
}

const mark = Buffer.from("\ndata: ")

/** Occurrences of the mark; `carry` holds the end of the piece before, for a mark that two pieces share. */
const count = (chunk: Buffer): number => {
  let found = 0
  for (let at = chunk.indexOf(mark); at >= 0; at = chunk.indexOf(mark, at + mark.length)) found++
  return found
}

const serve = () => {
  interface Reader {
    readonly socket: Socket
    readonly isSampled: boolean
    isPaused: boolean
    events: number
    carry: Buffer
  }
  const readers: Array<Reader> = []
  let delaysMs: Array<number> = []
  let lost = 0
  const now = () => performance.timeOrigin + performance.now()

  const open = (port: number, path: string) =>
    new Promise<void>((resolve) => {
      const socket = connect(port, "127.0.0.1")
      const reader: Reader = {
        socket,
        isSampled: readers.length % 10 === 0,
        isPaused: false,
        events: 0,
        carry: Buffer.alloc(0),
      }
      readers.push(reader)
      socket.write(`GET ${path} HTTP/1.1\r\nHost: bench\r\nAccept: text/event-stream\r\n\r\n`)
      socket.once("data", () => resolve())
      socket.on("data", (piece) => {
        const chunk = reader.carry.length === 0 ? piece : Buffer.concat([reader.carry, piece])
        // A piece normally ends with an event.
        reader.carry = piece.at(-1) === 10 ? Buffer.alloc(0) : piece.subarray(-(mark.length - 1))
        const found = count(chunk)
        reader.events += found
        if (found > 0 && reader.isSampled && !reader.isPaused) {
          const at = chunk.lastIndexOf('"at":"')
          if (at >= 0) delaysMs.push(now() - Date.parse(chunk.toString("latin1", at + 6, at + 30)))
        }
      })
      socket.on("error", () => undefined)
      socket.on("close", () => {
        lost++
      })
    })

  const run = async (command: Command): Promise<unknown> => {
    switch (command.kind) {
      case "open":
        for (let opened = 0; opened < command.count; opened += 50) {
          const many = Math.min(50, command.count - opened)
          await Promise.all(Array.from({ length: many }, () => open(command.port, command.path)))
        }
        return null
      case "pause":
      case "resume":
        for (const reader of readers.slice(command.from, command.to)) {
          reader.isPaused = command.kind === "pause"
          if (reader.isPaused) reader.socket.pause()
          else reader.socket.resume()
        }
        return null
      case "reset":
        for (const reader of readers) reader.events = 0
        delaysMs = []
        return null
      case "report":
        return {
          events: readers.reduce((sum, { events }) => sum + events, 0),
          fewest: readers.reduce(
            (least, { events, isPaused }) => (isPaused ? least : Math.min(least, events)),
            Infinity,
          ),
          delaysMs,
          lost,
        } satisfies Report
      case "close":
        for (const { socket } of readers.splice(0)) socket.destroy()
        lost = 0
        return null
    }
  }
  process.on("message", (command: Command) => {
    void run(command).then((answer) => process.send?.({ answer }))
  })
}

/** A process that is asked one thing at a time. */
export const ask = <A>(child: ChildProcess, command: unknown): Promise<A> =>
  new Promise((resolve, reject) => {
    const failed = () => reject(new Error("a process of the bench has ended"))
    child.once("exit", failed)
    child.once("message", (message: { readonly answer: A }) => {
      child.off("exit", failed)
      resolve(message.answer)
    })
    child.send(command as never)
  })

export const startReaders = () => {
  const child = fork(fileURLToPath(import.meta.url), ["readers"])
  return {
    command: <A = null>(command: Command) => ask<A>(child, command),
    stop: () => child.kill(),
  }
}

if (process.argv[2] === "readers") serve()
