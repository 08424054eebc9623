import { mainRef } from "@rat/domain"
import { Catalog } from "@rat/lakehouse"
import { Effect } from "effect"
import type { ActiveRun } from "./ActiveRun.ts"

/** Makes the run's branch of main, or finds the one that an earlier attempt made. */
export const createBranch = Effect.fn("Branch.create")(function* (run: ActiveRun) {
  const catalog = yield* Catalog
  run.log.add("info", `Creating ephemeral branch '${run.branch}'`)
  yield* catalog.createBranch(run.branch, { from: mainRef, runId: run.claimed.lease.runId })
})

/** Gives the run a new branch of what main is now. */
export const rebaseBranch = Effect.fn("Branch.rebase")(function* (run: ActiveRun) {
  const catalog = yield* Catalog
  yield* catalog.deleteRef(run.branch)
  yield* catalog.createBranch(run.branch, { from: mainRef, runId: run.claimed.lease.runId })
})
