import {
  type Column,
  defaultNamespace,
  didYouMean,
  mainRef,
  QueryInvalid,
  type QueryRequest,
  TableKey,
} from "@rat/domain"
import {
  Catalog,
  metadataTableNames,
  quoteName,
  quoteText,
  ScanPlanner,
  type ScanPredicate,
  sqlTokens,
  type TablePointer,
} from "@rat/lakehouse"
import { Effect, Schema } from "effect"
import { type LocatedTable, predicatesOf } from "./TableFilters.ts"
import {
  databaseOf,
  nameSites,
  quoteNames,
  type RewrittenSql,
  type TableName,
  tablesOf,
  viewNameOf,
} from "./TableNames.ts"
import { shownKey, versionOf } from "./TableVersion.ts"

/** A table that the query names, planned, its files on this machine. */
interface PlannedTable {
  readonly key: TableKey
  /** What the session calls it, in its layer. */
  readonly view: string
  /** Its rows as SQL; `pathOf` gives the path in the slot. */
  readonly relation: (pathOf: (location: string) => string) => string
  /** Local path of each location that the relation reads. */
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
  readonly listed: ReadonlyArray<{ readonly key: TableKey; readonly columns: ReadonlyArray<Column> }>
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
const keyOf = (
  request: QueryRequest,
  { namespace, layer, name }: Pick<TableName, "namespace" | "layer" | "name">,
): TableKey | undefined => {
  const scope = request.namespace ?? defaultNamespace
  if (namespace !== null && request.namespace !== null && namespace !== request.namespace) return undefined
  const key = decodeKey({ namespace: namespace ?? scope, layer, name })
  return key._tag === "Some" ? key.value : undefined
}

const textOf = (key: TableKey) => `${key.namespace}.${key.layer}.${key.name}`
const viewKey = (key: TableKey, name: TableName) => `${textOf(key)} ${viewNameOf(name)}`

/** Plans all that the text names, on the requested ref and within its namespace. `treeOf` gives DuckDB's syntax tree of a text. */
export const planQuery = Effect.fn("QueryPlan.plan")(function* <E, R>(
  request: QueryRequest,
  treeOf: (sql: string) => Effect.Effect<string, E, R>,
) {
  const { sql } = request
  const sites = nameSites(sql)
  const keys = new Map<string, TableKey>()
  const wanted = new Map<string, { readonly key: TableKey; readonly name: TableName }>()
  for (const name of sites.flatMap(tablesOf)) {
    const key = keyOf(request, name)
    if (key === undefined) continue
    keys.set(textOf(key), key)
    wanted.set(viewKey(key, name), { key, name })
  }
  const pointers = yield* pointersOf(request, [...keys.values()])
  const planner = yield* ScanPlanner
  const found = yield* Effect.forEach(
    [...wanted.values()],
    ({ key, name }) => locateTable(request, key, name, pointers.get(textOf(key)) ?? null),
    { concurrency: 8 },
  )
  const located = found.filter((table) => table !== null)
  const views = new Set(located.map(({ key, view }) => `${textOf(key)} ${view}`))
  const isTable = (name: TableName) => {
    const key = keyOf(request, name)
    return key !== undefined && views.has(viewKey(key, name))
  }
  const text = quoteNames(sql, sites, isTable)
  const predicates = yield* predicatesOf(request, text.sql, located, treeOf)
  const tables = yield* Effect.forEach(located, (table) => planTable(table, predicates(table)), { concurrency: 8 })
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
        ({ key, metadataLocation }) =>
          planner.outline(metadataLocation).pipe(Effect.map(({ columns }) => ({ key, columns }))),
        { concurrency: 16 },
      )
    : []
  for (const { key } of listed) {
    known.add(databaseOf(key.namespace))
    named.add(databaseOf(key.namespace))
  }
  return {
    text,
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

/** The table of a name; null when there is none. */
const locateTable = Effect.fnUntraced(function* (
  request: QueryRequest,
  key: TableKey,
  name: TableName,
  current: TablePointer | null,
) {
  const version = yield* versionOf(request, key, name, current)
  if (version === null) return null
  const { metadataTable } = name
  if (metadataTable !== null && !metadataTableNames.includes(metadataTable)) {
    const known = metadataTableNames.map((each) => `$${each}`)
    return yield* new QueryInvalid({
      reason: `Table ${shownKey(request, key)} has no metadata table "$${metadataTable}".${didYouMean(`$${metadataTable}`, known)} There are ${known.join(", ")}.`,
    })
  }
  return { key, view: viewNameOf(name), metadataTable, version } satisfies LocatedTable as LocatedTable
})

const planTable = Effect.fnUntraced(function* (
  { key, metadataTable, version, view }: LocatedTable,
  predicates: ReadonlyArray<ScanPredicate>,
) {
  const planner = yield* ScanPlanner
  const { metadataLocation, snapshotId } = version
  if (metadataTable !== null) {
    const sql = yield* planner.metadataTable(metadataLocation, metadataTable, snapshotId)
    return { key, view, relation: () => sql, paths: new Map() } satisfies PlannedTable as PlannedTable
  }
  const plan = yield* planner.plan(metadataLocation, {
    predicates,
    ...(snapshotId === undefined ? {} : { snapshotId }),
  })
  const paths = yield* Effect.forEach(
    plan.locations,
    (location) => planner.localPath(location).pipe(Effect.map((path) => [location, path] as const)),
    { concurrency: 16 },
  )
  return { key, view, relation: plan.relation, paths: new Map(paths) } satisfies PlannedTable as PlannedTable
})

const qualified = (key: Pick<TableKey, "namespace" | "layer"> & { readonly name: string }) =>
  [databaseOf(key.namespace), key.layer, key.name].map(quoteName).join(".")

/** Our SQL that makes the tables appear in the session. `pathOf` gives the path in the slot of a file's location. */
export const setupOf = (plan: QueryPlan, pathOf: (location: string) => string): string =>
  [
    ...plan.named.flatMap((database) =>
      ["bronze", "silver", "gold"].map((layer) => `create schema ${quoteName(database)}.${layer}`),
    ),
    ...plan.tables.map(
      ({ key, relation, view }) => `create view ${qualified({ ...key, name: view })} as ${relation(pathOf)}`,
    ),
    ...plan.listed.map(
      ({ columns, key }) =>
        `create table ${qualified(key)} (${columns.map(({ name, type }) => `${quoteName(name)} ${type}`).join(", ")})`,
    ),
  ].join(";\n")
