import { Schema } from "effect"
import { Rpc, RpcGroup } from "effect/rpc"
import { NamespaceName } from "../namespace/Namespace.ts"
import { NamespaceNotFound } from "../namespace/NamespaceErrors.ts"
import { PipelineId } from "../pipeline/Pipeline.ts"
import { PipelineNotFound } from "../pipeline/PipelineErrors.ts"
import { LogEntry, Run, RunId, RunKind, WireRunStatus } from "./Run.ts"
import { QueueFull, RunFinished, RunNotFound, StateUnavailable } from "./RunErrors.ts"

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
