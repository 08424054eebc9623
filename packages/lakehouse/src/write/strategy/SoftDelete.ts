import { quoteName } from "../../scan/SqlText.ts"
import { columnList, isEqual, onePerKey, without } from "./KeyMatch.ts"
import type { Strategy } from "./Strategy.ts"
import { deletedAtColumn, strategyProblems } from "./StrategyRules.ts"

/**
 * The result is the whole of the source. Rows that it lacks stay with `_deleted_at`; deleted ones that it has again are revived;
 * rows that are the same in it are left alone; of several with one key the last is taken.
 */
export const softDelete: Strategy = {
  name: "soft_delete",
  problems: (settings) => strategyProblems("soft_delete", settings),
  addedColumns: () => [{ name: deletedAtColumn, type: "TIMESTAMP WITH TIME ZONE", value: () => "null::timestamptz" }],
  concerns: () => "all",
  plan: (merge) => {
    const { columns, now, settings, target } = merge
    const keys = settings.uniqueKey
    const rest = without(columns, keys)
    const next = onePerKey(merge, "last")
    const all = columnList(columns, "rat_n")
    if (target === null) {
      return { inserts: merge.hasDuplicateKeys ? `select ${all} from ${next} as rat_n` : "source", deletes: null }
    }
    const isGone = `rat_n.rat_order is null`
    const isSame = isEqual(rest.length === 0 ? keys : rest, "rat_t", "rat_n")
    // One pass over the table: an old row goes when its key is gone (and it was not so before) or says something else now.
    const joined = `${target} as rat_t left join ${next} as rat_n on ${isEqual(keys, "rat_t", "rat_n")}`
    const lacks = `${isGone} and rat_t.${quoteName(deletedAtColumn)} is null`
    const closed = columns.map((column) =>
      column.toLowerCase() === deletedAtColumn ? `${now} as ${quoteName(column)}` : `rat_t.${quoteName(column)}`,
    )
    return {
      inserts: `select ${all} from ${next} as rat_n anti join ${target} as rat_t on ${isEqual(columns, "rat_n", "rat_t")} union all select ${closed.join(", ")} from ${target} as rat_t anti join ${next} as rat_n on ${isEqual(keys, "rat_t", "rat_n")} where rat_t.${quoteName(deletedAtColumn)} is null`,
      deletes: `select rat_t.rat_file, rat_t.rat_pos from ${joined} where (${lacks}) or (not (${isGone}) and not (${isSame}))`,
    }
  },
}
