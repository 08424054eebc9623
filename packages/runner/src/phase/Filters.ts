import {
  ScanPlanner,
  type ScanPredicate,
  type Slot,
  type SqlTable,
  sqlPredicates,
  sqlTableKey,
  sqlTokens,
} from "@rat/lakehouse"
import { Effect } from "effect"
import { databaseOf } from "../template/RelationName.ts"
import type { ReadTable } from "./References.ts"

/** Words without which no filter stands in a text. */
const filterWords = new Set(["where", "on"])

const hasFilter = (sql: string): boolean =>
  sqlTokens(sql).some(({ kind, value }) => kind === "word" && filterWords.has(value))

/**
 * The tables with only the files that the run's SQL texts (its own and its tests') can need: files that no text's filters let
 * through are not even made readable. A table that one of them reads whole stays whole.
 */
export const withFilters = Effect.fn("Filters.apply")(function* (
  slot: Slot,
  homeNamespace: string,
  texts: ReadonlyArray<string>,
  tables: ReadonlyMap<string, ReadTable>,
) {
  const several = [...tables.entries()].filter(([, { plan }]) => plan.files.length > 1)
  if (several.length === 0 || !texts.some(hasFilter)) return tables
  const known = new Map<string, SqlTable>()
  for (const [id, { key, plan }] of several) {
    const columns = new Map(plan.columns.map(({ name, type }) => [name.toLowerCase(), type]))
    const name = { schema: key.layer, table: key.name }
    known.set(sqlTableKey({ ...name, catalog: databaseOf(key.namespace) }), { id, columns })
    if (key.namespace === homeNamespace) known.set(sqlTableKey({ ...name, catalog: "" }), { id, columns })
  }
  const trees = yield* Effect.forEach(texts, (sql) => slot.call<string>("tree", sql))
  const found = trees.map((tree) => sqlPredicates(tree, (name) => known.get(sqlTableKey(name))))
  const planner = yield* ScanPlanner
  const narrowed = new Map(tables)
  for (const [id, { key, plan }] of several) {
    const needs = found.flatMap((predicates, index): ReadonlyArray<ReadonlyArray<ScanPredicate>> => {
      // A text that does not name the table needs nothing of it.
      const isNamed = trees[index]!.toLowerCase().includes(JSON.stringify(key.name.toLowerCase()))
      const needed = predicates.get(id)
      return needed !== undefined ? [needed] : isNamed || trees[index]!.includes('"error":true') ? [[]] : []
    })
    if (needs.length === 0 || needs.some((predicates) => predicates.length === 0)) continue
    const predicates: ReadonlyArray<ScanPredicate> = [{ op: "or", of: needs.map((of) => ({ op: "and", of })) }]
    narrowed.set(id, { key, plan: yield* planner.plan(plan.metadataLocation, { predicates }) })
  }
  return narrowed
})
