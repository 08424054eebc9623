import * as fs from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { type DuckDBConnection, DuckDBInstance } from "@duckdb/node-api"
import { Column } from "@rat/domain"
import { Context, Effect, Layer } from "effect"
import { IcebergTable, type TableCommit } from "../iceberg/IcebergTable.ts"
import type { ScanPredicate } from "../scan/Predicate.ts"
import { ScanPlanner } from "../scan/ScanPlanner.ts"
import { FileStore } from "../store/FileStore.ts"
import { ObjectStore } from "../store/ObjectStore.ts"
import { copySql, defaultFileSizeBytes } from "./CopySql.ts"
import { type CopyRow, writtenFiles } from "./CopyStats.ts"
import { defaultEvolution, type Evolution, planWrite } from "./ResultSchema.ts"

/** DuckDB in the test's own process, and a folder that goes with the test. Test support only. */
export class TestDuckDb extends Context.Service<
  TestDuckDb,
  {
    readonly folder: string
    /** Rows as DuckDB's JSON values (exact: 64-bit numbers, decimals and times are text). */
    readonly rows: (sql: string) => Effect.Effect<ReadonlyArray<Record<string, unknown>>, Error>
    /** Rows as the client's own value objects. */
    readonly values: (sql: string) => Effect.Effect<ReadonlyArray<ReadonlyArray<unknown>>, Error>
    readonly columns: (query: string) => Effect.Effect<ReadonlyArray<Column>, Error>
  }
>()("rat/lakehouse/write/TestDuckDb") {
  static readonly layer = Layer.effect(
    TestDuckDb,
    Effect.gen(function* () {
      const folder = yield* Effect.acquireRelease(
        Effect.promise(() => fs.mkdtemp(join(tmpdir(), "rat-table-"))),
        (path) => Effect.promise(() => fs.rm(path, { recursive: true, force: true })),
      )
      const connection: DuckDBConnection = yield* Effect.acquireRelease(
        Effect.promise(async () => (await DuckDBInstance.create(":memory:", { threads: "2" })).connect()),
        (open) => Effect.sync(() => open.closeSync()),
      )
      const read = (sql: string) =>
        Effect.tryPromise({ try: () => connection.runAndReadAll(sql), catch: (error) => error as Error })
      return TestDuckDb.of({
        folder,
        rows: (sql) => Effect.map(read(sql), (reader) => reader.getRowObjectsJson()),
        values: (sql) => Effect.map(read(sql), (reader) => reader.getRows()),
        columns: (query) =>
          Effect.map(read(`describe ${query}`), (reader) =>
            reader
              .getRowObjectsJson()
              .map((row) => new Column({ name: String(row.column_name), type: String(row.column_type) })),
          ),
      })
    }),
  )
}

/** Everything that writes and reads tables, over a file store in the test's folder. */
export const TestTables = ScanPlanner.layer.pipe(
  Layer.provideMerge(IcebergTable.layer),
  Layer.provideMerge(
    Layer.unwrap(Effect.map(TestDuckDb, ({ folder }) => FileStore.layer({ root: join(folder, "store") }))),
  ),
  Layer.provideMerge(TestDuckDb.layer),
)

let copies = 0

/** Writes a query's result the way a run does: plan, COPY, files into the store, commit. */
export const writeTable = Effect.fnUntraced(function* (write: {
  readonly name: string
  readonly query: string
  readonly runId: string
  readonly operation: "append" | "overwrite"
  readonly base: TableCommit | null
  readonly evolution?: Partial<Evolution>
  readonly formatVersion?: 2 | 3
}) {
  const duck = yield* TestDuckDb
  const store = yield* ObjectStore
  const tables = yield* IcebergTable
  const plan = yield* planWrite({
    table: write.name,
    base: write.base?.metadata ?? null,
    replaces: write.operation === "overwrite",
    columns: yield* duck.columns(write.query),
    added: [],
    evolution: { ...defaultEvolution, ...write.evolution },
    formatVersion: write.formatVersion ?? null,
  })
  const target = join(duck.folder, `out-${copies++}`)
  const rows: ReadonlyArray<CopyRow> = yield* duck.rows(
    copySql({ query: plan.select(write.query), schema: plan.schema, target, fileSizeBytes: defaultFileSizeBytes }),
  )
  const location = store.locationOf(`ns/silver/${write.name}`)
  const written = writtenFiles(rows, plan.schema, (index) => `${location}/data/${write.runId}-${index}.parquet`)
  for (const { file, localPath } of written) yield* store.putFile(store.keyOf(file.filePath), localPath)
  return yield* tables.commit({
    base: write.base,
    location,
    runId: write.runId,
    updates: plan.updates,
    snapshot: {
      operation: write.operation,
      added: written.map(({ file }) => ({ ...file, schemaId: -1 })),
      addedDeletes: [],
      removed: write.operation === "overwrite" ? "all" : new Set(),
      removedDeletes: write.operation === "overwrite" ? "all" : new Set(),
    },
  })
})

/** The file behind a location of the file store; names of folders and files are not URL-encoded in locations. */
export const pathOfLocation = (location: string): string =>
  location.includes("%") ? location.replace(/^file:\/\//, "") : fileURLToPath(location)

export const readTable = Effect.fnUntraced(function* (
  metadataLocation: string,
  options: {
    readonly predicates?: ReadonlyArray<ScanPredicate>
    readonly snapshotId?: bigint
    readonly suffix?: string
  } = {},
) {
  const planner = yield* ScanPlanner
  const duck = yield* TestDuckDb
  const plan = yield* planner.plan(metadataLocation, options)
  return yield* duck.rows(`select * from (${plan.relation(pathOfLocation)}) ${options.suffix ?? ""}`)
})
