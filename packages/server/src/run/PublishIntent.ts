import { FencingToken, Lease, LeaseLost, type RunId } from "@rat/domain"
import { DateTime, Effect } from "effect"
import { SqlClient } from "effect/sql"
import { toJsonb } from "../sql/Jsonb.ts"
import { retryContention } from "../sql/SqlRetry.ts"

/** Intents taken up in one call. */
const maxResumed = 100

/**
 * The first step of a publish with a catalog outside of Postgres: what is about to happen is written down in the run's row,
 * guarded like its end. From then on the run can only be ended by this publish: leases don't take it back, nobody cancels it, and
 * whoever finds the intent of a silent node does the remaining steps, each of which may be repeated.
 */
export const makePublishIntent = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient

  return {
    /** `ending` is all that is needed to finish. Answers with the run's namespace and table. Repeating it is no error. */
    begin: Effect.fnUntraced(function* (lease: Lease, ending: unknown) {
      const rows = yield* retryContention(sql<{ readonly namespace: string; readonly table: string }>`
        update run
        set publishing = ${toJsonb(ending)}::jsonb
        where id = ${lease.runId} and status = 'running' and fencing_token = ${lease.fencingToken}
        returning namespace, concat_ws('.', namespace, layer, pipeline) as table`)
      return rows[0] ?? (yield* new LeaseLost({ runId: lease.runId, attempt: lease.attempt }))
    }),

    /** The merge was refused: nothing happened, and the run is its holder's again. */
    withdraw: (lease: Lease) =>
      Effect.asVoid(
        retryContention(sql`
          update run
          set publishing = null
          where id = ${lease.runId} and status = 'running' and fencing_token = ${lease.fencingToken}`),
      ),

    /** Publishes whose node fell silent, at most 100. */
    unfinished: Effect.map(
      sql<{
        readonly id: RunId
        readonly attempt: number
        readonly token: bigint
        readonly expires_at: Date
        readonly publishing: unknown
      }>`
        select id, attempt, fencing_token as token, lease_expires_at as expires_at, publishing
        from run
        where status = 'running' and publishing is not null and lease_expires_at < now()
        order by lease_expires_at, id
        limit ${maxResumed}::integer`,
      (rows) =>
        rows.map((row) => ({
          lease: new Lease({
            runId: row.id,
            attempt: row.attempt,
            fencingToken: FencingToken.make(BigInt(row.token)),
            expiresAt: DateTime.fromDateUnsafe(row.expires_at),
          }),
          ending: row.publishing,
        })),
    ),
  }
})
