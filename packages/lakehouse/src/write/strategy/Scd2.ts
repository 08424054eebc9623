import { quoteName } from "../../scan/SqlText.ts"
import { columnList, isEqual, onePerKey, without } from "./KeyMatch.ts"
import type { Strategy } from "./Strategy.ts"
import { strategyProblems } from "./StrategyRules.ts"

const timestamp = "TIMESTAMP WITH TIME ZONE"

/**
 * History: a row that changed is closed and a new one opened, with one moment for both. Rows that did not change are left alone;
 * keys that the result lacks stay open unless `scd_close_missing`; of several rows with one key the last is taken.
 */
export const scd2: Strategy = {
  name: "scd2",
  problems: (settings) => strategyProblems("scd2", settings),
  addedColumns: ({ scdValidFrom, scdValidTo }) => [
    { name: scdValidFrom, type: timestamp, value: (now) => now },
    { name: scdValidTo, type: timestamp, value: () => "null::timestamptz" },
  ],
  concerns: ({ scdCloseMissing, uniqueKey }) => (scdCloseMissing ? "all" : uniqueKey),
  plan: (merge) => {
    const { columns, now, settings, target } = merge
    const { scdCloseMissing, scdValidFrom, scdValidTo, uniqueKey } = settings
    const next = onePerKey(merge, "last")
    const opened = columnList(columns, "rat_n")
    if (target === null) {
      return { inserts: merge.hasDuplicateKeys ? `select ${opened} from ${next} as rat_n` : "source", deletes: null }
    }
    const facts = without(columns, [scdValidFrom, scdValidTo])
    const isOpen = `rat_t.${quoteName(scdValidTo)} is null`
    const isKey = isEqual(uniqueKey, "rat_t", "rat_n")
    // Without other columns a key that is there cannot have changed.
    const isSame = isEqual(facts, "rat_t", "rat_n")
    const changed = scdCloseMissing
      ? `${target} as rat_t left join ${next} as rat_n on ${isKey} where ${isOpen} and (rat_n.rat_order is null or not (${isSame}))`
      : `${target} as rat_t join ${next} as rat_n on ${isKey} where ${isOpen} and not (${isSame})`
    const closed = columns.map((column) =>
      column.toLowerCase() === scdValidTo.toLowerCase()
        ? `${now} as ${quoteName(column)}`
        : `rat_t.${quoteName(column)}`,
    )
    const open = `(select * from ${target} as rat_t where ${isOpen})`
    return {
      inserts: `select ${opened} from ${next} as rat_n anti join ${open} as rat_t on ${isEqual(facts, "rat_n", "rat_t")} union all select ${closed.join(", ")} from ${changed}`,
      deletes: `select rat_t.rat_file, rat_t.rat_pos from ${changed}`,
    }
  },
}
