import type { RunParameters } from "./RunParameters.ts"

/** Longest that a run without a table may hold its slot, in milliseconds. */
export const maxNoopWaitMs = 60_000

/**
 * How long a run of kind "noop" holds its slot: parameter `wait_ms`, a whole number of milliseconds from 0 to 60,000. Null when the
 * parameter is something else.
 */
export const noopWaitMs = (parameters: RunParameters): number | null => {
  const { wait_ms: wait = 0 } = parameters
  return typeof wait === "number" && Number.isInteger(wait) && wait >= 0 && wait <= maxNoopWaitMs ? wait : null
}
