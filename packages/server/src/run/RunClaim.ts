import { ClaimedRun, FencingToken, Lease, type RunId, RunTarget } from "@rat/domain"
import { DateTime, Effect } from "effect"
import { SqlClient } from "effect/sql"
import { Outbox } from "../event/Outbox.ts"
import { makeDueTimer } from "../queue/DueTimer.ts"
import { toJsonb } from "../sql/Jsonb.ts"
import { retryContention } from "../sql/SqlRetry.ts"
import { countClaims } from "../telemetry/Metrics.ts"
import { announce } from "./RunEvents.ts"
import { RunHub } from "./RunHub.ts"
import { type ClaimRow, toCodeFiles } from "./RunRow.ts"
import { RunSettings } from "./RunSettings.ts"

/** Most runs of one claim, whatever a runner asks for. */
const maxClaim = 64

/**
 * Hands runs to runner nodes in the order of the queue (function `run_claim`, docs/adr/017): fair between namespaces by weight, in a
 * namespace by priority and age; limits and concurrency keys hold exactly, since claims take turns. One statement marks a whole batch,
 * opens the attempts and appends the events.
 */
export const makeClaim = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const settings = yield* RunSettings
  const outbox = yield* Outbox
  const hub = yield* RunHub
  const due = yield* makeDueTimer(hub.heard.wake)

  const mark = (node: string, free: number, ahead: number) =>
    sql<{ readonly due_ms: number | null } & (ClaimRow | { readonly id: null })>`
      with claimed as (
        select c.turn, (c.run).*
        from run_claim(
          ${node}, ${free}::integer, ${ahead}::integer, ${settings.leaseSeconds}::integer,
          ${settings.maxRunningPerNamespace}::integer) c
      ),
      opened as (
        insert into run_attempt (run_id, attempt, fencing_token, owner, started_at)
        select c.id, c.attempt, c.fencing_token, c.lease_owner, clock_timestamp() from claimed c
      ),
      announced as (${announce(sql, "claimed")})
      select
        (select (extract(epoch from min(q.eligible_at) - clock_timestamp()) * 1000)::float8
         from run_queue q
         where q.eligible_at > now()) as due_ms,
        r.id, r.kind, r.namespace, r.pipeline_id, r.layer, r.pipeline, r.pipeline_type, r.code_version, r.code_files,
        r.trigger, r.traceparent, r.attempt, r.fencing_token::text as fencing_token, r.lease_expires_at, r.created_at,
        coalesce(r.logical_time, r.created_at) as logical_time, r.parameters, r.failures, r.outages, r.hand_overs,
        (select k.checkpoint from run_checkpoint k where k.run_id = r.id) as checkpoint
      from (values (1)) as one (row)
      left join claimed r on true
      order by r.turn`

  /**
   * At most `wanted` runs for `node`, the `ahead` last of which would wait for a slot there: they are given only if other nodes
   * have enough to do.
   */
  const claim = Effect.fn("RunRepository.claim")(function* (node: string, wanted: number, ahead = 0) {
    const limit = Math.min(Math.max(wanted, 0), maxClaim)
    if (limit === 0) return []
    const later = Math.min(Math.max(ahead, 0), limit)
    const rows = yield* retryContention(mark(node, limit - later, later))
    const runs = rows.flatMap((row) => (row.id === null ? [] : [toClaimedRun(row)]))
    yield* due.next(rows[0]?.due_ms ?? null)
    if (runs.length > 0) {
      yield* outbox.wake
      yield* countClaims(runs.length)
    }
    for (const run of runs) yield* hub.tell(run.lease.runId, { _tag: "Status", status: "running" })
    return runs
  })

  /** Extends the leases that are still held; answers with the runs whose lease is lost. */
  const renew = Effect.fn("RunRepository.renew")(function* (leases: ReadonlyArray<Lease>) {
    const input = toJsonb(leases.map((lease) => ({ id: lease.runId, token: lease.fencingToken.toString() })))
    const rows = yield* retryContention(sql<{ readonly id: RunId | null; readonly expires_at: Date }>`
      with held as (
        select r.id
        from run r
        join jsonb_to_recordset(${input}::jsonb) as i (id uuid, token bigint) on i.id = r.id
        where r.status = 'running' and r.fencing_token = i.token
        order by r.id
        for no key update of r
      ),
      renewed as (
        update run r
        set lease_expires_at = now() + make_interval(secs => ${settings.leaseSeconds}::integer)
        from held
        where r.id = held.id
        returning r.id
      )
      select renewed.id, now() + make_interval(secs => ${settings.leaseSeconds}::integer) as expires_at
      from (values (1)) as one (row)
      left join renewed on true`)
    const held = new Set(rows.map((row) => row.id))
    return {
      lost: leases.map((lease) => lease.runId).filter((runId) => !held.has(runId)),
      expiresAt: DateTime.fromDateUnsafe(rows[0]!.expires_at),
    }
  })

  return { claim, renew }
})

const toClaimedRun = (row: ClaimRow): ClaimedRun =>
  new ClaimedRun({
    lease: new Lease({
      runId: row.id,
      attempt: row.attempt,
      fencingToken: FencingToken.make(BigInt(row.fencing_token)),
      expiresAt: DateTime.fromDateUnsafe(row.lease_expires_at),
    }),
    kind: row.kind,
    namespace: row.namespace,
    target:
      row.pipeline_id === null
        ? null
        : new RunTarget({
            pipelineId: row.pipeline_id,
            layer: row.layer!,
            name: row.pipeline!,
            type: row.pipeline_type!,
            codeVersion: row.code_version!,
            files: toCodeFiles(row),
          }),
    trigger: row.trigger,
    createdAt: DateTime.fromDateUnsafe(row.created_at),
    traceparent: row.traceparent,
    logicalTime: DateTime.fromDateUnsafe(row.logical_time),
    parameters: row.parameters,
    checkpoint: row.checkpoint,
    failedAttempts: row.failures,
    outageAttempts: row.outages,
    lostAttempts: row.attempt - 1 - row.failures - row.outages - row.hand_overs,
  })
