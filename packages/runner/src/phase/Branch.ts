import { LeaseLost, mainRef, RefName } from "@rat/domain"
import { BranchHeld, Catalog } from "@rat/lakehouse"
import { Effect } from "effect"
import type { ActiveRun } from "./ActiveRun.ts"

/** A newer attempt has the branch: this one has lost its lease, whether control has told it or not. */
export const asLeaseLost =
  ({ claimed: { lease } }: ActiveRun) =>
  <A, E, R>(effect: Effect.Effect<A, E | BranchHeld, R>) =>
    Effect.catchIf(
      effect,
      (error): error is Extract<E | BranchHeld, BranchHeld> => error instanceof BranchHeld,
      () => Effect.fail(new LeaseLost({ runId: lease.runId, attempt: lease.attempt })),
    )

/**
 * Makes the run's branch of main, or takes it as earlier attempts left it, and keeps them off it from now on. After a conflict it begins
 * anew at what main is now.
 */
export const holdBranch = Effect.fn("Branch.hold")(function* (run: ActiveRun) {
  const catalog = yield* Catalog
  const { attempt, fencingToken: fence, runId } = run.claimed.lease
  const { branch, round } = run
  const { origin } = run.progress
  if (attempt === 1 && round === 0) run.log.add("info", `Creating ephemeral branch '${branch}'`)
  const ofMain = catalog.holdBranch(branch, { from: mainRef, runId, fence, isFresh: round > 0 })
  // A run that goes on where another one stopped begins as that one's branch is, if that is still there.
  const held =
    round > 0 || origin.branch === branch
      ? ofMain
      : catalog
          .holdBranch(branch, { from: RefName.make(origin.branch), runId, fence })
          .pipe(Effect.catchTag("RefNotFound", () => ofMain))
  return yield* held.pipe(asLeaseLost(run))
})
