import { Schema } from "effect"

/** A role's pool of slot processes, for health checks and metrics. */
export class SlotHealth extends Schema.Class<SlotHealth>("rat/domain/SlotHealth")({
  size: Schema.Int,
  free: Schema.Int,
  /** Callers that wait for a slot. */
  waiting: Schema.Int,
  /** Processes replaced since the start, whatever for. */
  replaced: Schema.Int,
}) {}
