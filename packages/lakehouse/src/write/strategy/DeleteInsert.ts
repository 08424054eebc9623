import { matching } from "./KeyMatch.ts"
import type { Strategy } from "./Strategy.ts"
import { strategyProblems } from "./StrategyRules.ts"

/** Old rows whose key occurs in the result go, and all rows of the result come: a key may have several. */
export const deleteInsert: Strategy = {
  name: "delete_insert",
  problems: (settings) => strategyProblems("delete_insert", settings),
  addedColumns: () => [],
  concerns: ({ uniqueKey }) => uniqueKey,
  plan: ({ settings, source, target }) => ({
    inserts: "source",
    deletes: matching(target, source, settings.uniqueKey),
  }),
}
