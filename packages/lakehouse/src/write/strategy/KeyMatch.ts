import { quoteName } from "../../scan/SqlText.ts"
import type { MergeInput } from "./Strategy.ts"

/** Names of columns as a list for `select`, each from a relation. */
export const columnList = (columns: ReadonlyArray<string>, relation: string): string =>
  columns.map((column) => `${relation}.${quoteName(column)}`).join(", ")

/** NULL equals NULL, as for keys and partitions; NaN equals NaN and -0 equals 0, as everywhere in DuckDB. */
export const isEqual = (columns: ReadonlyArray<string>, left: string, right: string): string =>
  columns
    .map((column) => `${left}.${quoteName(column)} is not distinct from ${right}.${quoteName(column)}`)
    .join(" and ")

export const without = (columns: ReadonlyArray<string>, left: ReadonlyArray<string>): ReadonlyArray<string> =>
  columns.filter((column) => !left.some((other) => other.toLowerCase() === column.toLowerCase()))

/**
 * The result with one row for each key, the `last` or the `first` in its order: a relation to stand after `from`. An aggregate
 * and a join spill to disk where a window over the whole result would not.
 */
export const onePerKey = (
  { hasDuplicateKeys, source, settings: { uniqueKey } }: MergeInput,
  which: "last" | "first",
): string => {
  if (!hasDuplicateKeys) return source
  const keys = uniqueKey.map(quoteName).join(", ")
  const order = `select ${which === "last" ? "max" : "min"}(rat_order) as rat_order from ${source} as rat_k group by ${keys}`
  return `(select * from ${source} as rat_s semi join (${order}) as rat_k using (rat_order))`
}

/** Old rows whose values in the columns occur in the result. */
export const matching = (target: string | null, source: string, columns: ReadonlyArray<string>): string | null =>
  target === null
    ? null
    : `select rat_t.rat_file, rat_t.rat_pos from ${target} as rat_t semi join ${source} as rat_s on ${isEqual(columns, "rat_t", "rat_s")}`
