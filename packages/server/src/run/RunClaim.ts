import { ClaimedRun, FencingToken, Lease, type RunId, RunTarget } from "@rat/domain"
import { DateTime, Effect } from "effect"
import { SqlClient } from "effect/sql"
import { Outbox } from "../event/Outbox.ts"
import { toJsonb } from "../sql/Jsonb.ts"
import { retryContention } from "../sql/SqlRetry.ts"
import { countClaims } from "../telemetry/Metrics.ts"
import { announce } from "./RunEvents.ts"
import { RunHub } from "./RunHub.ts"
import { type ClaimRow, toCodeFiles } from "./RunRow.ts"
import { RunSettings } from "./RunSettings.ts"

/** Most runs of one claim, whatever a runner asks for. */
const maxClaim = 64

/** Claims repeated because another node held every candidate in that instant. */
const maxRepeats = 3

/**
 * Hands runs to runner nodes. Order: the namespace with the fewest running runs first (fair share), in a namespace the
 * oldest first; of a pipeline at most one run is active. One statement reads only rows that can be claimed, marks a
 * whole batch, opens the attempts and appends the events.
 */
export const makeClaim = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const settings = yield* RunSettings
  const outbox = yield* Outbox
  const hub = yield* RunHub

  const mark = (node: string, limit: number) =>
    sql<{ readonly candidates: number } & (ClaimRow | { readonly id: null })>`
      with recursive waiting (namespace) as (
        -- A loose index scan: costs the number of namespaces that wait, not of runs.
        (select r.namespace from run r where r.status = 'queued' order by r.namespace limit 1)
        union all
        select (
          select r.namespace from run r
          where r.status = 'queued' and r.namespace > w.namespace
          order by r.namespace
          limit 1)
        from waiting w
        where w.namespace is not null
      ),
      active as (
        select namespace, count(*) as runs from run where status = 'running' group by namespace
      ),
      candidate as (
        select c.id, c.place + coalesce(a.runs, 0) as turn
        from waiting w
        left join active a on a.namespace = w.namespace
        cross join lateral (
          select r.id, row_number() over (order by r.id) as place
          from run r
          where r.status = 'queued' and r.namespace = w.namespace
            and (
              r.pipeline_id is null
              or (
                not exists (select 1 from run b where b.status = 'running' and b.pipeline_id = r.pipeline_id)
                and not exists (
                  select 1 from run o where o.status = 'queued' and o.pipeline_id = r.pipeline_id and o.id < r.id)
              )
            )
          order by r.id
          limit ${limit}::integer
        ) as c
        where w.namespace is not null
        order by turn, c.id
        limit ${limit}::integer
      ),
      free as (
        -- Row by row, by key: with status inside, Postgres would take the few queued rows that it remembers for granted
        -- and read the whole queue. The outer condition sees the row as it is once locked.
        select r.id
        from candidate c
        cross join lateral (
          select l.id, l.status from run l where l.id = c.id offset 0 for update skip locked
        ) as r
        where r.status = 'queued'
        order by c.turn, r.id
      ),
      claimed as (
        update run r
        set status = 'running',
            attempt = r.attempt + 1,
            fencing_token = r.fencing_token + 1,
            lease_owner = ${node},
            lease_expires_at = now() + make_interval(secs => ${settings.leaseSeconds}::integer),
            log_base = case
              when r.attempt = 0 then 0
              else (select coalesce(max(l.seq), 0) from run_log l where l.run_id = r.id)
            end,
            phase = null,
            branch = case when r.kind = 'pipeline' then 'run-' || r.id end,
            started_at = coalesce(r.started_at, now())
        from free
        where r.id = free.id
        returning r.*
      ),
      opened as (
        insert into run_attempt (run_id, attempt, fencing_token, owner, started_at)
        select c.id, c.attempt, c.fencing_token, c.lease_owner, now() from claimed c
      ),
      announced as (${announce(sql, "claimed")})
      select
        (select count(*) from candidate)::integer as candidates,
        r.id, r.kind, r.namespace, r.pipeline_id, r.layer, r.pipeline, r.pipeline_type, r.code_version, r.code_files,
        r.trigger, r.traceparent, r.attempt, r.fencing_token::text as fencing_token, r.lease_expires_at, r.created_at
      from (values (1)) as one (row)
      left join claimed r on true
      left join candidate c on c.id = r.id
      order by c.turn, r.id`

  const claim = Effect.fn("RunRepository.claim")(function* (node: string, wanted: number) {
    const limit = Math.min(Math.max(wanted, 0), maxClaim)
    if (limit === 0) return []
    for (let repeat = 0; ; repeat++) {
      const rows = yield* retryContention(mark(node, limit))
      const runs = rows.flatMap((row) => (row.id === null ? [] : [toClaimedRun(row)]))
      // Nothing claimed although there is work: another node is claiming the same rows. What is behind them is ours.
      const isOvertaken = runs.length === 0 && (rows[0]?.candidates ?? 0) > 0
      if (isOvertaken && repeat < maxRepeats) continue
      if (runs.length > 0) {
        yield* outbox.wake
        yield* countClaims(runs.length)
      }
      for (const run of runs) yield* hub.tell(run.lease.runId, { _tag: "Status", status: "running" })
      return runs
    }
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
  })
