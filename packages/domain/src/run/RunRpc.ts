import { Schema } from "effect"
import { Rpc, RpcGroup } from "effect/rpc"
import { addedField } from "../api/AddedField.ts"
import { NamespaceName } from "../namespace/Namespace.ts"
import { NamespaceNotFound } from "../namespace/NamespaceErrors.ts"
import { PipelineId } from "../pipeline/Pipeline.ts"
import { PipelineNotFound } from "../pipeline/PipelineErrors.ts"
import { Priority } from "../quota/Priority.ts"
import { LogEntry, Run, RunId, RunKind, WireRunStatus } from "./Run.ts"
import { QueueFull, RunFinished, RunNotFound, StateUnavailable } from "./RunErrors.ts"
import { RunParameters } from "./RunParameters.ts"

/** A run that is made from an earlier one: with its code, inputs, parameters and logical time. */
export const RunRepeat = Schema.Struct({
  of: RunId,
  /** Also with what its last attempt had done: the new run goes on where that one stopped. */
  resume: Schema.Boolean,
})
export type RunRepeat = typeof RunRepeat.Type

/** Messages to the `Pipeline` entity: the one place where runs of a pipeline are accepted. */
export class PipelineRpc extends RpcGroup.make(
  /** Durable before it answers. Refused when a queue limit is reached. */
  Rpc.make("Submit", {
    payload: {
      kind: RunKind,
      namespace: NamespaceName,
      pipelineId: Schema.NullOr(PipelineId),
      trigger: Schema.String,
      /** The same key within a day answers with the same run. */
      idempotencyKey: Schema.NullOr(Schema.String),
      traceparent: Schema.NullOr(Schema.String),
      /** Id for the run, chosen by who asks: asking again after a lost answer finds the same run. Null: a new one. */
      runId: addedField(Schema.NullOr(RunId), null),
      parameters: addedField(RunParameters, {}),
      /** Null: the moment at which the run is accepted. */
      logicalTime: addedField(Schema.NullOr(Schema.DateTimeUtcFromDate), null),
      /** Null: what the pipeline's code says. */
      priority: addedField(Schema.NullOr(Priority), null),
      /** With it, `parameters` and `logicalTime` are the earlier run's, whatever is given. */
      repeat: addedField(Schema.NullOr(RunRepeat), null),
    },
    success: Run,
    error: Schema.Union([QueueFull, NamespaceNotFound, PipelineNotFound, StateUnavailable]),
  }),
) {}

/** Live news of one run. */
export const RunUpdate = Schema.Union([
  Schema.Struct({ _tag: Schema.tag("Log"), entry: LogEntry }),
  Schema.Struct({ _tag: Schema.tag("Status"), status: WireRunStatus }),
])
export type RunUpdate = typeof RunUpdate.Type

/** Messages to the `Run` entity: supervision and live view of one run. */
export class RunRpc extends RpcGroup.make(
  /** Cancels a pending or running run; the running statement is interrupted at once. */
  Rpc.make("Cancel", { success: Run, error: Schema.Union([RunNotFound, RunFinished, StateUnavailable]) }),
  /** Log lines with `seq` above `afterSeq`, then live ones, and the status when it changes; ends with a terminal status. */
  Rpc.make("Follow", {
    payload: { afterSeq: Schema.Int },
    success: RunUpdate,
    error: Schema.Union([RunNotFound, StateUnavailable]),
    stream: true,
  }),
) {}

export const RunEntityId = RunId
