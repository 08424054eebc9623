import { columnList, matching, onePerKey } from "./KeyMatch.ts"
import type { Strategy } from "./Strategy.ts"
import { strategyProblems } from "./StrategyRules.ts"

/** Rows of the result replace those of the same key; of several with one key the last in the result's order is taken. */
export const incremental: Strategy = {
  name: "incremental",
  problems: (settings) => strategyProblems("incremental", settings),
  addedColumns: () => [],
  concerns: ({ uniqueKey }) => uniqueKey,
  plan: (merge) => ({
    inserts: merge.hasDuplicateKeys
      ? `select ${columnList(merge.columns, "rat_n")} from ${onePerKey(merge, "last")} as rat_n`
      : "source",
    deletes: matching(merge.target, merge.source, merge.settings.uniqueKey),
  }),
}
