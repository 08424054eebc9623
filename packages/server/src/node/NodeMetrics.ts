import { Pg } from "@rat/lakehouse"
import { Effect, Layer, Schedule } from "effect"
import { SqlClient } from "effect/sql"
import { setEventRelayLag, setPgPool, setQueueDepth } from "../telemetry/Metrics.ts"

/** Collectors ask every 15 to 60 s; asking Postgres more often would only cost. */
const interval = "15 seconds"

/** Gauges that only Postgres knows: sessions, waiting runs, events that wait for the relay. */
export const nodeMetrics = Layer.effectDiscard(
  Effect.gen(function* () {
    const postgres = yield* Pg
    const sql = yield* SqlClient.SqlClient
    const look = Effect.gen(function* () {
      const { max, active, idle, idleInTransaction } = yield* postgres.sessions
      yield* setPgPool({ max, active, idle, idle_in_transaction: idleInTransaction })
      const [row] = yield* sql<{ waiting: number; lag_ms: number }>`
        select
          (select count(*)::integer from run where status = 'queued') as waiting,
          (select coalesce(extract(epoch from now() - min(at)) * 1000, 0)::double precision from outbox) as lag_ms`
      yield* setQueueDepth(row!.waiting)
      yield* setEventRelayLag(row!.lag_ms)
    })
    yield* look.pipe(
      // What Postgres cannot tell now it tells in the next round; `/health/ready` says that it is away.
      Effect.ignore,
      Effect.repeat(Schedule.spaced(interval)),
      Effect.withTracerEnabled(false),
      Effect.forkScoped,
    )
  }),
)
