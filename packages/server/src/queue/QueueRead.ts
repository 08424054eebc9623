import { type NamespaceLimits, NamespaceQueue, QueuedRun, type RunId } from "@rat/domain"
import { Context, DateTime, Effect, Layer } from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import { makeQueueOrder } from "./QueueOrder.ts"

/** Runs that one look shows. */
const shown = 100

interface WaitingRow {
  readonly run_id: RunId
  readonly pipeline: string | null
  readonly priority: number
  readonly concurrency_key: string | null
  readonly eligible_at: Date | null
  readonly created_at: Date
}

/** What people want to see of a queue. */
export class QueueRead extends Context.Service<
  QueueRead,
  {
    readonly ofNamespace: (limits: NamespaceLimits) => Effect.Effect<NamespaceQueue, SqlError.SqlError>
  }
>()("rat/server/queue/QueueRead") {
  static readonly layer = Layer.effect(
    QueueRead,
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const positions = yield* makeQueueOrder

      const ofNamespace = Effect.fn("QueueRead.ofNamespace")(function* (limits: NamespaceLimits) {
        const { namespace } = limits
        const [counts, waiting] = yield* Effect.all(
          [
            sql<{
              readonly pending: number
              readonly running: number
              readonly started: number
              readonly oldest_seconds: number | null
            }>`
              select
                (select count(*)::integer from run_queue where namespace = ${namespace}) as pending,
                (select count(*)::integer from run where status = 'running' and namespace = ${namespace}) as running,
                -- Newest first by id: what began within a minute is near the end, however long the history is.
                (select count(*)::integer
                 from (
                   select started_at from run
                   where namespace = ${namespace} and started_at is not null
                   order by id desc
                   limit 10000) s
                 where s.started_at > now() - interval '1 minute') as started,
                (select extract(epoch from clock_timestamp() - r.created_at)::float8
                 from run r
                 where r.id = (select q.run_id from run_queue q where q.namespace = ${namespace} order by q.run_id limit 1)
                ) as oldest_seconds`,
            sql<WaitingRow>`
              select
                q.run_id, r.layer || '.' || r.pipeline as pipeline, q.priority,
                nullif(q.concurrency_key, '') as concurrency_key, q.eligible_at, r.created_at
              from (
                select *
                from run_queue
                where namespace = ${namespace}
                order by coalesce(eligible_at > now(), false), priority desc, run_id
                limit ${shown}::integer) q
              join run r on r.id = q.run_id`,
          ],
          { concurrency: 2 },
        )
        const places = yield* positions(waiting.map((row) => row.run_id))
        const now = yield* DateTime.now
        const { pending, running, started, oldest_seconds } = counts[0]!
        const runs = waiting.map((row) => {
          const eligibleAt = row.eligible_at === null ? null : DateTime.fromDateUnsafe(row.eligible_at)
          return new QueuedRun({
            ...row,
            position: places.get(row.run_id) ?? null,
            eligible_at: eligibleAt !== null && DateTime.isGreaterThan(eligibleAt, now) ? eligibleAt : null,
            created_at: DateTime.fromDateUnsafe(row.created_at),
          })
        })
        return new NamespaceQueue({
          namespace,
          pending,
          running,
          oldest_pending_seconds: oldest_seconds,
          started_last_minute: started,
          weight: limits.weight,
          max_pending: limits.max_pending,
          max_running: limits.max_running,
          runs: runs.sort((left, right) => (left.position ?? Infinity) - (right.position ?? Infinity)),
        })
      })

      return QueueRead.of({ ofNamespace })
    }),
  )
}
