import { RunFinished, type RunId, RunNotFound, type RunStatus, toWireStatus } from "@rat/domain"
import { Clock, Effect } from "effect"
import { SqlClient } from "effect/sql"
import { Outbox } from "../event/Outbox.ts"
import { hasNext } from "../queue/QueueNext.ts"
import { retryContention } from "../sql/SqlRetry.ts"
import { countRun } from "../telemetry/Metrics.ts"
import { makeBranches } from "./RunBranch.ts"
import { announce } from "./RunEvents.ts"
import { RunHub } from "./RunHub.ts"
import { type RunRow, runColumns, toRun } from "./RunRow.ts"
import { RunSettings } from "./RunSettings.ts"

/** Cancels a run that has not ended. Whoever works on it is told at once. */
export const makeCancel = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const outbox = yield* Outbox
  const hub = yield* RunHub
  const settings = yield* RunSettings
  const branches = yield* makeBranches

  const refuse = (runId: RunId) =>
    Effect.flatMap(
      // A publish that has begun is not taken back.
      sql<{ readonly status: RunStatus }>`
        select case when publishing is null then status else 'succeeded' end as status
        from run
        where id = ${runId}`,
      (rows): Effect.Effect<never, RunFinished | RunNotFound> =>
        rows[0] === undefined
          ? Effect.fail(new RunNotFound({ runId }))
          : Effect.fail(new RunFinished({ runId, status: toWireStatus(rows[0].status) })),
    )

  return Effect.fn("RunRepository.cancel")(function* (runId: RunId) {
    const [row] = yield* Effect.gen(function* () {
      const rows = yield* sql<RunRow & { readonly owner: string | null; readonly has_next: boolean }>`
          with held as (
            select id, lease_owner from run
            where id = ${runId} and status in ('queued', 'running') and publishing is null
            for no key update
          ),
          ended as (
            update run r
            set status = 'cancelled',
                lease_owner = null,
                lease_expires_at = null,
                retry_at = null,
                branch_expires_at = case
                  when r.branch is not null then now() + make_interval(hours => ${settings.branchHours}::integer)
                end,
                finished_at = now()
            from held
            where r.id = held.id
            returning r.*
          ),
          closed as (
            update run_attempt a
            set ended_at = now(), outcome = 'cancelled'
            from ended e
            where a.run_id = e.id and a.attempt = e.attempt and a.ended_at is null
          ),
          announced as (${announce(sql, "ended")})
          select
            ${sql.literal(runColumns)}, null as queue_position, held.lease_owner as owner,
            ${hasNext(sql, "r")} as has_next
          from ended r
          join held on held.id = r.id`
      if (rows[0] !== undefined) yield* branches.expireOf(rows[0])
      return rows
    }).pipe(sql.withTransaction, retryContention)
    if (row === undefined) return yield* refuse(runId)
    yield* outbox.wake
    if (row.owner !== null) yield* hub.cancel(row.owner, runId)
    yield* hub.tell(runId, { _tag: "Status", status: "cancelled" })
    if (row.has_next) yield* hub.wake
    const { started_at, finished_at } = row
    yield* countRun("cancelled", started_at === null ? 0 : Number(finished_at) - Number(started_at))
    return toRun(row, yield* Clock.currentTimeMillis)
  })
})
