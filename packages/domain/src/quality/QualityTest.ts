import { Schema } from "effect"
import { Name } from "../namespace/Namespace.ts"
import { Column } from "../table/Table.ts"

export const Severity = Schema.Literals(["error", "warn"])
export type Severity = typeof Severity.Type

/** A query that returns the rows that break a rule: none means that the rule holds. */
export class QualityTest extends Schema.Class<QualityTest>("rat/domain/QualityTest")({
  name: Name,
  sql: Schema.String,
  severity: Severity,
  description: Schema.String,
  tags: Schema.Array(Schema.String),
  remediation: Schema.String,
}) {}

/** passed, failed (error severity), warned (warn severity) or error (the test itself could not run). */
export const QualityStatus = Schema.Literals(["passed", "failed", "warned", "error"])
export type QualityStatus = typeof QualityStatus.Type

/** One test's outcome in one run. Stored as data: nothing is parsed out of log text. */
export class QualityResult extends Schema.Class<QualityResult>("rat/domain/QualityResult")({
  name: Schema.String,
  status: QualityStatus,
  severity: Severity,
  description: Schema.String,
  tags: Schema.Array(Schema.String),
  remediation: Schema.String,
  /** How many rows break the rule. Null when the test itself failed. */
  violations: Schema.NullOr(Schema.Int),
  /** The first violating rows (at most 10), encoded as the type table says. */
  sample_columns: Schema.Array(Column),
  sample_rows: Schema.Array(Schema.Array(Schema.Json)),
  error: Schema.NullOr(Schema.String),
  duration_ms: Schema.Finite,
}) {}

/** Whether this outcome keeps the run's data from being published. */
export const blocksPublish = (result: QualityResult): boolean =>
  result.severity === "error" && (result.status === "failed" || result.status === "error")
