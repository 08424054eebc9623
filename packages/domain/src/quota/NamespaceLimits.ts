import { Schema } from "effect"
import { NamespaceName } from "../namespace/Namespace.ts"
import { RunId } from "../run/Run.ts"

const count = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 1_000_000 }))

/** Limits and share of one namespace. Each is inclusive: one more is refused, or waits. */
const fields = {
  /** Share of the slots, compared with other namespaces that have something to run. */
  weight: Schema.Finite.check(Schema.isBetween({ minimum: 0.01, maximum: 100 })),
  /** Pending runs of the namespace. */
  max_pending: count,
  /** Pending runs of one of its pipelines. */
  max_pending_per_pipeline: count,
  /** Runs that execute at the same time, on all nodes together; 0 lets nothing begin. */
  max_running: count,
}

export const limitNames = ["weight", "max_pending", "max_pending_per_pipeline", "max_running"] as const

/** What somebody set; null takes the default of the server's settings. */
export class OwnLimits extends Schema.Class<OwnLimits>("rat/domain/OwnLimits")({
  weight: Schema.NullOr(fields.weight),
  max_pending: Schema.NullOr(fields.max_pending),
  max_pending_per_pipeline: Schema.NullOr(fields.max_pending_per_pipeline),
  max_running: Schema.NullOr(fields.max_running),
}) {}

/** What is to be set: absent leaves a limit as it is, null goes back to the default. */
export const LimitsChange = Schema.Struct({
  weight: Schema.optional(Schema.NullOr(fields.weight)),
  max_pending: Schema.optional(Schema.NullOr(fields.max_pending)),
  max_pending_per_pipeline: Schema.optional(Schema.NullOr(fields.max_pending_per_pipeline)),
  max_running: Schema.optional(Schema.NullOr(fields.max_running)),
})
export type LimitsChange = typeof LimitsChange.Type

/** A pipeline with a limit of its own. */
export class PipelineLimit extends Schema.Class<PipelineLimit>("rat/domain/PipelineLimit")({
  /** `layer.name` */
  pipeline: Schema.String,
  max_pending: count,
}) {}

export const PipelineLimitChange = Schema.Struct({
  /** Null goes back to the namespace's. */
  max_pending: Schema.NullOr(count),
})

export class NamespaceLimits extends Schema.Class<NamespaceLimits>("rat/domain/NamespaceLimits")({
  namespace: NamespaceName,
  /** What holds: the namespace's own, else the server's settings. */
  ...fields,
  own: OwnLimits,
  pipelines: Schema.Array(PipelineLimit),
}) {}

/** A run that waits. */
export class QueuedRun extends Schema.Class<QueuedRun>("rat/domain/QueuedRun")({
  run_id: RunId,
  /** `layer.name`; null for runs without a pipeline. */
  pipeline: Schema.NullOr(Schema.String),
  priority: Schema.Int,
  concurrency_key: Schema.NullOr(Schema.String),
  /** 1-based place in the order in which the pending runs of all namespaces would start. */
  position: Schema.NullOr(Schema.Int),
  /** When it may begin, if that is later than now. */
  eligible_at: Schema.NullOr(Schema.DateTimeUtcFromDate),
  created_at: Schema.DateTimeUtcFromDate,
}) {}

/** The queue of one namespace, as of now. */
export class NamespaceQueue extends Schema.Class<NamespaceQueue>("rat/domain/NamespaceQueue")({
  namespace: NamespaceName,
  pending: Schema.Int,
  running: Schema.Int,
  /** Seconds that the oldest pending run has waited; null when none does. */
  oldest_pending_seconds: Schema.NullOr(Schema.Finite),
  /** Runs that started within the last minute. */
  started_last_minute: Schema.Int,
  weight: fields.weight,
  max_pending: fields.max_pending,
  max_running: fields.max_running,
  /** The first ones, in the order in which they would start; at most 100. */
  runs: Schema.Array(QueuedRun),
}) {}
