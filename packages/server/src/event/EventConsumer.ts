import { type PgClient, PgConnection } from "@effect/sql-pg"
import type { Event } from "@rat/domain"
import { Deferred, Effect, Queue, Schedule, type Scope, Stream } from "effect"
import type { SqlError } from "effect/sql"
import type { EventFilter } from "./EventHub.ts"

/** First number of the advisory locks that say which session works for which consumer. */
const lockSpace = 7_245

/** How often a node that stands by asks whether a consumer has become free. */
const standBy = "1 second"

const retryHandler = Schedule.min([Schedule.exponential("50 millis"), Schedule.spaced("30 seconds")]).pipe(
  Schedule.jittered,
)
const reconnect = Schedule.min([Schedule.exponential("50 millis"), Schedule.spaced("5 seconds")]).pipe(
  Schedule.jittered,
)

/**
 * Durable consumers. Which node works for a name is a session's advisory lock: it is free the moment the node or its
 * session dies. A node that lost its session without noticing may still be handling one event while its successor
 * starts with the same one, which is what at-least-once means; the stored offset never goes back.
 */
export const makeConsume = (options: {
  readonly sql: PgClient.PgClient
  readonly subscribe: (filter: EventFilter & { readonly after?: bigint }) => Stream.Stream<Event>
}) =>
  Effect.gen(function* () {
    const { sql, subscribe } = options
    const config = sql.config

    const startOffset = Effect.fnUntraced(function* (name: string, startAt: "oldest" | "newest") {
      yield* sql`
        insert into event_consumer (name, "offset")
        select ${name}, case when ${startAt} = 'newest' then last_offset else 0 end
        from event_head
        on conflict (name) do nothing`
      const [row] = yield* sql<{ offset: bigint }>`select "offset" from event_consumer where name = ${name}`
      return row!.offset
    })

    const store = (name: string, offset: bigint) => sql`
      update event_consumer
      set "offset" = ${offset}, updated_at = now()
      where name = ${name} and "offset" < ${offset}`

    /** Works until the session that holds the lock is lost. */
    const work = Effect.fnUntraced(function* (
      name: string,
      handler: (event: Event) => Effect.Effect<void, unknown>,
      options: EventFilter & { readonly startAt?: "oldest" | "newest" },
    ) {
      const { startAt = "newest", ...filter } = options
      const session = yield* PgConnection.make({ ...config, multiplex: false })
      const pinned = yield* session.pin
      // A listener is how an idle session learns that it was lost. Nothing is ever sent here.
      const quiet = yield* pinned.listen("rat_consumer")
      const lost = yield* Deferred.make<never, SqlError.SqlError>()
      yield* Queue.take(quiet).pipe(
        Effect.forever,
        Effect.catch((error) => Deferred.fail(lost, error)),
        Effect.forkScoped,
      )
      for (;;) {
        const { rows } = yield* pinned.query("select pg_try_advisory_lock($1, hashtext($2)) as held", [lockSpace, name])
        if (rows[0]!.held === true) break
        yield* Effect.sleep(standBy)
      }
      const handle = (event: Event) =>
        handler(event).pipe(
          Effect.tapError((error) =>
            Effect.logWarning("A consumer could not handle an event; trying again").pipe(
              Effect.annotateLogs({ consumer: name, offset: event.offset, error: String(error) }),
            ),
          ),
          Effect.retry(retryHandler),
          Effect.orDie,
        )
      const run = subscribe({ ...filter, after: yield* startOffset(name, startAt) }).pipe(
        Stream.runForEachArray((events) =>
          Effect.gen(function* () {
            let done: bigint | undefined
            yield* Effect.forEach(
              events,
              (event) =>
                Effect.map(handle(event), () => {
                  done = event.offset
                }),
              { discard: true },
            ).pipe(
              // Also when interrupted in the middle: what is done need not be done again.
              Effect.onExit(() => (done === undefined ? Effect.void : Effect.ignore(store(name, done)))),
            )
          }),
        ),
      )
      yield* Effect.raceFirst(run, Deferred.await(lost))
    }, Effect.scoped)

    return (
      name: string,
      handler: (event: Event) => Effect.Effect<void, unknown>,
      options: EventFilter & { readonly startAt?: "oldest" | "newest" } = {},
    ): Effect.Effect<void, never, Scope.Scope> =>
      work(name, handler, options).pipe(
        Effect.tapError((error) =>
          Effect.logWarning("A consumer lost its session; reconnecting", error).pipe(
            Effect.annotateLogs({ consumer: name }),
          ),
        ),
        Effect.retry(reconnect),
        Effect.orDie,
        Effect.forkScoped,
        Effect.asVoid,
      )
  })
