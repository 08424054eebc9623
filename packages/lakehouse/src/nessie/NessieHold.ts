import { RefExists } from "@rat/domain"
import { Effect, Result } from "effect"
import { BranchHeld, type Catalog } from "../catalog/Catalog.ts"
import type { NessieCommits } from "./NessieCommits.ts"
import type { NessieFence } from "./NessieFence.ts"
import type { NessieRefs } from "./NessieRefs.ts"

/** How a run's branch goes to one of its attempts. */
export const makeNessieHold = (refs: NessieRefs, commits: NessieCommits, fences: NessieFence) => {
  const holdBranch: Catalog["Service"]["holdBranch"] = Effect.fn("Catalog.holdBranch")(function* (name, options) {
    const { fence, from, isFresh = false, runId } = options
    yield* refs.refuseMain(name, "held")
    if (isFresh) {
      const there = yield* Effect.result(refs.ref(name))
      if (Result.isSuccess(there)) {
        if (there.success.runId !== runId) return yield* new RefExists({ ref: name })
        yield* fences.take(name, runId, fence)
        // The row outlives the branch, and with it the fence.
        yield* refs.removeBranch(name)
      } else if (there.failure._tag !== "RefNotFound") return yield* there.failure
    }
    const state = yield* refs.createBranch(name, { from, runId })
    const before = yield* fences.take(name, runId, fence)
    // What an older attempt has on its way is upon a head that it saw before.
    if (before > 0n && before < fence && !(yield* commits.seal(name))) return yield* new BranchHeld({ ref: name })
    return state
  })
  return { holdBranch }
}
