import { PgClient } from "@effect/sql-pg"
import type { Event } from "@rat/domain"
import { untilReconnected } from "@rat/lakehouse"
import { Array as Arr, Context, Effect, Layer, Queue, type Scope, Semaphore, Stream } from "effect"
import { SecureRandom } from "effect/crypto"
import type { SqlError } from "effect/sql"
import { type ConsumeOptions, makeConsume } from "./EventConsumer.ts"
import { type EventFilter, EventHub, type EventListener } from "./EventHub.ts"
import { type EventPage, makeEventRead } from "./EventRead.ts"
import { pruneForever, relayForever } from "./EventRelay.ts"
import { EventSettings } from "./EventSettings.ts"
import { Outbox } from "./Outbox.ts"

const channel = "rat_event"
const pageSize = 500

export interface SubscribeOptions extends EventFilter {
  /** Starts with the log's events above it. */
  readonly after?: bigint
  /** Events above `after` (inclusive: up to `upTo`) were removed before they could be read. */
  readonly onMissed?: (after: bigint, upTo: bigint) => Effect.Effect<void>
}

/**
 * The log of everything that happened: at-least-once, ordered per key, replayable from an offset. Nothing polls: this
 * node's relay hands over what it moves, and a notice in the transaction of every other relay says how far to read.
 */
export class EventLog extends Context.Service<
  EventLog,
  {
    /** Events above `after` in order, at most `limit`. Those older than the retention are gone. */
    readonly read: (
      after: bigint,
      limit: number,
      filter?: EventFilter,
    ) => Effect.Effect<ReadonlyArray<Event>, SqlError.SqlError>
    /** As `read`, with the ends of the log and what was missed. A page may be empty though more follow: see `next`. */
    readonly page: (after: bigint, limit: number, filter?: EventFilter) => Effect.Effect<EventPage, SqlError.SqlError>
    /** Offset of the newest event that this node has handed out. */
    readonly position: Effect.Effect<bigint>
    /** Hears of every event until the scope closes; answers with the position behind which it begins. */
    readonly attach: (listener: EventListener) => Effect.Effect<bigint, never, Scope.Scope>
    /**
     * Live events, without an end. With `after` it starts with the log's events above that offset, without it from
     * now on. A subscriber that is slower than events arrive reads what it missed from the log: no event is lost or
     * doubled. Waits out outages.
     */
    readonly subscribe: (options?: SubscribeOptions) => Stream.Stream<Event>
    /**
     * Handles every event once or more often, in order, on one node of the cluster at a time, until the scope closes.
     * How far `name` has come is kept in Postgres. An event whose handler fails is tried again, with back-off, before
     * any later one, until it succeeds or a person skips it. A new name starts at `startAt`, by default with events from
     * now on. `replay` calls handlers again with what they have had.
     */
    readonly consume: (
      name: string,
      handler: (event: Event) => Effect.Effect<void, unknown>,
      options?: ConsumeOptions,
    ) => Effect.Effect<void, never, Scope.Scope>
  }
>()("rat/server/event/EventLog") {
  static readonly layer = Layer.effect(
    EventLog,
    Effect.gen(function* () {
      const sql = yield* PgClient.PgClient
      const settings = yield* EventSettings
      const node = SecureRandom.uuidV7Unsafe()
      const page = makeEventRead(sql)
      const read = (after: bigint, limit: number, filter?: EventFilter) =>
        Effect.gen(function* () {
          for (let from = after; ; ) {
            const { events, newest, next } = yield* page(from, limit, filter)
            if (events.length > 0 || next >= newest) return events
            from = next
          }
        })

      const [head] = yield* sql<{ last_offset: bigint }>`select last_offset from event_head`
      const hub = new EventHub(head!.last_offset)

      // The relay's own batches and pages read because of a notice must not overtake each other.
      const delivery = yield* Semaphore.make(1)
      const catchUp = Effect.gen(function* () {
        for (;;) {
          const { events, missed, oldest } = yield* page(hub.position, pageSize)
          // Everything up to there was pruned while this node was away.
          if (missed > 0) hub.skipTo(oldest - 1n)
          hub.publish(events)
          if (events.length < pageSize) return
        }
      })
      // Where nobody listens, nothing is read: whoever comes later begins where the log is by then.
      const reach = (offset: bigint) =>
        delivery.withPermit(
          Effect.suspend(() => {
            if (hub.position >= offset) return Effect.void
            return hub.isUnheard ? Effect.sync(() => hub.skipTo(offset)) : catchUp
          }),
        )
      const deliver = (events: ReadonlyArray<Event>) =>
        delivery.withPermit(
          Effect.suspend(() => {
            const fresh = events.filter((event) => event.offset > hub.position)
            if (fresh.length === 0) return Effect.void
            if (hub.isUnheard) return Effect.sync(() => hub.skipTo(fresh.at(-1)!.offset))
            if (fresh[0]!.offset !== hub.position + 1n) return catchUp
            return Effect.sync(() => hub.publish(fresh))
          }),
        )

      yield* Effect.forkScoped(relayForever({ sql, node, deliver }))
      yield* Effect.forkScoped(pruneForever({ sql, settings, position: () => hub.position }))

      const listen = Effect.gen(function* () {
        const notices = yield* sql.listen(channel)
        // Notices may have been missed before.
        yield* delivery.withPermit(catchUp)
        for (;;) {
          let furthest = 0n
          // All that came while the last page was read are one reason to read.
          for (const { payload } of yield* Queue.takeAll(notices)) {
            const [from, offset] = payload.split(" ")
            // Our own relay hands its events over itself; reading them again would double the work.
            if (from !== node && BigInt(offset!) > furthest) furthest = BigInt(offset!)
          }
          yield* reach(furthest)
        }
      })
      yield* Effect.scoped(listen).pipe(
        Effect.tapError((error) => Effect.logWarning("The event log's connection was lost; reconnecting", error)),
        Effect.retry(untilReconnected),
        Effect.forkScoped,
      )

      const attach = (listener: EventListener) =>
        Effect.acquireRelease(
          Effect.sync(() => {
            hub.listeners.add(listener)
            return hub.position
          }),
          () => Effect.sync(() => hub.listeners.delete(listener)),
        )

      const subscribe = (options: SubscribeOptions = {}) => {
        const { after, onMissed, ...filter } = options
        return Stream.unwrap(
          Effect.gen(function* () {
            const subscriber = yield* Effect.acquireRelease(hub.subscribe(filter), (subscriber) =>
              Effect.sync(() => hub.unsubscribe(subscriber)),
            )
            // From here on live events wait in the queue; those up to `readTo` are in the log only.
            let readTo = hub.position
            let last = after ?? readTo
            const pull = Effect.gen(function* () {
              for (;;) {
                let events: ReadonlyArray<Event>
                if (last < readTo) {
                  const found = yield* page(last, pageSize, filter).pipe(Effect.retry(untilReconnected), Effect.orDie)
                  if (found.missed > 0 && onMissed !== undefined) yield* onMissed(last, found.oldest - 1n)
                  events = found.events.filter((event) => event.offset <= readTo)
                  last = found.next
                  if (last > readTo) last = readTo
                } else {
                  const waiting = yield* Queue.takeAll(subscriber.queue)
                  if (subscriber.isBehind) {
                    // What waited is in the log as well, before what did not fit.
                    subscriber.isBehind = false
                    readTo = hub.position
                    continue
                  }
                  events = waiting.filter((event) => event.offset > last)
                  last = events.at(-1)?.offset ?? last
                }
                if (Arr.isReadonlyArrayNonEmpty(events)) return events
              }
            })
            return Stream.fromPull(Effect.succeed(pull))
          }),
        )
      }

      const consume = yield* makeConsume({ sql, subscribe })
      return EventLog.of({ read, page, position: Effect.sync(() => hub.position), attach, subscribe, consume })
    }),
  ).pipe(Layer.provideMerge(Outbox.layer))
}
