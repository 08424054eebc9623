import { Schema } from "effect"
import { Rpc, RpcGroup } from "effect/rpc"
import { addedField } from "../api/AddedField.ts"
import { ContentHash } from "../file/File.ts"
import { NamespaceName } from "../namespace/Namespace.ts"
import { Layer, PipelineId, PipelineName, PipelineType } from "../pipeline/Pipeline.ts"
import { QualityResult } from "../quality/QualityTest.ts"
import { Lease } from "./Lease.ts"
import { defaultRetryPolicy, RetryPolicy } from "./RetryPolicy.ts"
import { LogEntry, Phase, PhaseTiming, RunId, RunKind } from "./Run.ts"
import { LeaseLost, PublishConflict } from "./RunErrors.ts"
import { RunParameters } from "./RunParameters.ts"

/**
 * What runners ask of the control role, which is the only writer of run rows. A runner pulls work (`Claim`), keeps
 * its right to it (`Renew`), tells how it goes (`Report`) and ends it (`Finish`).
 */

/** A file of the pipeline as it was when the run was accepted. `path` is relative to the pipeline's folder. */
export class CodeFile extends Schema.Class<CodeFile>("rat/domain/CodeFile")({
  path: Schema.String,
  hash: ContentHash,
}) {}

/** One landing zone's files as listed when the runner asked; exactly these are read and recorded. */
export class ZoneListing extends Schema.Class<ZoneListing>("rat/domain/ZoneListing")({
  zone: Schema.String,
  files: Schema.Array(
    Schema.Struct({ id: Schema.String, filename: Schema.String, key: Schema.String, size_bytes: Schema.Int }),
  ),
}) {}

/** A pipeline run's target and code. */
export class RunTarget extends Schema.Class<RunTarget>("rat/domain/RunTarget")({
  pipelineId: PipelineId,
  layer: Layer,
  name: PipelineName,
  type: PipelineType,
  codeVersion: Schema.String,
  files: Schema.Array(CodeFile),
}) {}

/** A run handed to a runner together with the lease to work on it. */
export class ClaimedRun extends Schema.Class<ClaimedRun>("rat/domain/ClaimedRun")({
  lease: Lease,
  kind: RunKind,
  namespace: NamespaceName,
  /** Absent for kinds without a table. */
  target: Schema.NullOr(RunTarget),
  trigger: Schema.String,
  createdAt: Schema.DateTimeUtcFromDate,
  /** W3C traceparent of the request that made the run, so that the run joins its trace. */
  traceparent: Schema.NullOr(Schema.String),
  /** The moment that the run is about: the same for all of its attempts. Null from an older node: `createdAt`. */
  logicalTime: addedField(Schema.NullOr(Schema.DateTimeUtcFromDate), null),
  parameters: addedField(RunParameters, {}),
  /** What the newest attempt that reported one has done so far; see `Checkpoint`. Null: begin at the beginning. */
  checkpoint: addedField(Schema.NullOr(Schema.Json), null),
  /** Earlier attempts: that failed and are repeated, that met an outage, and whose node was lost. */
  failedAttempts: addedField(Schema.Int, 0),
  outageAttempts: addedField(Schema.Int, 0),
  lostAttempts: addedField(Schema.Int, 0),
}) {}

/** Everything a successful run brings: publishing is one transaction over all of it. */
export class RunOutcome extends Schema.Class<RunOutcome>("rat/domain/RunOutcome")({
  /** Branch to merge into main; null for kinds without a table. */
  branch: Schema.NullOr(Schema.String),
  rowsWritten: Schema.Int,
  snapshotId: Schema.NullOr(Schema.String),
  phases: Schema.Array(PhaseTiming),
  quality: Schema.Array(QualityResult),
  landingFileIds: Schema.Array(Schema.String),
  /** The pipeline's description as its code has it; "" when it has none. */
  description: Schema.String,
  /** Log lines that were not reported yet: a short run needs no report. */
  logs: addedField(Schema.Array(LogEntry), []),
}) {}

/** What a run without a table brings: that it happened, and how long its phases took. */
export const outcomeWithoutTable = (phases: RunOutcome["phases"]) =>
  new RunOutcome({
    branch: null,
    rowsWritten: 0,
    snapshotId: null,
    phases,
    quality: [],
    landingFileIds: [],
    description: "",
  })

export class RunFailure extends Schema.Class<RunFailure>("rat/domain/RunFailure")({
  /** Shown to people: what happened, where, what to do. No stack trace. */
  error: Schema.String,
  /** Stable code such as `sql.error`, `quality.failed`, `limit.memory`, `store.unavailable`. */
  code: Schema.String,
  phase: Phase,
  phases: Schema.Array(PhaseTiming),
  quality: Schema.Array(QualityResult),
  /** Whether another attempt may succeed (see `FailureKind`). Control decides whether there is one. */
  retryable: addedField(Schema.Boolean, false),
  /** What the pipeline's settings say of retries; the default where they could not be read. */
  retry: addedField(RetryPolicy, defaultRetryPolicy),
}) {}

/** What a node that stops leaves of an attempt that it gives back. */
export class HandOver extends Schema.Class<HandOver>("rat/domain/HandOver")({
  phase: Phase,
  phases: Schema.Array(PhaseTiming),
  /** Lines that were not reported yet. */
  logs: Schema.Array(LogEntry),
  /** See `Checkpoint`; null: the one that was reported last holds. */
  checkpoint: Schema.NullOr(Schema.Json),
}) {}

/** Pushed to a runner node: there may be work; or a run of its own must stop now. */
export const RunnerSignal = Schema.Union([
  Schema.Struct({ _tag: Schema.tag("Wake") }),
  Schema.Struct({ _tag: Schema.tag("Cancel"), runId: RunId }),
])
export type RunnerSignal = typeof RunnerSignal.Type

export class RunControlRpc extends RpcGroup.make(
  /**
   * Takes at most `limit` eligible runs for `node`; the `ahead` last of them, which would wait for a slot there, only if the other
   * nodes have enough to do. An empty answer means: wait for a signal.
   */
  Rpc.make("Claim", {
    payload: { node: Schema.String, limit: Schema.Int, ahead: addedField(Schema.Int, 0) },
    success: Schema.Array(ClaimedRun),
  }),
  /** Extends leases. Those that are no longer held come back as `lost`: stop their work. */
  Rpc.make("Renew", {
    payload: { leases: Schema.Array(Lease) },
    success: Schema.Struct({ lost: Schema.Array(RunId), expiresAt: Schema.DateTimeUtcFromDate }),
  }),
  /**
   * Gives back a run that was claimed ahead of a free slot and has not begun: it is pending again, and this attempt does
   * not count. No error when the lease is gone already. With `handOver` it has begun, and its node stops: another one goes on at
   * once, and the attempt counts neither as failed nor as lost.
   */
  Rpc.make("Release", { payload: { lease: Lease, handOver: Schema.optionalKey(HandOver) } }),
  /**
   * Progress: the phase the run is in, its new log lines, and what the next attempt can go on from (absent: nothing new).
   * Idempotent by (run, attempt, seq); of checkpoints the newest wins.
   */
  Rpc.make("Report", {
    payload: {
      lease: Lease,
      phase: Schema.NullOr(Phase),
      logs: Schema.Array(LogEntry),
      checkpoint: Schema.optionalKey(Schema.Json),
    },
    error: LeaseLost,
  }),
  /** Files of a landing zone of the run's namespace; null when there is no such zone. */
  Rpc.make("ListZone", {
    payload: { lease: Lease, zone: Schema.String },
    success: Schema.NullOr(ZoneListing),
    error: LeaseLost,
  }),
  /** Merges the branch, ends the branch and the run and appends events, in one transaction. */
  Rpc.make("Succeed", {
    payload: { lease: Lease, outcome: RunOutcome },
    error: Schema.Union([LeaseLost, PublishConflict]),
  }),
  /**
   * Ends the attempt as failed. Control lets another one follow, or ends the run: main is untouched and the branch stays readable
   * until it expires.
   */
  Rpc.make("Fail", { payload: { lease: Lease, failure: RunFailure }, error: LeaseLost }),
  /** The runner stopped after a cancel; the run already is `cancelled`. Stores what there is to know. */
  Rpc.make("Stopped", {
    payload: { lease: Lease, phases: Schema.Array(PhaseTiming), logs: Schema.Array(LogEntry) },
  }),
  /** Signals for one node, until the caller goes away. Starts with `Wake`. */
  Rpc.make("Signals", { payload: { node: Schema.String }, success: RunnerSignal, stream: true }),
) {}
