import { mkdir } from "node:fs/promises"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { type DuckDBConnection, DuckDBInstance } from "@duckdb/node-api"
import { Column } from "@rat/domain"
import {
  type CopyRow,
  copySql,
  defaultEvolution,
  defaultFileSizeBytes,
  Engine,
  EngineFailed,
  IcebergTable,
  merge,
  ObjectStore,
  planWrite,
  ScanPlanner,
  stagedQuery,
  strategies,
  type TableVersion,
  timestampSql,
} from "@rat/lakehouse"
import { Effect, Layer, Scope } from "effect"

/** DuckDB in the bench's own process, as slots set it up, for the platform's merges and for what they are compared with. */
export const benchEngine = (folder: string, memoryLimit: string, threads: number) =>
  Layer.effect(
    Engine,
    Effect.gen(function* () {
      const planner = yield* ScanPlanner
      const scope = yield* Effect.scope
      yield* Effect.promise(() => mkdir(join(folder, "spill"), { recursive: true }))
      const settings = { memory_limit: memoryLimit, threads: String(threads), temp_directory: join(folder, "spill") }
      const connection: DuckDBConnection = yield* Effect.acquireRelease(
        Effect.promise(async () => (await DuckDBInstance.create(":memory:", settings)).connect()),
        (open) => Effect.sync(() => open.closeSync()),
      )
      const paths = new Map<string, string>()
      return Engine.of({
        run: (sql) =>
          Effect.tryPromise({
            try: async () =>
              (await connection.runAndReadAll(sql)).getRowObjectsJS() as ReadonlyArray<Record<string, unknown>>,
            catch: (error) => new EngineFailed({ code: "sql.error", reason: (error as Error).message }),
          }),
        readable: (locations) =>
          Effect.forEach(
            locations.filter((location) => !paths.has(location)),
            (location) => Effect.map(planner.localPath(location), (path) => paths.set(location, path)),
            { discard: true },
          ).pipe(
            Effect.provideService(Scope.Scope, scope),
            Effect.as((location: string) => paths.get(location) ?? fileURLToPath(location)),
            Effect.catchTag("TableCorrupt", (error) =>
              Effect.fail(new EngineFailed({ code: "table.corrupt", reason: error.message })),
            ),
          ),
        outFolder: folder,
        written: () => Effect.void,
      })
    }),
  )

let merges = 0

/** Everything that a run does between its query and the catalog: stage, merge, store, commit. */
export const mergeInto = Effect.fnUntraced(function* (options: {
  readonly name: string
  readonly base: TableVersion | null
  readonly strategy: "full_refresh" | "incremental"
  readonly query: string
  readonly formatVersion?: 2 | 3
}) {
  const engine = yield* Engine
  const store = yield* ObjectStore
  const tables = yield* IcebergTable
  const strategy = strategies.get(options.strategy)!
  const described = yield* engine.run(`describe ${options.query}`)
  const plan = yield* planWrite({
    table: options.name,
    base: options.base?.metadata ?? null,
    replaces: options.strategy === "full_refresh",
    columns: described.map((row) => new Column({ name: String(row.column_name), type: String(row.column_type) })),
    added: [],
    evolution: defaultEvolution,
    formatVersion: options.formatVersion ?? null,
  })
  const filePrefix = `merge-${++merges}`
  const now = timestampSql(0)
  const staged: ReadonlyArray<CopyRow> = yield* engine.run(
    copySql({
      query: stagedQuery(plan.select(options.query), plan.schema, [], now),
      schema: plan.schema,
      target: join(engine.outFolder, `${filePrefix}-result`),
    }),
  )
  const location = store.locationOf(`bench/silver/${options.name}`)
  const merged = yield* merge({
    base: options.base,
    location,
    filePrefix,
    strategy,
    settings: {
      uniqueKey: options.strategy === "incremental" ? ["id"] : [],
      partitionColumn: null,
      dedup: false,
      scdValidFrom: "valid_from",
      scdValidTo: "valid_to",
      scdCloseMissing: false,
    },
    write: plan,
    staged,
    partitionBy: null,
    sortBy: null,
    fileSizeBytes: defaultFileSizeBytes,
    now,
    folds: true,
  })
  const made = yield* tables.commit({
    base: options.base,
    location,
    runId: filePrefix,
    updates: merged.updates,
    snapshot: merged.snapshot,
  })
  return { metadata: made.metadata, metadataLocation: made.metadataLocation, totals: made.totals, merged }
})

/** Milliseconds of a full scan of the table: every value of every column is read. */
export const scanMs = Effect.fnUntraced(function* (metadataLocation: string) {
  const engine = yield* Engine
  const planner = yield* ScanPlanner
  const plan = yield* planner.plan(metadataLocation)
  const pathOf = yield* engine.readable(plan.locations)
  const sums = plan.columns.map(({ name }) => `sum(hash("${name}")::hugeint)`).join(", ")
  const started = performance.now()
  yield* engine.run(`select ${sums} from (${plan.relation(pathOf)})`)
  return performance.now() - started
})
