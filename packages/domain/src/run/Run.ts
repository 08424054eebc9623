import { Schema } from "effect"
import { addedField } from "../api/AddedField.ts"
import { NamespaceName } from "../namespace/Namespace.ts"
import { Layer, PipelineId, PipelineName } from "../pipeline/Pipeline.ts"
import { RunParameters } from "./RunParameters.ts"

/** UUIDv7: sorts by creation time. */
export const RunId = Schema.String.check(Schema.isUUID(7)).pipe(Schema.brand("RunId"))
export type RunId = typeof RunId.Type

/** The words of the state machine and of the database. */
export const RunStatus = Schema.Literals(["queued", "running", "succeeded", "failed", "cancelled"])
export type RunStatus = typeof RunStatus.Type

/** The words of the HTTP API, which are the ancestor's. */
export const WireRunStatus = Schema.Literals(["pending", "running", "success", "failed", "cancelled"])
export type WireRunStatus = typeof WireRunStatus.Type

const wireOf: { readonly [S in RunStatus]: WireRunStatus } = {
  queued: "pending",
  running: "running",
  succeeded: "success",
  failed: "failed",
  cancelled: "cancelled",
}
export const toWireStatus = (status: RunStatus): WireRunStatus => wireOf[status]
export const fromWireStatus = (status: WireRunStatus): RunStatus =>
  RunStatus.literals.find((candidate) => wireOf[candidate] === status) as RunStatus

/** What a run executes: a pipeline's code, or nothing at all (measures and exercises the lifecycle itself). */
export const RunKind = Schema.Literals(["pipeline", "noop"])
export type RunKind = typeof RunKind.Type

/** Steps of a run, in order. Each is idempotent by run id. */
export const Phase = Schema.Literals(["branch", "resolve", "execute", "write", "commit", "test", "publish"])
export type Phase = typeof Phase.Type

export class PhaseTiming extends Schema.Class<PhaseTiming>("rat/domain/PhaseTiming")({
  name: Phase,
  duration_ms: Schema.Finite,
}) {}

/** A run as clients see it. The first eleven fields are the ancestor's; the others are additions. */
export class Run extends Schema.Class<Run>("rat/domain/Run")({
  id: RunId,
  pipeline_id: Schema.NullOr(PipelineId),
  status: WireRunStatus,
  trigger: Schema.String,
  started_at: Schema.NullOr(Schema.DateTimeUtcFromDate),
  finished_at: Schema.NullOr(Schema.DateTimeUtcFromDate),
  duration_ms: Schema.NullOr(Schema.Int),
  rows_written: Schema.NullOr(Schema.Int),
  error: Schema.NullOr(Schema.String),
  logs_s3_path: Schema.Null,
  created_at: Schema.DateTimeUtcFromDate,
  kind: RunKind,
  namespace: NamespaceName,
  layer: Schema.NullOr(Layer),
  pipeline: Schema.NullOr(PipelineName),
  attempt: Schema.Int,
  phase: Schema.NullOr(Phase),
  phases: Schema.Array(PhaseTiming),
  /** `draft@<hash>`: the code that ran, fixed when the run was accepted. */
  code_version: Schema.NullOr(Schema.String),
  /** Branch of the run while it can be read: `run-<id>`. */
  branch: Schema.NullOr(Schema.String),
  branch_expires_at: Schema.NullOr(Schema.DateTimeUtcFromDate),
  snapshot_id: Schema.NullOr(Schema.String),
  /** 1-based place in the order in which pending runs of all namespaces would start; null once it runs. */
  queue_position: Schema.NullOr(Schema.Int),
  priority: addedField(Schema.Int, 0),
  /** Runs of the namespace with the same key take turns. */
  concurrency_key: addedField(Schema.NullOr(Schema.String), null),
  /** Of the error; see `docs/pipelines.md`. */
  error_code: addedField(Schema.NullOr(Schema.String), null),
  parameters: addedField(RunParameters, {}),
  /** The moment that the run is about; when it was created, unless somebody said otherwise. */
  logical_time: addedField(Schema.NullOr(Schema.DateTimeUtcFromDate), null),
  /** The run that this one repeats or goes on with. */
  retry_of: addedField(Schema.NullOr(RunId), null),
  /** A pending run whose last attempt failed begins no earlier. */
  retry_at: addedField(Schema.NullOr(Schema.DateTimeUtcFromDate), null),
}) {}

export const runBranch = (runId: string) => `run-${runId}`

export const LogLevel = Schema.Literals(["debug", "info", "warn", "error"])
export type LogLevel = typeof LogLevel.Type

/** One line of a run's log. `seq` rises by one within a run and is the SSE event id. */
export class LogEntry extends Schema.Class<LogEntry>("rat/domain/LogEntry")({
  seq: Schema.Int,
  timestamp: Schema.String,
  level: LogLevel,
  message: Schema.String,
  phase: Schema.optional(Phase),
}) {}
