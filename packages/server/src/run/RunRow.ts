import {
  type AttemptOutcome,
  CodeFile,
  type ContentHash,
  type Layer,
  LogEntry,
  type LogLevel,
  type NamespaceName,
  type Phase,
  PhaseTiming,
  type PipelineId,
  type PipelineName,
  type PipelineType,
  Run,
  RunAttempt,
  type RunId,
  type RunKind,
  type RunParameters,
  type RunStatus,
  toWireStatus,
} from "@rat/domain"
import { DateTime, type Schema } from "effect"

/** Columns of table `run` (as `r`) that clients see; `bigint` becomes a number, which holds 2^53 rows. */
export const runColumns = `
  r.id, r.kind, r.namespace, r.pipeline_id, r.layer, r.pipeline, r.status, r.trigger, r.code_version,
  r.attempt, r.phases,
  case
    when r.status in ('running', 'cancelled')
    then coalesce((select a.phase from run_attempt a where a.run_id = r.id and a.attempt = r.attempt), r.phase)
    else r.phase
  end as phase, r.error, r.rows_written::float8 as rows_written, r.snapshot_id,
  r.branch, r.branch_expires_at, r.created_at, r.started_at, r.finished_at, r.priority,
  nullif(r.concurrency_key, '') as concurrency_key, r.error_code, r.parameters,
  coalesce(r.logical_time, r.created_at) as logical_time, r.retry_of, r.retry_at`

export interface RunRow {
  readonly id: RunId
  readonly kind: RunKind
  readonly namespace: NamespaceName
  readonly pipeline_id: PipelineId | null
  readonly layer: Layer | null
  readonly pipeline: PipelineName | null
  readonly status: RunStatus
  readonly trigger: string
  readonly code_version: string | null
  readonly attempt: number
  readonly phase: Phase | null
  readonly phases: ReadonlyArray<{ readonly name: Phase; readonly duration_ms: number }>
  readonly error: string | null
  readonly rows_written: number | null
  readonly snapshot_id: string | null
  readonly branch: string | null
  readonly branch_expires_at: Date | null
  readonly created_at: Date
  readonly started_at: Date | null
  readonly finished_at: Date | null
  readonly priority: number
  readonly concurrency_key: string | null
  readonly error_code: string | null
  readonly parameters: RunParameters
  readonly logical_time: Date
  readonly retry_of: RunId | null
  readonly retry_at: Date | null
  readonly queue_position: number | null
}

const utc = (date: Date | null) => (date === null ? null : DateTime.fromDateUnsafe(date))

/** The run as clients see it at `nowMs`: a branch whose time has come is not named any more. */
export const toRun = (row: RunRow, nowMs: number): Run => {
  const isReadable = row.branch_expires_at === null || row.branch_expires_at.getTime() > nowMs
  return new Run(
    {
      id: row.id,
      pipeline_id: row.pipeline_id,
      status: toWireStatus(row.status),
      trigger: row.trigger,
      started_at: utc(row.started_at),
      finished_at: utc(row.finished_at),
      duration_ms:
        row.started_at === null || row.finished_at === null
          ? null
          : row.finished_at.getTime() - row.started_at.getTime(),
      rows_written: row.rows_written,
      error: row.error,
      logs_s3_path: null,
      created_at: DateTime.fromDateUnsafe(row.created_at),
      kind: row.kind,
      namespace: row.namespace,
      layer: row.layer,
      pipeline: row.pipeline,
      attempt: row.attempt,
      phase: row.phase,
      phases: row.phases.map((timing) => new PhaseTiming(timing)),
      code_version: row.code_version,
      branch: isReadable ? row.branch : null,
      branch_expires_at: isReadable ? utc(row.branch_expires_at) : null,
      snapshot_id: row.snapshot_id,
      queue_position: row.status === "queued" ? row.queue_position : null,
      priority: row.priority,
      concurrency_key: row.concurrency_key,
      error_code: row.error_code,
      parameters: row.parameters,
      logical_time: DateTime.fromDateUnsafe(row.logical_time),
      retry_of: row.retry_of,
      retry_at: row.status === "queued" ? utc(row.retry_at) : null,
    },
    { disableChecks: true },
  )
}

export interface LogRow {
  readonly seq: number
  readonly at: Date
  readonly level: LogLevel
  readonly phase: Phase | null
  readonly message: string
}

export const toLogEntry = (row: LogRow): LogEntry =>
  new LogEntry({
    seq: row.seq,
    timestamp: row.at.toISOString(),
    level: row.level,
    message: row.message,
    ...(row.phase === null ? {} : { phase: row.phase }),
  })

export interface AttemptRow {
  readonly attempt: number
  readonly owner: string
  readonly outcome: "succeeded" | "failed" | "cancelled" | "lost" | "handed_over" | null
  readonly started_at: Date
  readonly ended_at: Date | null
  readonly retry_at: Date | null
  readonly phase: Phase | null
  readonly phases: RunRow["phases"]
  readonly error: string | null
  readonly error_code: string | null
}

const outcomeOf = (outcome: AttemptRow["outcome"]): AttemptOutcome =>
  outcome === null
    ? "running"
    : outcome === "lost" || outcome === "handed_over"
      ? outcome
      : (toWireStatus(outcome) as AttemptOutcome)

export const toRunAttempt = (row: AttemptRow): RunAttempt =>
  new RunAttempt({
    attempt: row.attempt,
    node: row.owner,
    outcome: outcomeOf(row.outcome),
    started_at: DateTime.fromDateUnsafe(row.started_at),
    ended_at: utc(row.ended_at),
    duration_ms: row.ended_at === null ? null : row.ended_at.getTime() - row.started_at.getTime(),
    phase: row.phase,
    phases: row.phases.map((timing) => new PhaseTiming(timing)),
    error: row.error,
    error_code: row.error_code,
    retry_at: utc(row.retry_at),
  })

/** What a claim needs of a row. */
export interface ClaimRow {
  readonly id: RunId
  readonly kind: RunKind
  readonly namespace: NamespaceName
  readonly pipeline_id: PipelineId | null
  readonly layer: Layer | null
  readonly pipeline: PipelineName | null
  readonly pipeline_type: PipelineType | null
  readonly code_version: string | null
  readonly code_files: ReadonlyArray<{ readonly path: string; readonly hash: ContentHash }>
  readonly trigger: string
  readonly traceparent: string | null
  readonly attempt: number
  readonly fencing_token: string
  readonly lease_expires_at: Date
  readonly created_at: Date
  readonly logical_time: Date
  readonly parameters: RunParameters
  readonly checkpoint: Schema.Json
  readonly failures: number
  readonly outages: number
  readonly hand_overs: number
}

export const toCodeFiles = (row: ClaimRow) => row.code_files.map((file) => new CodeFile(file))
