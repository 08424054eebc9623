import { hostname } from "node:os"
import { type PgClient, PgConnection } from "@effect/sql-pg"
import type { Event } from "@rat/domain"
import { untilReconnected } from "@rat/lakehouse"
import { Cause, Clock, Deferred, Effect, Option, Queue, type Scope, Stream } from "effect"
import type { SqlError } from "effect/sql"
import { NodeIdentity } from "../cluster/NodeIdentity.ts"
import { storableText } from "../sql/Jsonb.ts"
import type { EventFilter } from "./EventHub.ts"
import type { SubscribeOptions } from "./EventLog.ts"
import { Outbox } from "./Outbox.ts"

/** First number of the advisory locks that say which session works for which consumer. */
export const lockSpace = 7_245

/** Tells the session that works for a consumer (the payload) to look at its row again. */
export const consumerChannel = "rat_consumer"

/** How long events may lie unhandled before a node that stands by asks whether the consumer has become free. */
const standByMs = 1000

/** Pauses before a failing event is tried again: 50 ms, doubling up to 30 s. */
const retryMs = { first: 50, most: 30_000 }

const maxErrorLength = 2000

export interface ConsumeOptions extends EventFilter {
  readonly startAt?: "oldest" | "newest"
}

/**
 * Durable consumers. Which node works for a name is a session's advisory lock: it is free the moment the node or its
 * session dies. A node that lost its session without noticing may still be handling one event while its successor
 * starts with the same one, which is what at-least-once means; the stored offset goes back only when a person replays.
 */
export const makeConsume = (options: {
  readonly sql: PgClient.PgClient
  readonly subscribe: (options: SubscribeOptions) => Stream.Stream<Event>
}) =>
  Effect.gen(function* () {
    const { sql, subscribe } = options
    const config = sql.config
    const outbox = yield* Outbox
    const identity = yield* Effect.serviceOption(NodeIdentity)
    const node = Option.match(identity, { onNone: () => `${hostname()}-${process.pid}`, onSome: ({ id }) => id })

    const begin = Effect.fnUntraced(function* (name: string, startAt: "oldest" | "newest") {
      yield* sql`
        insert into event_consumer (name, "offset")
        select ${name}, case when ${startAt} = 'newest' then last_offset else pruned_to end
        from event_head
        on conflict (name) do nothing`
      const [row] = yield* sql<{ offset: bigint; generation: number }>`
        update event_consumer
        set node = ${node}
        where name = ${name}
        returning "offset", generation`
      return row!
    })

    /** What is done. Nothing when a person has moved the offset meanwhile. */
    const store = (name: string, generation: number, offset: bigint) => sql`
      update event_consumer
      set "offset" = ${offset}, updated_at = now(), failing_offset = null, failing_since = null, failures = 0,
          last_error = null, next_try_at = null
      where name = ${name} and generation = ${generation} and "offset" < ${offset}`

    const tellFailure = (
      at: { readonly name: string; readonly generation: number; readonly done: bigint | undefined },
      event: Event,
      error: string,
      delayMs: number,
    ) => sql`
      update event_consumer
      set "offset" = greatest("offset", ${at.done ?? 0n}), updated_at = now(), failing_offset = ${event.offset},
          failing_since = case when failing_offset = ${event.offset} then failing_since else now() end,
          failures = case when failing_offset = ${event.offset} then failures + 1 else 1 end,
          last_error = ${storableText(error).slice(0, maxErrorLength)},
          next_try_at = now() + ${delayMs} * interval '1 millisecond'
      where name = ${at.name} and generation = ${at.generation}`

    /** Retention was faster than the consumer: said in the log, in the events and in the consumer's row. */
    const tellMissed = (name: string, generation: number) => (after: bigint, upTo: bigint) =>
      Effect.gen(function* () {
        yield* Effect.logError("A consumer missed events: retention removed them before they were handled").pipe(
          Effect.annotateLogs({ consumer: name, after: after.toString(), up_to: upTo.toString() }),
        )
        const counted = yield* sql`
          update event_consumer
          set "offset" = ${upTo}, missed = missed + (${upTo}::bigint - ${after}::bigint), updated_at = now()
          where name = ${name} and generation = ${generation} and "offset" < ${upTo}
          returning 1`
        if (counted.length === 0) return
        yield* outbox.append([
          {
            key: name,
            type: "consumer.missed",
            namespace: "",
            payload: { consumer: name, after: after.toString(), up_to: upTo.toString() },
          },
        ])
      }).pipe(sql.withTransaction, Effect.retry(untilReconnected), Effect.orDie)

    /** Waits until this session works for the consumer. Asks at the start, and then only while events lie unhandled. */
    const takeOver = Effect.fnUntraced(function* (
      pinned: PgConnection.PgConnection,
      name: string,
      filter: EventFilter,
    ) {
      let newest = 0n
      yield* subscribe(filter).pipe(
        Stream.runForEach((event) =>
          Effect.sync(() => {
            newest = event.offset
          }),
        ),
        Effect.forkScoped,
      )
      for (;;) {
        const { rows } = yield* pinned.query(
          `select pg_try_advisory_lock($1, hashtext($2)) as held,
            (select "offset" from event_consumer where name = $2) as "offset"`,
          [lockSpace, name],
        )
        if (rows[0]!.held === true) return
        const done = (rows[0]!.offset as bigint | null) ?? 0n
        do yield* Effect.sleep(standByMs)
        while (newest <= done)
      }
    }, Effect.scoped)

    /** Works until the session that holds the lock is lost. */
    const work = Effect.fnUntraced(function* (
      name: string,
      handler: (event: Event) => Effect.Effect<void, unknown>,
      options: ConsumeOptions,
    ) {
      const { startAt = "newest", ...filter } = options
      const session = yield* PgConnection.make({ ...config, multiplex: false })
      const pinned = yield* session.pin
      // A listener is also how an idle session learns that it was lost.
      const notices = yield* pinned.listen(consumerChannel)
      const lost = yield* Deferred.make<never, SqlError.SqlError>()
      const moved = yield* Queue.sliding<void>(1)
      yield* Queue.take(notices).pipe(
        Effect.flatMap(({ payload }) => (payload === name ? Queue.offer(moved, undefined) : Effect.void)),
        Effect.forever,
        Effect.catch((error) => Deferred.fail(lost, error)),
        Effect.forkScoped,
      )
      yield* Effect.raceFirst(takeOver(pinned, name, filter), Deferred.await(lost))

      const handle = Effect.fnUntraced(function* (
        at: { readonly name: string; readonly generation: number; readonly done: bigint | undefined },
        event: Event,
      ) {
        for (let delayMs = retryMs.first; ; delayMs = Math.min(retryMs.most, delayMs * 2)) {
          const exit = yield* Effect.exit(handler(event))
          if (exit._tag === "Success") return
          if (Cause.hasInterrupts(exit.cause)) return yield* Effect.failCause(exit.cause as Cause.Cause<never>)
          const error = String(Cause.squash(exit.cause))
          yield* Effect.logWarning("A consumer could not handle an event; trying again").pipe(
            Effect.annotateLogs({ consumer: name, offset: event.offset.toString(), error }),
          )
          const startedAt = yield* Clock.currentTimeMillis
          yield* Effect.ignore(tellFailure(at, event, error, delayMs))
          const left = startedAt + delayMs - (yield* Clock.currentTimeMillis)
          if (left > 0) yield* Effect.sleep(left)
        }
      })
      for (;;) {
        const { generation, offset } = yield* begin(name, startAt)
        const run = subscribe({ ...filter, after: offset, onMissed: tellMissed(name, generation) }).pipe(
          Stream.runForEachArray((events) =>
            Effect.gen(function* () {
              let done: bigint | undefined
              yield* Effect.forEach(
                events,
                (event) =>
                  Effect.map(handle({ name, generation, done }, event), () => {
                    done = event.offset
                  }),
                { discard: true },
              ).pipe(
                // Also when interrupted in the middle: what is done need not be done again.
                Effect.onExit(() => (done === undefined ? Effect.void : Effect.ignore(store(name, generation, done)))),
              )
            }),
          ),
        )
        yield* Effect.raceFirst(Effect.raceFirst(run, Queue.take(moved)), Deferred.await(lost))
      }
    }, Effect.scoped)

    return (
      name: string,
      handler: (event: Event) => Effect.Effect<void, unknown>,
      options: ConsumeOptions = {},
    ): Effect.Effect<void, never, Scope.Scope> =>
      work(name, handler, options).pipe(
        Effect.tapError((error) =>
          Effect.logWarning("A consumer lost its session; reconnecting", error).pipe(
            Effect.annotateLogs({ consumer: name }),
          ),
        ),
        Effect.retry(untilReconnected),
        Effect.orDie,
        Effect.forkScoped,
        Effect.asVoid,
      )
  })
