import { Schema } from "effect"

/** The strategies that the ancestor knew and this platform will know. */
export const MergeStrategy = Schema.Literals([
  "full_refresh",
  "incremental",
  "append_only",
  "delete_insert",
  "scd2",
  "snapshot",
  "soft_delete",
])
export type MergeStrategy = typeof MergeStrategy.Type

/** Those that are built. Asking for another one is an error, never a silent full refresh. */
export const supportedStrategies: ReadonlyArray<MergeStrategy> = ["full_refresh", "append_only"]

/**
 * The effective settings of one pipeline: annotation over config.yaml over default. Only keys that something
 * reads are here; every other key of the ancestor is refused by name with the reason.
 */
export class PipelineConfig extends Schema.Class<PipelineConfig>("rat/domain/PipelineConfig")({
  description: Schema.String,
  materialized: Schema.Literal("table"),
  merge_strategy: MergeStrategy,
  /** Column whose maximum in the published table becomes `watermark_value`. */
  watermark_column: Schema.NullOr(Schema.String),
  /** Bytes the run's engine may hold; null takes the slot's default. */
  memory_limit_bytes: Schema.NullOr(Schema.Int),
  /** Longest time one run may take, in seconds; null takes the server's default. */
  timeout_seconds: Schema.NullOr(Schema.Int),
}) {}

export const defaultPipelineConfig = new PipelineConfig({
  description: "",
  materialized: "table",
  merge_strategy: "full_refresh",
  watermark_column: null,
  memory_limit_bytes: null,
  timeout_seconds: null,
})
