import { type Lease, type LeaseLost, RefName, type RunOutcome } from "@rat/domain"
import { makeGroupCommit } from "@rat/lakehouse"
import { Effect } from "effect"
import { retryContention } from "../sql/SqlRetry.ts"
import { type Ending, endingOf, makeEnding } from "./RunEnding.ts"
import { makeFail } from "./RunFail.ts"
import { makePublish } from "./RunPublish.ts"

/** How attempts end: `RunPublish` for those with a table, `RunFail` for those that failed, the statement in `RunEnding`. */
export const makeEnd = Effect.gen(function* () {
  const { answer, end } = yield* makeEnding
  const { publish, resumePublishes } = yield* makePublish
  const { fail } = yield* makeFail

  /** Runs without a branch end in groups: one statement, one commit for many. */
  const endBare = yield* makeGroupCommit<Ending, void, LeaseLost>({
    name: "RunRepository.end.group",
    maxItems: 128,
    flights: 2,
    run: (items) =>
      Effect.flatMap(retryContention(end(items, { isBare: true, events: [] })), (rows) => answer(items, rows)),
  })

  return {
    fail,
    resumePublishes,

    /**
     * Publishes and ends a run. Repeating a success of the same attempt is no error. On `PublishConflict` nothing
     * happened: the run is still running and its holder decides.
     */
    succeed: Effect.fn("RunRepository.succeed")(function* (lease: Lease, outcome: RunOutcome) {
      const ending = endingOf(lease, outcome)
      if (outcome.branch === null) return yield* endBare(ending)
      return yield* publish({ ending, branch: RefName.make(outcome.branch) })
    }),
  }
})
