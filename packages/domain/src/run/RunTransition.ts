import type { RunStatus } from "./Run.ts"

const next: { readonly [From in RunStatus]: ReadonlyArray<RunStatus> } = {
  queued: ["running", "cancelled"],
  // Queued again: its lease expired and another attempt takes it.
  running: ["queued", "succeeded", "failed", "cancelled"],
  succeeded: [],
  failed: [],
  cancelled: [],
}

/** Whether a run may go from one status to another. Terminal statuses are final. */
export const canMove = (from: RunStatus, to: RunStatus): boolean => next[from].includes(to)

export const isTerminal = (status: RunStatus): boolean => next[status].length === 0

/** The statuses from which `to` can be reached: the guard of a compare-and-set. */
export const sourcesOf = (to: RunStatus): ReadonlyArray<RunStatus> =>
  (Object.keys(next) as Array<RunStatus>).filter((from) => canMove(from, to))
