import {
  type Lease,
  LeaseLost,
  type NamespaceName,
  type Phase,
  type PipelineId,
  type RunId,
  type RunOutcome,
  toWireStatus,
} from "@rat/domain"
import { Effect, Exit } from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import { Outbox, type OutboxEvent } from "../event/Outbox.ts"
import { describePipelines } from "../pipeline/PipelineDescription.ts"
import { hasNext } from "../queue/QueueNext.ts"
import { toJsonb } from "../sql/Jsonb.ts"
import { countRun } from "../telemetry/Metrics.ts"
import { dropCheckpoints } from "./RunCheckpoint.ts"
import { announce } from "./RunEvents.ts"
import { RunHub } from "./RunHub.ts"
import { linesOf, writeLines } from "./RunLines.ts"
import { RunSettings } from "./RunSettings.ts"

/** How an attempt ends its run. */
export interface Ending {
  readonly lease: Lease
  readonly status: "succeeded" | "failed"
  readonly phase: Phase | null
  readonly error: string | null
  readonly errorCode: string | null
  readonly rowsWritten: number | null
  readonly snapshotId: string | null
  readonly landingFileIds: ReadonlyArray<string>
  readonly description: string
  readonly phases: RunOutcome["phases"]
  readonly quality: RunOutcome["quality"]
  /** Lines that were not reported; absent in what an older version wrote down. */
  readonly logs?: RunOutcome["logs"]
}

export interface Ended {
  readonly id: RunId
  readonly token: string
  readonly namespace: NamespaceName
  readonly pipeline_id: PipelineId | null
  readonly branch: string | null
  /** From the run's first start to its end. */
  readonly took_ms: number
  /** Another run of the pipeline waits and may be claimed now. */
  readonly has_next: boolean
}

/** Something else that happened when a run ended. */
export interface EndingEvent extends OutboxEvent {
  readonly runId: RunId
}

/** The ending of an attempt that did all of its work. */
export const endingOf = (lease: Lease, outcome: RunOutcome): Ending => ({
  lease,
  status: "succeeded",
  phase: null,
  error: null,
  errorCode: null,
  rowsWritten: outcome.rowsWritten,
  snapshotId: outcome.snapshotId,
  landingFileIds: outcome.landingFileIds,
  description: outcome.description,
  phases: outcome.phases,
  quality: outcome.quality,
  logs: outcome.logs,
})

/**
 * Ends runs for good, many in one statement. The guard (running, newest fencing token) is in the statement; attempt, quality
 * results, the end of checkpoints and events join it.
 */
export const makeEnding = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const settings = yield* RunSettings
  const outbox = yield* Outbox
  const hub = yield* RunHub

  /** `events` are appended with the runs' own, where their run ends. Runs without a table (`isBare`) have no checkpoints and no descriptions. */
  const end = (
    items: ReadonlyArray<Ending>,
    options: { readonly isBare: boolean; readonly events: ReadonlyArray<EndingEvent> },
  ) => {
    const input = toJsonb(
      items.map((item) => ({
        id: item.lease.runId,
        token: item.lease.fencingToken.toString(),
        status: item.status,
        phase: item.phase,
        error: item.error,
        error_code: item.errorCode,
        rows_written: item.rowsWritten,
        snapshot_id: item.snapshotId,
        landing_file_ids: item.landingFileIds,
        description: item.description,
        phases: item.phases,
      })),
    )
    const quality = items.flatMap((item) => item.quality.map((result) => ({ run_id: item.lease.runId, ...result })))
    const withQuality = sql`
      results as (
        insert into quality_result (
          run_id, name, pipeline_id, status, severity, description, tags, remediation, violations, sample_columns,
          sample_rows, error, duration_ms)
        select
          e.id, q.name, e.pipeline_id, q.status, q.severity, q.description, q.tags, q.remediation, q.violations,
          q.sample_columns, q.sample_rows, q.error, q.duration_ms
        from jsonb_to_recordset(${toJsonb(quality)}::jsonb) as q (
          run_id uuid, name text, status text, severity text, description text, tags jsonb, remediation text,
          violations bigint, sample_columns jsonb, sample_rows jsonb, error text, duration_ms double precision)
        join ended e on e.id = q.run_id
        on conflict (run_id, name) do nothing
      ),`
    const lines = items.flatMap((item) => linesOf(item.lease, item.logs ?? []))
    const withLines = sql`
      written as (${writeLines(sql, toJsonb(lines), { held: "ended", maxLogLines: settings.maxLogLines })}),`
    const withEvents = sql`
      told as (
        insert into outbox (key, type, namespace, payload)
        select t.key, t.type, t.namespace, t.payload
        from jsonb_to_recordset(${toJsonb(options.events)}::jsonb) as t (
          "runId" uuid, key text, type text, namespace text, payload jsonb)
        join ended e on e.id = t."runId"
        order by e.id
      ),`
    const ofPipelines = sql`
      described as (${describePipelines(sql)}),
      dropped as (${dropCheckpoints(sql)}),`
    const nothing = sql.literal("")
    return sql<Ended>`
      with input as (
        select *
        from jsonb_to_recordset(${input}::jsonb) as i (
          id uuid, token bigint, status text, phase text, error text, error_code text, rows_written bigint,
          snapshot_id text, landing_file_ids jsonb, description text, phases jsonb)
      ),
      held as (
        select r.id, i.token
        from run r
        join input i on i.id = r.id
        where r.status = 'running' and r.fencing_token = i.token
          -- What was begun in another catalog may have happened: only its success ends the run.
          and (r.publishing is null or i.status = 'succeeded')
        order by r.id
        for no key update of r
      ),
      ended as (
        update run r
        set status = i.status,
            phase = i.phase,
            error = i.error,
            error_code = i.error_code,
            rows_written = i.rows_written,
            snapshot_id = i.snapshot_id,
            landing_file_ids = i.landing_file_ids,
            phases = i.phases,
            publishing = null,
            lease_owner = null,
            lease_expires_at = null,
            retry_at = null,
            branch = case when i.status = 'failed' then r.branch end,
            branch_expires_at = case
              when i.status = 'failed' and r.branch is not null
              then now() + make_interval(hours => ${settings.branchHours}::integer)
            end,
            finished_at = now()
        from input i
        join held h on h.id = i.id and h.token = i.token
        where r.id = h.id
        returning r.*
      ),
      closed as (
        -- Phases and error of a run's last attempt are the run's.
        update run_attempt a
        set ended_at = now(), outcome = e.status
        from ended e
        where a.run_id = e.id and a.attempt = e.attempt
      ),
      ${options.isBare ? nothing : ofPipelines}
      ${quality.length === 0 ? nothing : withQuality}
      ${options.events.length === 0 ? nothing : withEvents}
      ${lines.length === 0 ? nothing : withLines}
      announced as (${announce(sql, "ended")})
      select
        e.id, e.fencing_token::text as token, e.namespace, e.pipeline_id, e.branch,
        (extract(epoch from e.finished_at - e.started_at) * 1000)::float8 as took_ms,
        ${hasNext(sql, "e")} as has_next
      from ended e`
  }

  /** After the commit: the live side, the metrics and, where a run of the same pipeline may begin now, the runners. */
  const tell = (ended: Ended, status: Ending["status"]) =>
    hub
      .tell(ended.id, { _tag: "Status", status })
      .pipe(
        Effect.andThen(ended.has_next ? hub.wake : Effect.void),
        Effect.andThen(countRun(toWireStatus(status), ended.took_ms)),
      )

  /** Nothing was ended: fine if this very attempt did it before and only its answer was lost. */
  const confirm = (lease: Lease, outcome: Ending["status"]): Effect.Effect<void, LeaseLost | SqlError.SqlError> =>
    Effect.flatMap(
      sql`
        select 1 from run_attempt
        where run_id = ${lease.runId} and attempt = ${lease.attempt} and fencing_token = ${lease.fencingToken}
          and outcome = ${outcome}`,
      (rows) =>
        rows.length > 0 ? Effect.void : Effect.fail(new LeaseLost({ runId: lease.runId, attempt: lease.attempt })),
    )

  /** The answers to those who asked for `items`, of which `rows` were ended in a transaction that is committed. */
  const answer = (items: ReadonlyArray<Ending>, rows: ReadonlyArray<Ended>) =>
    Effect.gen(function* () {
      const ended = new Map(rows.map((row) => [row.id, row]))
      if (rows.length > 0) yield* outbox.wake
      return yield* Effect.forEach(items, (item) => {
        const row = ended.get(item.lease.runId)
        // Whoever asked twice is answered twice, but it happened once.
        ended.delete(item.lease.runId)
        return row !== undefined && row.token === item.lease.fencingToken.toString()
          ? Effect.as(tell(row, item.status), Exit.void)
          : confirm(item.lease, item.status).pipe(
              Effect.as<Exit.Exit<void, LeaseLost>>(Exit.void),
              Effect.catchTag("LeaseLost", (lost) => Effect.succeed(Exit.fail(lost))),
            )
      })
    })

  return { end, tell, confirm, answer }
})
