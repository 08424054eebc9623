import { defaultNamespace, type QueryRequest, type TableKey } from "@rat/domain"
import {
  ScanPlanner,
  type ScanPredicate,
  type SqlTable,
  type SqlTableName,
  sqlPredicates,
  sqlTableKey,
  sqlTokens,
} from "@rat/lakehouse"
import { Effect } from "effect"
import { databaseOf } from "./TableNames.ts"
import type { TableVersion } from "./TableVersion.ts"

/** A table at a state, before it is planned. */
export interface LocatedTable {
  readonly key: TableKey
  readonly view: string
  readonly metadataTable: string | null
  readonly version: TableVersion
}

/** Words without which no filter stands in a text. */
const filterWords = new Set(["where", "on"])

/** What the text asks of each table. The engine is asked for its syntax only where files might be left out. */
export const predicatesOf = Effect.fnUntraced(function* <E, R>(
  request: QueryRequest,
  sql: string,
  tables: ReadonlyArray<LocatedTable>,
  treeOf: (sql: string) => Effect.Effect<string, E, R>,
) {
  const none = (): ReadonlyArray<ScanPredicate> => []
  if (!sqlTokens(sql).some(({ kind, value }) => kind === "word" && filterWords.has(value))) return none
  const planner = yield* ScanPlanner
  const outlines = new Map<LocatedTable, ReadonlyMap<string, string>>()
  let hasSeveralFiles = false
  for (const table of tables) {
    if (table.metadataTable !== null) continue
    const { columns, dataFiles } = yield* planner.outline(table.version.metadataLocation, table.version.snapshotId)
    outlines.set(table, new Map(columns.map(({ name, type }) => [name.toLowerCase(), type])))
    if (dataFiles > 1) hasSeveralFiles = true
  }
  if (!hasSeveralFiles) return none
  const scope = databaseOf(request.namespace ?? defaultNamespace)
  // A table may be called with its namespace and without.
  const namesOf = ({ key, view }: LocatedTable): ReadonlyArray<SqlTableName> => {
    const catalog = databaseOf(key.namespace)
    const name = { schema: key.layer, table: view }
    return [{ ...name, catalog }, ...(catalog === scope ? [{ ...name, catalog: "" }] : [])]
  }
  const known = new Map<string, SqlTable>()
  const idOf = ({ key, view }: LocatedTable) => `${key.namespace}.${key.layer}.${key.name} ${view}`
  for (const [table, columns] of outlines)
    for (const name of namesOf(table)) known.set(sqlTableKey(name), { id: idOf(table), columns })
  const found = sqlPredicates(yield* treeOf(sql), (name) => known.get(sqlTableKey(name)))
  return (table: LocatedTable): ReadonlyArray<ScanPredicate> => found.get(idOf(table)) ?? []
})
