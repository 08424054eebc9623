import type { ClaimedRun, RefName, RunTarget, TableKey } from "@rat/domain"
import type { Patience } from "./Patience.ts"
import type { PhaseClock } from "./PhaseClock.ts"
import type { RunLog } from "./RunLog.ts"
import type { RunProgress } from "./RunProgress.ts"

/** One attempt of a run of a pipeline, while it is being executed. */
export interface ActiveRun {
  readonly claimed: ClaimedRun
  readonly target: RunTarget
  /** The one table that the run writes. */
  readonly key: TableKey
  readonly branch: RefName
  /** How often the attempt has begun again because main had moved; names of files hold it. */
  readonly round: number
  readonly progress: RunProgress
  readonly patience: Patience
  readonly log: RunLog
  readonly clock: PhaseClock
}

/** Path of a pipeline's file as people know it: `pipelines/silver/flights/pipeline.sql`. */
export const shownPath = (target: { readonly layer: string; readonly name: string }, path: string): string =>
  `pipelines/${target.layer}/${target.name}/${path}`
