import { type QualityResult, RunOutcome } from "@rat/domain"
import { Effect } from "effect"
import { RunControl } from "../claim/RunControl.ts"
import type { ActiveRun } from "./ActiveRun.ts"
import { untilReached } from "./ControlCall.ts"

/** What is to be published. */
export interface Publishable {
  readonly rowsWritten: number
  readonly snapshotId: string | null
  readonly quality: ReadonlyArray<QualityResult>
  readonly landingFileIds: ReadonlyArray<string>
  /** Of the pipeline, as its code has it. */
  readonly description: string
}

/** Asks control to move main, end the branch and the run, and tell the world, in one transaction. */
export const publish = Effect.fn("Publish.publish")(function* (run: ActiveRun, ready: Publishable) {
  const control = yield* RunControl
  run.log.add("info", `Merging branch '${run.branch}' to main`)
  run.progress.spare()
  const logs = yield* run.log.take
  yield* untilReached(
    Effect.suspend(() =>
      control.Succeed({
        lease: run.claimed.lease,
        outcome: new RunOutcome({ ...ready, branch: run.branch, phases: run.clock.timings(), logs }),
      }),
    ),
  ).pipe(Effect.tapError(() => Effect.sync(run.log.putBack)))
})
