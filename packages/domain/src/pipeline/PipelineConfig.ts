import { Schema } from "effect"
import { MaintenancePolicyPart } from "../maintenance/MaintenancePolicy.ts"
import { defaultRetryPolicy, RetryPolicy } from "../run/RetryPolicy.ts"

/** The strategies that a pipeline can have. */
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
export const supportedStrategies: ReadonlyArray<MergeStrategy> = MergeStrategy.literals

/** One field of a table's partitioning. */
export const PartitionBy = Schema.Struct({
  column: Schema.String,
  /** `identity`, `year`, `month`, `day`, `hour`, `bucket[N]`, `truncate[W]` or `void`. */
  transform: Schema.String,
})
export type PartitionBy = typeof PartitionBy.Type

/** One column of the order in which rows are written. */
export const SortBy = Schema.Struct({
  column: Schema.String,
  direction: Schema.Literals(["asc", "desc"]),
  nulls: Schema.Literals(["first", "last"]),
})
export type SortBy = typeof SortBy.Type

/** What happens when the result's columns are not the table's. */
export const OnSchemaChange = Schema.Literals(["evolve", "fail", "ignore"])
export type OnSchemaChange = typeof OnSchemaChange.Type

/** Versions of the Iceberg format that tables can have. */
export const FormatVersion = Schema.Literals([2, 3])
export type FormatVersion = typeof FormatVersion.Type

/**
 * The effective settings of one pipeline: annotation over config.yaml over default. Only keys that something
 * reads are here; every other key of the ancestor is refused by name with the reason. `docs/pipelines.md` explains each.
 */
export class PipelineConfig extends Schema.Class<PipelineConfig>("rat/domain/PipelineConfig")({
  description: Schema.String,
  materialized: Schema.Literal("table"),
  merge_strategy: MergeStrategy,
  /** Columns that tell rows apart; empty when nothing does. */
  unique_key: Schema.Array(Schema.String),
  /** Column whose maximum in the published table becomes `watermark_value`. */
  watermark_column: Schema.NullOr(Schema.String),
  /** `snapshot`: rows of the table whose value here is in the result are replaced. */
  partition_column: Schema.NullOr(Schema.String),
  /** Null leaves the table's partitioning as it is (a new table has none); an empty list takes it away. */
  partition_by: Schema.NullOr(Schema.Array(PartitionBy)),
  /** Null leaves the table's sort order as it is (a new table has none); an empty list takes it away. */
  sort_by: Schema.NullOr(Schema.Array(SortBy)),
  /** `append_only`: rows whose key the table has already are left out. */
  dedup: Schema.Boolean,
  scd_valid_from: Schema.String,
  scd_valid_to: Schema.String,
  scd_close_missing: Schema.Boolean,
  on_schema_change: OnSchemaChange,
  /** Whether columns may disappear and types change in ways that old values do not survive. */
  allow_destructive_changes: Schema.Boolean,
  /** Old name to new name. Renames that do not apply (any more) do nothing. */
  renamed_columns: Schema.Record(Schema.String, Schema.String),
  /** What rows have where a column is added to a table or missing from a result; JSON values by column. */
  column_defaults: Schema.Record(Schema.String, Schema.Unknown),
  /** From `columns:` in config.yaml; become the comments of the table's columns. */
  column_descriptions: Schema.Record(Schema.String, Schema.String),
  /** Of the Iceberg format; null leaves the table's as it is (a new table has 2). */
  format_version: Schema.NullOr(FormatVersion),
  /** Size from which on a data file is closed and the next begun; null takes the writer's. */
  target_file_size_bytes: Schema.NullOr(Schema.Int),
  maintenance: Schema.NullOr(MaintenancePolicyPart),
  /** Bytes the run's engine may hold; null takes the slot's default. */
  memory_limit_bytes: Schema.NullOr(Schema.Int),
  /** Longest time one attempt may take, in seconds; null takes the server's default. */
  timeout_seconds: Schema.NullOr(Schema.Int),
  /** Larger goes first within the namespace. */
  priority: Schema.Int,
  /** Pipelines of the namespace that share it take turns; null: each only with itself. */
  concurrency_key: Schema.NullOr(Schema.String),
  /** A run with the key starts while fewer than so many of them are running. */
  concurrency_limit: Schema.Int,
  /** Attempts after one that failed in a way that may pass. `RetryPolicy` says what each of the five means. */
  max_retries: Schema.Int,
  retry_delay_seconds: Schema.Finite,
  retry_multiplier: Schema.Finite,
  retry_max_delay_seconds: Schema.Finite,
  retry_jitter: Schema.Finite,
}) {}

export const retryPolicyOf = (config: PipelineConfig): RetryPolicy =>
  new RetryPolicy({
    maxRetries: config.max_retries,
    delaySeconds: config.retry_delay_seconds,
    multiplier: config.retry_multiplier,
    maxDelaySeconds: config.retry_max_delay_seconds,
    jitter: config.retry_jitter,
  })

export const defaultPipelineConfig = new PipelineConfig({
  description: "",
  materialized: "table",
  merge_strategy: "full_refresh",
  unique_key: [],
  watermark_column: null,
  partition_column: null,
  partition_by: null,
  sort_by: null,
  dedup: false,
  scd_valid_from: "valid_from",
  scd_valid_to: "valid_to",
  scd_close_missing: false,
  on_schema_change: "evolve",
  allow_destructive_changes: false,
  renamed_columns: {},
  column_defaults: {},
  column_descriptions: {},
  format_version: null,
  target_file_size_bytes: null,
  maintenance: null,
  memory_limit_bytes: null,
  timeout_seconds: null,
  priority: 0,
  concurrency_key: null,
  concurrency_limit: 1,
  max_retries: defaultRetryPolicy.maxRetries,
  retry_delay_seconds: defaultRetryPolicy.delaySeconds,
  retry_multiplier: defaultRetryPolicy.multiplier,
  retry_max_delay_seconds: defaultRetryPolicy.maxDelaySeconds,
  retry_jitter: defaultRetryPolicy.jitter,
})
