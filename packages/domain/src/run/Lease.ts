import { Schema } from "effect"
import { RunId } from "./Run.ts"

/** Strictly increasing per run. A writer that holds a smaller token has lost its lease. */
export const FencingToken = Schema.BigIntFromString.pipe(Schema.brand("FencingToken"))
export type FencingToken = typeof FencingToken.Type

/** The right of one attempt to write for a run until `expiresAt`; renewed every third of its length. */
export class Lease extends Schema.Class<Lease>("rat/domain/Lease")({
  runId: RunId,
  attempt: Schema.Int.check(Schema.isGreaterThanOrEqualTo(1)),
  fencingToken: FencingToken,
  expiresAt: Schema.DateTimeUtcFromDate,
}) {}
