import { PgClient } from "@effect/sql-pg"
import type { Event } from "@rat/domain"
import { Array as Arr, Context, Effect, Layer, Queue, Schedule, type Scope, Semaphore, Stream } from "effect"
import { SecureRandom } from "effect/crypto"
import type { SqlError } from "effect/sql"
import { makeConsume } from "./EventConsumer.ts"
import { type EventFilter, EventHub } from "./EventHub.ts"
import { pruneForever, relayForever } from "./EventRelay.ts"
import { type EventRow, toEvent } from "./EventRow.ts"
import { EventSettings } from "./EventSettings.ts"
import { Outbox } from "./Outbox.ts"

const channel = "rat_event"
const pageSize = 500

/** A lost connection or a busy database: soon, then at least every 5 s, for as long as it takes. */
export const untilItWorks = Schedule.min([Schedule.exponential("50 millis"), Schedule.spaced("5 seconds")]).pipe(
  Schedule.jittered,
)

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
    /** Offset of the newest event that this node has handed out. */
    readonly position: Effect.Effect<bigint>
    /**
     * Live events, without an end. With `after` it starts with the log's events above that offset, without it from
     * now on. A subscriber that is slower than events arrive reads what it missed from the log: no event is lost or
     * doubled. Waits out outages.
     */
    readonly subscribe: (filter?: EventFilter & { readonly after?: bigint }) => Stream.Stream<Event>
    /**
     * Handles every event once or more often, in order, on one node of the cluster at a time, until the scope closes.
     * How far `name` has come is kept in Postgres. An event whose handler fails is tried again, with back-off, before
     * any later one. A new name starts at `startAt`, by default with events from now on.
     */
    readonly consume: (
      name: string,
      handler: (event: Event) => Effect.Effect<void, unknown>,
      options?: EventFilter & { readonly startAt?: "oldest" | "newest" },
    ) => Effect.Effect<void, never, Scope.Scope>
  }
>()("rat/server/event/EventLog") {
  static readonly layer = Layer.effect(
    EventLog,
    Effect.gen(function* () {
      const sql = yield* PgClient.PgClient
      const settings = yield* EventSettings
      const node = SecureRandom.uuidV7Unsafe()

      const read = Effect.fn("EventLog.read")(function* (after: bigint, limit: number, filter: EventFilter = {}) {
        const rows = yield* sql<EventRow>`
          select "offset", key, type, namespace, payload, at
          from event
          where ${sql.and([
            sql`"offset" > ${after}`,
            ...(filter.key === undefined ? [] : [sql`key = ${filter.key}`]),
            ...(filter.namespace === undefined ? [] : [sql`namespace = ${filter.namespace}`]),
            ...(filter.types === undefined ? [] : [sql.in("type", filter.types)]),
          ])}
          order by "offset"
          limit ${limit}`
        return rows.map(toEvent)
      })

      const [head] = yield* sql<{ last_offset: bigint }>`select last_offset from event_head`
      const hub = new EventHub(head!.last_offset)

      // The relay's own batches and pages read because of a notice must not overtake each other.
      const delivery = yield* Semaphore.make(1)
      const catchUp = Effect.gen(function* () {
        for (;;) {
          const events = yield* read(hub.position, pageSize)
          const [first] = events
          if (first === undefined) return
          // Everything up to there was pruned while this node was away.
          if (first.offset !== hub.position + 1n) hub.skipTo(first.offset - 1n)
          hub.publish(events)
          if (events.length < pageSize) return
        }
      })
      const reach = (offset: bigint) =>
        delivery.withPermit(Effect.suspend(() => (hub.position < offset ? catchUp : Effect.void)))
      const deliver = (events: ReadonlyArray<Event>) =>
        delivery.withPermit(
          Effect.suspend(() => {
            const fresh = events.filter((event) => event.offset > hub.position)
            if (fresh.length === 0) return Effect.void
            if (fresh[0]!.offset !== hub.position + 1n) return catchUp
            return Effect.sync(() => hub.publish(fresh))
          }),
        )

      yield* Effect.forkScoped(relayForever({ sql, node, deliver }))
      yield* Effect.forkScoped(pruneForever({ sql, maxAgeDays: settings.maxAgeDays }))

      const listen = Effect.gen(function* () {
        const notices = yield* sql.listen(channel)
        // Notices may have been missed before.
        yield* delivery.withPermit(catchUp)
        for (;;) {
          const { payload } = yield* Queue.take(notices)
          const [from, offset] = payload.split(" ")
          // Our own relay hands its events over itself; reading them again would double the work.
          if (from !== node) yield* reach(BigInt(offset!))
        }
      })
      yield* Effect.scoped(listen).pipe(
        Effect.tapError((error) => Effect.logWarning("The event log's connection was lost; reconnecting", error)),
        Effect.retry(untilItWorks),
        Effect.forkScoped,
      )

      const subscribe = (options: EventFilter & { readonly after?: bigint } = {}) => {
        const { after, ...filter } = options
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
                  const page = yield* read(last, pageSize, filter).pipe(Effect.retry(untilItWorks), Effect.orDie)
                  events = page.filter((event) => event.offset <= readTo)
                  last = page.length === pageSize && events.length > 0 ? events.at(-1)!.offset : readTo
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
      return EventLog.of({ read, position: Effect.sync(() => hub.position), subscribe, consume })
    }),
  ).pipe(Layer.provideMerge(Outbox.layer))
}
