import * as fs from "node:fs/promises"
import { join } from "node:path"
import { DuckDBInstance } from "@duckdb/node-api"
import { Column, type PartitionBy, type SortBy } from "@rat/domain"
import { Clock, Effect, Layer, Scope } from "effect"
import { IcebergTable } from "../iceberg/IcebergTable.ts"
import type { TableVersion } from "../iceberg/TableChange.ts"
import { ScanPlanner } from "../scan/ScanPlanner.ts"
import { ObjectStore } from "../store/ObjectStore.ts"
import { copySql } from "./CopySql.ts"
import type { CopyRow } from "./CopyStats.ts"
import { Engine, EngineFailed } from "./Engine.ts"
import { type Merged, merge } from "./MergeProgram.ts"
import { defaultEvolution, type Evolution, planWrite } from "./ResultSchema.ts"
import { stagedQuery, timestampSql } from "./StagedResult.ts"
import { strategies } from "./strategy/Strategies.ts"
import type { StrategySettings } from "./strategy/Strategy.ts"
import { TestDuckDb, TestTables } from "./TestTable.ts"

/** An engine of its own in the test's process, with a memory limit. Test and bench support only. */
export const testEngine = (options: { readonly memoryLimit: string; readonly threads: number }) =>
  Layer.effect(
    Engine,
    Effect.gen(function* () {
      const { folder } = yield* TestDuckDb
      const planner = yield* ScanPlanner
      const own = join(folder, "engine")
      yield* Effect.promise(() => fs.mkdir(join(own, "spill"), { recursive: true }))
      const connection = yield* Effect.acquireRelease(
        Effect.promise(async () =>
          (
            await DuckDBInstance.create(":memory:", {
              memory_limit: options.memoryLimit,
              threads: String(options.threads),
              temp_directory: join(own, "spill"),
            })
          ).connect(),
        ),
        (open) => Effect.sync(() => open.closeSync()),
      )
      const paths = new Map<string, string>()
      const scope = yield* Effect.scope
      return Engine.of({
        run: (sql) =>
          Effect.tryPromise({
            try: async () =>
              (await connection.runAndReadAll(sql)).getRowObjectsJS() as ReadonlyArray<Record<string, unknown>>,
            catch: (error) => new EngineFailed({ code: "sql.error", reason: `${(error as Error).message}\n${sql}` }),
          }),
        readable: (locations) =>
          Effect.forEach(
            locations.filter((location) => !paths.has(location)),
            (location) =>
              Effect.map(planner.localPath(location), (path) => {
                paths.set(location, path)
              }),
            { discard: true },
          ).pipe(
            Effect.provideService(Scope.Scope, scope),
            Effect.as((location: string) => paths.get(location) ?? location),
            Effect.catchTag("TableCorrupt", (error) =>
              Effect.fail(new EngineFailed({ code: "table.corrupt", reason: error.message })),
            ),
          ),
        outFolder: own,
        written: () => Effect.void,
      })
    }),
  )

/** Tables, an engine and everything that merges. */
export const TestMerges = testEngine({ memoryLimit: "1GB", threads: 2 }).pipe(Layer.provideMerge(TestTables))

export const noSettings: StrategySettings = {
  uniqueKey: [],
  partitionColumn: null,
  dedup: false,
  scdValidFrom: "valid_from",
  scdValidTo: "valid_to",
  scdCloseMissing: false,
}

export interface TestMerge {
  readonly name: string
  readonly query: string
  readonly base: TableVersion | null
  readonly strategy: string
  readonly settings?: Partial<StrategySettings>
  readonly evolution?: Partial<Evolution>
  readonly partitionBy?: ReadonlyArray<PartitionBy>
  readonly sortBy?: ReadonlyArray<SortBy>
  readonly formatVersion?: 2 | 3
  readonly fileSizeBytes?: number
  readonly folds?: boolean
  readonly nowMillis?: number
  /** Names the run and begins the names of its files; a new one by default. */
  readonly filePrefix?: string
}

let merges = 0

/** Merges a query's result the way a run does; nothing is committed. */
export const prepareMerge = Effect.fnUntraced(function* (test: TestMerge) {
  const engine = yield* Engine
  const store = yield* ObjectStore
  const strategy = strategies.get(test.strategy)!
  const settings = { ...noSettings, ...test.settings }
  const added = strategy.addedColumns(settings)
  const described = yield* engine.run(`describe ${test.query}`)
  const plan = yield* planWrite({
    table: test.name,
    base: test.base?.metadata ?? null,
    replaces: test.strategy === "full_refresh",
    columns: described.map((row) => new Column({ name: String(row.column_name), type: String(row.column_type) })),
    added,
    evolution: { ...defaultEvolution, ...test.evolution },
    formatVersion: test.formatVersion ?? null,
  })
  const now = timestampSql(test.nowMillis ?? (yield* Clock.currentTimeMillis))
  const filePrefix = test.filePrefix ?? `run${++merges}`
  const staged: ReadonlyArray<CopyRow> = yield* engine.run(
    copySql({
      query: stagedQuery(plan.select(test.query), plan.schema, added, now),
      schema: plan.schema,
      target: join(engine.outFolder, `${filePrefix}-result`),
      ...(test.fileSizeBytes === undefined ? {} : { fileSizeBytes: test.fileSizeBytes }),
    }),
  )
  const location = store.locationOf(`ns/silver/${test.name}`)
  const merged = yield* merge({
    base: test.base,
    location,
    filePrefix,
    strategy,
    settings,
    write: plan,
    staged,
    partitionBy: test.partitionBy ?? null,
    sortBy: test.sortBy ?? null,
    fileSizeBytes: test.fileSizeBytes ?? 256 * 1024 * 1024,
    now,
    folds: test.folds ?? true,
  })
  return { merged, location, runId: filePrefix }
})

/** The table after the merge. */
export const mergeTable = Effect.fnUntraced(function* (test: TestMerge) {
  const tables = yield* IcebergTable
  const { location, merged, runId } = yield* prepareMerge(test)
  if (merged.snapshot === null && merged.updates.length === 0 && test.base !== null) {
    return { ...test.base, merged: merged as Merged }
  }
  const { metadata, metadataLocation } = yield* tables.commit({
    base: test.base,
    location,
    runId,
    updates: merged.updates,
    snapshot: merged.snapshot,
  })
  return { metadata, metadataLocation, merged: merged as Merged }
})

/** Rows of a table as the engine's values. */
export const rowsOf = Effect.fnUntraced(function* (metadataLocation: string, select: (relation: string) => string) {
  const planner = yield* ScanPlanner
  const engine = yield* Engine
  const plan = yield* planner.plan(metadataLocation)
  const pathOf = yield* engine.readable(plan.locations)
  return yield* engine.run(select(`(${plan.relation(pathOf)})`))
})
