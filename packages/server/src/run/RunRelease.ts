import type { HandOver, Lease } from "@rat/domain"
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import { Outbox } from "../event/Outbox.ts"
import { toJsonb } from "../sql/Jsonb.ts"
import { retryContention } from "../sql/SqlRetry.ts"
import { announce } from "./RunEvents.ts"
import { RunHub } from "./RunHub.ts"
import { RunSettings } from "./RunSettings.ts"

/**
 * Takes a run back from a node that gives it away. An attempt that has not begun is forgotten, so that waiting in the wrong place costs
 * none; one that has begun ends as handed over, and the next one goes on from its checkpoint. The fencing token stays used up
 * either way, so that nothing of it can come later.
 */
export const makeRelease = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const settings = yield* RunSettings
  const outbox = yield* Outbox
  const hub = yield* RunHub

  const forget = (lease: Lease) => sql`
    with requeued as (
      update run r
      set status = 'queued',
          attempt = r.attempt - 1,
          started_at = case when r.attempt > 1 then r.started_at end,
          lease_owner = null,
          lease_expires_at = null,
          phase = null,
          -- The branch of an earlier attempt is there, and it ends with the run.
          branch = case when r.attempt > 1 then r.branch end
      where r.id = ${lease.runId} and r.status = 'running' and r.fencing_token = ${lease.fencingToken}
      returning r.*
    ),
    forgotten as (
      delete from run_attempt a
      using requeued e
      where a.run_id = e.id and a.attempt = e.attempt + 1
    ),
    announced as (${announce(sql, "requeued")})
    select id from requeued`

  const take = (lease: Lease, { checkpoint, logs, phase, phases }: HandOver) => sql`
    with requeued as (
      update run r
      set status = 'queued',
          hand_overs = r.hand_overs + 1,
          retry_at = null,
          lease_owner = null,
          lease_expires_at = null,
          phase = null
      -- A publish that was begun in another catalog is finished by whoever finds it.
      where r.id = ${lease.runId} and r.status = 'running' and r.fencing_token = ${lease.fencingToken} and r.publishing is null
      returning r.*
    ),
    closed as (
      update run_attempt a
      set ended_at = clock_timestamp(), outcome = 'handed_over', phase = ${phase}, phases = ${toJsonb(phases)}::jsonb
      from requeued e
      where a.run_id = e.id and a.attempt = e.attempt
    ),
    written as (
      insert into run_log (run_id, seq, attempt, at, level, phase, message)
      select e.id, e.log_base + l.seq, e.attempt, l.timestamp, l.level, l.phase, l.message
      from requeued e
      cross join jsonb_to_recordset(${toJsonb(logs)}::jsonb) as l (
        seq integer, timestamp timestamptz, level text, phase text, message text)
      where e.log_base + l.seq <= ${settings.maxLogLines}::integer
      on conflict (run_id, seq) do nothing
    ),
    kept as (
      insert into run_checkpoint (run_id, attempt, checkpoint)
      select e.id, e.attempt, k.checkpoint
      from requeued e
      cross join (select ${toJsonb(checkpoint)}::jsonb as checkpoint) k
      where jsonb_typeof(k.checkpoint) <> 'null'
      on conflict (run_id) do update
      set attempt = excluded.attempt, checkpoint = excluded.checkpoint, updated_at = now()
    ),
    announced as (${announce(sql, "requeued")})
    select id from requeued`

  return {
    /** Nothing happens when the lease is gone, or the run has ended. */
    release: Effect.fn("RunRepository.release")(function* (lease: Lease, handOver?: HandOver) {
      const rows = yield* retryContention(handOver === undefined ? forget(lease) : take(lease, handOver))
      if (rows.length === 0) return
      yield* hub.tell(lease.runId, { _tag: "Reread" })
      yield* hub.wake
      yield* outbox.wake
    }),
  }
})
