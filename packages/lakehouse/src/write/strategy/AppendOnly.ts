import { columnList, isEqual, onePerKey } from "./KeyMatch.ts"
import type { Strategy } from "./Strategy.ts"
import { strategyProblems } from "./StrategyRules.ts"

/**
 * The result is appended. With `dedup` rows whose key the table has already are left out, and of several rows with one key the
 * first is taken: what came first stays.
 */
export const appendOnly: Strategy = {
  name: "append_only",
  problems: (settings) => strategyProblems("append_only", settings),
  addedColumns: () => [],
  concerns: ({ dedup, uniqueKey }) => (dedup ? uniqueKey : "none"),
  plan: (merge) => {
    const { columns, hasDuplicateKeys, settings, target } = merge
    if (!settings.dedup || (target === null && !hasDuplicateKeys)) return { inserts: "source", deletes: null }
    const known =
      target === null ? "" : ` anti join ${target} as rat_t on ${isEqual(settings.uniqueKey, "rat_n", "rat_t")}`
    return {
      inserts: `select ${columnList(columns, "rat_n")} from ${onePerKey(merge, "first")} as rat_n${known}`,
      deletes: null,
    }
  },
}
