import { Schema } from "effect"

/** A role's pool of slot processes, for health checks and metrics. */
export class SlotHealth extends Schema.Class<SlotHealth>("rat/domain/SlotHealth")({
  size: Schema.Int,
  free: Schema.Int,
  /** Callers that wait for a slot. */
  waiting: Schema.Int,
  /** Processes replaced since the start, whatever for. */
  replaced: Schema.Int,
  /** Parts of the operating system's wall around the processes that stand: namespaces, landlock, seccomp, user, privileges, limits. */
  wall: Schema.optional(Schema.Array(Schema.String)),
  /** Why processes cannot start at the moment. */
  problem: Schema.optional(Schema.NullOr(Schema.String)),
}) {}
