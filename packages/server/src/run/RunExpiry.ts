import type { RunId } from "@rat/domain"
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import { Outbox } from "../event/Outbox.ts"
import { retryContention } from "../sql/SqlRetry.ts"
import { countRun } from "../telemetry/Metrics.ts"
import { makeBranches } from "./RunBranch.ts"
import { announce } from "./RunEvents.ts"
import { RunHub } from "./RunHub.ts"
import { RunSettings } from "./RunSettings.ts"

/** Leases taken back in one statement. */
const maxExpired = 100

/**
 * Takes runs back from attempts that fell silent: queued again for the next attempt, or failed when all attempts are
 * used up. The late writes of the old attempt are refused by its fencing token.
 */
export const makeExpiry = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const settings = yield* RunSettings
  const outbox = yield* Outbox
  const hub = yield* RunHub
  const branches = yield* makeBranches

  /** Failed attempts have limits of their own, hand-overs none: what is left of the number of this one are lost ones, itself included. */
  const isRepeated = sql`r.attempt - r.failures - r.outages - r.hand_overs < ${settings.maxAttempts}::integer`

  const expire = sql<{
    readonly id: RunId
    readonly status: "queued" | "failed"
    readonly branch: string | null
    /** From the run's first start to now. */
    readonly took_ms: number
  }>`
    with expired as (
      select
        r.id, r.lease_owner,
        (select a.phase from run_attempt a where a.run_id = r.id and a.attempt = r.attempt) as phase
      from run r
      where r.status = 'running' and r.lease_expires_at < now() and r.publishing is null
      order by r.lease_expires_at, r.id
      limit ${maxExpired}::integer
      for no key update skip locked
    ),
    ended as (
      update run r
      set status = case when ${isRepeated} then 'queued' else 'failed' end,
          retry_at = null,
          phase = x.phase,
          lease_owner = null,
          lease_expires_at = null,
          finished_at = case when ${isRepeated} then null else now() end,
          error = case
            when ${isRepeated} then null
            else 'Attempt ' || r.attempt || ' ended without an answer from node "' || x.lease_owner
              || '": the node died, was killed or lost its connection. It is the last of '
              || ${settings.maxAttempts}::integer || ' attempts that may be lost. Nothing was published. '
              || 'Look at the log of that node (memory, disk), then run the pipeline again.'
          end,
          error_code = case when ${isRepeated} then null else 'attempt.lost' end,
          branch_expires_at = case
            when ${isRepeated} or r.branch is null then null
            else now() + make_interval(hours => ${settings.branchHours}::integer)
          end
      from expired x
      where r.id = x.id
      returning r.*
    ),
    closed as (
      update run_attempt a
      set ended_at = now(), outcome = 'lost', retry_at = case when e.status = 'queued' then now() end
      from ended e
      where a.run_id = e.id and a.attempt = e.attempt
    ),
    noted as (
      insert into run_log (run_id, seq, attempt, at, level, phase, message)
      select
        e.id, (select coalesce(max(l.seq), 0) + 1 from run_log l where l.run_id = e.id), e.attempt, now(),
        case e.status when 'failed' then 'error' else 'warn' end, e.phase,
        coalesce(
          e.error,
          'Attempt ' || e.attempt || ' on node "' || x.lease_owner || '" lost its lease; the run waits for attempt '
            || (e.attempt + 1) || '.')
      from ended e
      join expired x on x.id = e.id
    ),
    announced as (${announce(sql, "ended")})
    select id, status, branch, (extract(epoch from now() - started_at) * 1000)::float8 as took_ms from ended`

  /** Takes back at most 100 runs; answers with how many. The branch of a run that failed for good expires with it. */
  const expireLeases = Effect.fn("RunRepository.expireLeases")(function* () {
    const rows = yield* Effect.gen(function* () {
      const expired = yield* expire
      for (const row of expired) if (row.status === "failed") yield* branches.expireOf(row)
      return expired
    }).pipe(sql.withTransaction, retryContention)
    for (const row of rows) {
      yield* hub.tell(row.id, { _tag: "Reread" })
      if (row.status === "failed") yield* countRun("failed", row.took_ms)
    }
    if (rows.length > 0) {
      yield* hub.wake
      yield* outbox.wake
    }
    return rows.length
  })

  return {
    expireLeases,

    /** Milliseconds until the next lease runs out by the database's clock (0 when one has); null without leases. */
    nextExpiryMs: Effect.map(
      sql<{ readonly ms: number | null }>`
        select (extract(epoch from min(lease_expires_at) - now()) * 1000)::float8 as ms
        from run
        where status = 'running' and publishing is null`,
      (rows) => {
        const ms = rows[0]?.ms ?? null
        return ms === null ? null : Math.max(0, ms)
      },
    ),

    /** Ends the leases of a node that is gone, without waiting for them to run out. Answers with how many runs it held. */
    expireOwner: Effect.fn("RunRepository.expireOwner")(function* (owner: string) {
      const held = yield* sql`
        update run
        set lease_expires_at = now() - interval '1 second'
        where status = 'running' and lease_owner = ${owner}
        returning id`
      for (let taken = 0; taken < held.length; ) {
        const expired = yield* expireLeases()
        if (expired === 0) break
        taken += expired
      }
      return held.length
    }),
  }
})
