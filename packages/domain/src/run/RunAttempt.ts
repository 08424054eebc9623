import { Schema } from "effect"
import { Phase, PhaseTiming } from "./Run.ts"

/**
 * How an attempt stands or ended. `lost`: its node died or fell silent; `handed_over`: its node stopped and gave the run back; `failed`
 * ones say why.
 */
export const AttemptOutcome = Schema.Literals(["running", "success", "failed", "cancelled", "lost", "handed_over"])
export type AttemptOutcome = typeof AttemptOutcome.Type

/** One try of a run, as clients see it. */
export class RunAttempt extends Schema.Class<RunAttempt>("rat/domain/RunAttempt")({
  /** From 1. */
  attempt: Schema.Int,
  /** The runner node that had it. */
  node: Schema.String,
  outcome: AttemptOutcome,
  started_at: Schema.DateTimeUtcFromDate,
  ended_at: Schema.NullOr(Schema.DateTimeUtcFromDate),
  duration_ms: Schema.NullOr(Schema.Int),
  /** The phase in which it ended without success, or is. */
  phase: Schema.NullOr(Phase),
  phases: Schema.Array(PhaseTiming),
  error: Schema.NullOr(Schema.String),
  error_code: Schema.NullOr(Schema.String),
  /** When the attempt that follows this one may begin; null when none was planned because of its end. */
  retry_at: Schema.NullOr(Schema.DateTimeUtcFromDate),
}) {}
