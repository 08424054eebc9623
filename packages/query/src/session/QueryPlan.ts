import { defaultNamespace, mainRef, type QueryRequest, TableKey } from "@rat/domain"
import {
  Catalog,
  ObjectStore,
  quoteName,
  quoteText,
  type ScanPlan,
  ScanPlanner,
  sqlTokens,
  type TablePointer,
} from "@rat/lakehouse"
import { Effect, Schema } from "effect"
import { databaseOf, nameSites, quoteNames, type RewrittenSql, type TableName, tablesOf } from "./TableNames.ts"

/** A table that the query names, planned, its files on this machine. */
interface PlannedTable {
  readonly key: TableKey
  readonly plan: ScanPlan
  /** Local path of each file, by its location. */
  readonly paths: ReadonlyMap<string, string>
}

/** Everything that is needed to execute a query, apart from a slot. */
export interface QueryPlan {
  readonly text: RewrittenSql
  readonly databases: readonly [string, ...Array<string>]
  /** Databases that get the layers as schemas. */
  readonly named: ReadonlyArray<string>
  readonly tables: ReadonlyArray<PlannedTable>
  /** Tables that are only to be listed: name and columns, no data. */
  readonly listed: ReadonlyArray<{ readonly key: TableKey; readonly plan: ScanPlan }>
}

/** How often several tables are read one by one before all are listed at once. */
const snapshotTries = 3

/** Names that ask which tables there are. */
const catalogWords = new Set([
  "show", "information_schema", "pg_catalog", "pg_tables", "pg_class", "pg_attribute", "pg_views", "sqlite_master",
  "duckdb_tables", "duckdb_columns", "duckdb_views",
]) // biome-ignore format: a list of words

/** `SHOW TABLES` knows only one schema; people mean the tables of their namespace. */
const showTables = (sql: string): boolean => {
  const words = sqlTokens(sql).filter(({ value }) => value !== ";")
  return words.length === 2 && words[0]?.value === "show" && words[1]?.value === "tables"
}

const decodeKey = Schema.decodeUnknownOption(TableKey)

/** The table of a name in the scope of a request; undefined when it is outside of it or no name of ours. */
const keyOf = (request: QueryRequest, { namespace, layer, name }: TableName): TableKey | undefined => {
  const scope = request.namespace ?? defaultNamespace
  if (namespace !== null && request.namespace !== null && namespace !== request.namespace) return undefined
  const key = decodeKey({ namespace: namespace ?? scope, layer, name })
  return key._tag === "Some" ? key.value : undefined
}

const textOf = (key: TableKey) => `${key.namespace}.${key.layer}.${key.name}`

/** Plans all that the text names, on the requested ref and within its namespace. */
export const planQuery = Effect.fn("QueryPlan.plan")(function* (request: QueryRequest) {
  const { sql } = request
  const sites = nameSites(sql)
  const keys = new Map<string, TableKey>()
  for (const name of sites.flatMap(tablesOf)) {
    const key = keyOf(request, name)
    if (key !== undefined) keys.set(textOf(key), key)
  }
  const pointers = yield* pointersOf(request, [...keys.values()])
  const isTable = (name: TableName) => {
    const key = keyOf(request, name)
    return key !== undefined && pointers.has(textOf(key))
  }
  const planner = yield* ScanPlanner
  const tables = yield* Effect.forEach([...pointers.values()], plannedTable, { concurrency: 8 })
  const current = databaseOf(request.namespace ?? defaultNamespace)
  const known = new Set<string>([current, ...tables.map(({ key }) => databaseOf(key.namespace))])
  const named = new Set(tables.map(({ key }) => databaseOf(key.namespace)))
  if (sites.length > 0) named.add(current)

  if (showTables(sql)) {
    const all = yield* tablesInScope(request)
    const scope = request.namespace ?? defaultNamespace
    const shown = all.map(({ key }) => (key.namespace === scope ? `${key.layer}.${key.name}` : textOf(key)))
    const values = shown.map((name) => `(${quoteText(name)})`).join(", ")
    const list =
      values === "" ? "select null::varchar as name where false" : `from (values ${values}) as t(name) order by name`
    return {
      text: { sql: list, originalOf: () => 0 },
      databases: [current],
      named: [],
      tables: [],
      listed: [],
    } satisfies QueryPlan
  }
  const wantsCatalog = sqlTokens(sql).some(
    ({ kind, value }) => kind !== "text" && catalogWords.has(value.toLowerCase()),
  )
  const listed = wantsCatalog
    ? yield* Effect.forEach(
        (yield* tablesInScope(request)).filter(({ key }) => !pointers.has(textOf(key))),
        ({ key, metadataLocation }) => planner.plan(metadataLocation).pipe(Effect.map((plan) => ({ key, plan }))),
        { concurrency: 16 },
      )
    : []
  for (const { key } of listed) {
    known.add(databaseOf(key.namespace))
    named.add(databaseOf(key.namespace))
  }
  return {
    text: quoteNames(sql, sites, isTable),
    databases: [current, ...[...known].filter((name) => name !== current)],
    named: [...named],
    tables,
    listed,
  } satisfies QueryPlan
})

/** All tables that the request may read. */
export const tablesInScope = Effect.fnUntraced(function* (request: QueryRequest) {
  const catalog = yield* Catalog
  return yield* catalog.tables(request.ref, request.namespace === null ? {} : { namespace: request.namespace })
})

/**
 * Pointers of the tables that exist. A commit may move several tables at once, so when there are several they are read
 * again until the ref did not move meanwhile: the query sees one state.
 */
const pointersOf = Effect.fnUntraced(function* (request: QueryRequest, keys: ReadonlyArray<TableKey>) {
  const catalog = yield* Catalog
  const { ref } = request
  // Reading a table says whether the ref exists; a text without tables has to ask.
  if (keys.length === 0) {
    if (ref !== mainRef) yield* catalog.ref(ref)
    return new Map<string, TablePointer>()
  }
  const read = Effect.forEach(keys, (key) => catalog.table(ref, key), { concurrency: 8 }).pipe(
    Effect.map(
      (found) => new Map(found.flatMap((pointer) => (pointer === null ? [] : [[textOf(pointer.key), pointer]]))),
    ),
  )
  if (keys.length === 1) return yield* read
  let head = (yield* catalog.ref(ref)).head
  for (let attempt = 1; attempt <= snapshotTries; attempt++) {
    const pointers = yield* read
    const now = (yield* catalog.ref(ref)).head
    if (now === head) return pointers
    head = now
  }
  // The ref moves all the time. One statement that lists everything sees one state, at its price.
  const namespaces = new Set(keys.map(({ namespace }) => namespace))
  const all = yield* catalog.tables(ref, namespaces.size === 1 ? { namespace: keys[0]!.namespace } : {})
  const wanted = new Set(keys.map(textOf))
  return new Map(all.map((pointer) => [textOf(pointer.key), pointer] as const).filter(([name]) => wanted.has(name)))
})

const plannedTable = Effect.fnUntraced(function* (pointer: TablePointer) {
  const planner = yield* ScanPlanner
  const store = yield* ObjectStore
  const plan = yield* planner.plan(pointer.metadataLocation)
  const paths = yield* Effect.forEach(
    plan.files,
    ({ filePath }) => store.localPath(store.keyOf(filePath)).pipe(Effect.map((path) => [filePath, path] as const)),
    { concurrency: 16 },
  )
  return { key: pointer.key, plan, paths: new Map(paths) } satisfies PlannedTable
})

const qualified = (key: TableKey) => [databaseOf(key.namespace), key.layer, key.name].map(quoteName).join(".")

/** Our SQL that makes the tables appear in the session. `pathOf` gives the path in the slot of a file's location. */
export const setupOf = (plan: QueryPlan, pathOf: (location: string) => string): string =>
  [
    ...plan.named.flatMap((database) =>
      ["bronze", "silver", "gold"].map((layer) => `create schema ${quoteName(database)}.${layer}`),
    ),
    ...plan.tables.map(({ key, plan: scan }) => `create view ${qualified(key)} as ${scan.relation(pathOf)}`),
    ...plan.listed.map(
      ({ key, plan: scan }) =>
        `create table ${qualified(key)} (${scan.columns.map(({ name, type }) => `${quoteName(name)} ${type}`).join(", ")})`,
    ),
  ].join(";\n")
