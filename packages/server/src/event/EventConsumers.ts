import { ConsumerAtWork, ConsumerNotFound, EventConsumer, NothingToSkip, OffsetOutOfRange } from "@rat/domain"
import { Context, DateTime, Effect, Layer } from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import { consumerChannel, lockSpace } from "./EventConsumer.ts"

type Sql = SqlError.SqlError

interface ConsumerRow {
  readonly name: string
  readonly offset: bigint
  readonly lag: bigint
  readonly node: string | null
  readonly is_working: boolean
  readonly updated_at: Date
  readonly failing_offset: bigint | null
  readonly failing_since: Date | null
  readonly failures: number
  readonly last_error: string | null
  readonly next_try_at: Date | null
  readonly missed: bigint
}

const toConsumer = (row: ConsumerRow): EventConsumer =>
  new EventConsumer({
    name: row.name,
    offset: row.offset,
    lag: Number(row.lag),
    node: row.node,
    is_working: row.is_working,
    updated_at: DateTime.fromDateUnsafe(row.updated_at),
    failing:
      row.failing_offset === null || row.failing_since === null
        ? null
        : {
            offset: row.failing_offset,
            since: DateTime.fromDateUnsafe(row.failing_since),
            failures: row.failures,
            error: row.last_error ?? "",
            next_try_at: row.next_try_at === null ? null : DateTime.fromDateUnsafe(row.next_try_at),
          },
    missed: Number(row.missed),
  })

/** The lock that the working session holds, as `pg_locks` shows it: two 32-bit numbers, unsigned. */
const isWorking = `exists (
  select from pg_locks l
  where l.locktype = 'advisory' and l.granted and l.objsubid = 2 and l.classid = ${lockSpace}
    and l.objid = (hashtext(c.name)::bigint & 4294967295)::oid
    and l.database = (select oid from pg_database where datname = current_database()))`

/**
 * Durable consumers as people see and steer them. Moving an offset starts a new generation, so that a worker that is in the
 * middle of an event does not overwrite it, and wakes the worker.
 */
export class EventConsumers extends Context.Service<
  EventConsumers,
  {
    /** By name, with the ends of the log. */
    readonly list: Effect.Effect<
      { readonly consumers: ReadonlyArray<EventConsumer>; readonly oldest: bigint; readonly newest: bigint },
      Sql
    >
    /** The next event that is handled is `from`, or the first one behind it that the consumer wants. */
    readonly replay: (
      name: string,
      from: bigint,
    ) => Effect.Effect<EventConsumer, ConsumerNotFound | OffsetOutOfRange | Sql>
    /** Goes on behind the event at `offset`, if that is the one that fails. */
    readonly skip: (
      name: string,
      offset: bigint,
    ) => Effect.Effect<EventConsumer, ConsumerNotFound | NothingToSkip | Sql>
    /** Forgets a consumer that no node works for; one of that name begins anew. */
    readonly forget: (name: string) => Effect.Effect<void, ConsumerNotFound | ConsumerAtWork | Sql>
  }
>()("rat/server/event/EventConsumers") {
  static readonly layer = Layer.effect(
    EventConsumers,
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient

      const rows = (name?: string) => sql<ConsumerRow>`
        select
          c.name, c."offset", greatest(h.last_offset - c."offset", 0) as lag, c.node, ${sql.literal(isWorking)} as is_working,
          c.updated_at, c.failing_offset, c.failing_since, c.failures, c.last_error, c.next_try_at, c.missed
        from event_consumer c
        cross join event_head h
        where ${name === undefined ? sql`true` : sql`c.name = ${name}`}
        order by c.name`

      const ends = Effect.map(
        sql<{ pruned_to: bigint; last_offset: bigint }>`select pruned_to, last_offset from event_head`,
        ([row]) => ({ oldest: row!.pruned_to + 1n, newest: row!.last_offset }),
      )

      const find = Effect.fnUntraced(function* (name: string) {
        const [row] = yield* rows(name)
        return row === undefined ? yield* new ConsumerNotFound({ consumer: name }) : toConsumer(row)
      })

      const clear = sql.literal(
        "failing_offset = null, failing_since = null, failures = 0, last_error = null, next_try_at = null",
      )
      const wake = (name: string) => sql`select pg_notify(${consumerChannel}, ${name})`

      return EventConsumers.of({
        list: Effect.gen(function* () {
          const [consumers, range] = yield* Effect.all([rows(), ends])
          return { consumers: consumers.map(toConsumer), ...range }
        }),

        replay: Effect.fn("EventConsumers.replay")(function* (name: string, from: bigint) {
          yield* find(name)
          const { newest, oldest } = yield* ends
          if (from < oldest || from > newest + 1n) {
            return yield* new OffsetOutOfRange({
              offset: from.toString(),
              oldest: oldest.toString(),
              newest: newest.toString(),
            })
          }
          yield* sql`
            update event_consumer
            set "offset" = ${from - 1n}, generation = generation + 1, updated_at = now(), ${clear}
            where name = ${name}`
          yield* wake(name)
          return yield* find(name)
        }),

        skip: Effect.fn("EventConsumers.skip")(function* (name: string, offset: bigint) {
          const skipped = yield* sql`
            update event_consumer
            set "offset" = failing_offset, generation = generation + 1, updated_at = now(), ${clear}
            where name = ${name} and failing_offset = ${offset}
            returning 1`
          const consumer = yield* find(name)
          if (skipped.length === 0) {
            const failing = consumer.failing === null ? null : consumer.failing.offset.toString()
            return yield* new NothingToSkip({ consumer: name, offset: offset.toString(), failing })
          }
          yield* Effect.logWarning("An event was skipped by hand").pipe(
            Effect.annotateLogs({ consumer: name, offset: offset.toString() }),
          )
          yield* wake(name)
          return consumer
        }),

        forget: Effect.fn("EventConsumers.forget")(function* (name: string) {
          const { is_working, node } = yield* find(name)
          if (is_working) return yield* new ConsumerAtWork({ consumer: name, node })
          yield* sql`delete from event_consumer where name = ${name}`
        }),
      })
    }),
  )
}
