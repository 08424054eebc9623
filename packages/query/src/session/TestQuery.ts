import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DuckDBInstance } from "@duckdb/node-api"
import {
  Column,
  type NamespaceName,
  type QueryBody,
  type QueryError,
  type QueryHead,
  QueryRequest,
  QueryRpc,
  type QueryTail,
  RefName,
  type ResultFormat,
  TableKey,
} from "@rat/domain"
import {
  Catalog,
  type CopyRow,
  catalogMigrations,
  copySql,
  defaultEvolution,
  FileStore,
  IcebergTable,
  ObjectStore,
  PostgresCatalog,
  planWrite,
  ScanPlanner,
  SlotPools,
  TestPostgres,
  writtenFiles,
} from "@rat/lakehouse"
import { Context, Effect, Layer, Schema, Stream } from "effect"
import { type RpcClient, type RpcGroup, RpcTest } from "effect/rpc"
import { QueryConfig, type QuerySettings } from "../limit/QueryConfig.ts"
import { QueryRole } from "../QueryRole.ts"

/** Folder of one test file's store and slots, removed with the scope. */
const testFolder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "rat-query-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true })),
)

type Client = RpcClient.RpcClient<RpcGroup.Rpcs<typeof QueryRpc>>

/** A client of a whole query role on a real lakehouse (Postgres, files, slot processes). Test support only. */
export class TestQuery extends Context.Service<TestQuery, { readonly client: Client; readonly folder: string }>()(
  "rat/query/session/TestQuery",
) {
  static readonly layer = (settings: Partial<QuerySettings> = {}) =>
    Layer.unwrap(
      Effect.map(testFolder, (folder) => {
        const config = Layer.effect(
          QueryConfig,
          Effect.map(QueryConfig, (defaults) => QueryConfig.of({ ...defaults, ...settings })),
        ).pipe(Layer.provide(QueryConfig.layer({ slotFolder: join(folder, "slots") })))
        return Layer.effect(
          TestQuery,
          Effect.map(RpcTest.makeClient(QueryRpc), (client) => TestQuery.of({ client, folder })),
        ).pipe(
          Layer.provide(QueryRole.layer),
          Layer.provide(config),
          Layer.provide(SlotPools.layer),
          Layer.provideMerge(ScanPlanner.layer),
          Layer.provideMerge(IcebergTable.layer),
          Layer.provideMerge(FileStore.layer({ root: join(folder, "store") })),
          Layer.provideMerge(PostgresCatalog.layer),
          Layer.provideMerge(TestPostgres.layer(catalogMigrations)),
        )
      }),
    )
}

/** A result as it came over the wire. */
export interface Answer {
  readonly columns: ReadonlyArray<Column>
  readonly contentType: string
  readonly body: Buffer
  readonly rows: number
  readonly truncated: boolean
}

export interface Question {
  readonly sql: string
  readonly namespace?: string | null
  readonly ref?: string
  readonly format?: ResultFormat
  readonly limit?: number
  readonly timeoutMs?: number
}

export const requestOf = (question: Question): QueryRequest =>
  new QueryRequest({
    sql: question.sql,
    namespace: (question.namespace ?? null) as NamespaceName | null,
    ref: RefName.make(question.ref ?? "main"),
    format: question.format ?? "arrays",
    limit: question.limit ?? 1000,
    timeoutMs: question.timeoutMs ?? null,
  })

export const ask = Effect.fnUntraced(function* (question: Question) {
  const { client } = yield* TestQuery
  const stream = client.Query(requestOf(question)) as Stream.Stream<QueryHead | QueryBody | QueryTail, QueryError>
  const pieces = yield* Stream.runCollect(stream)
  const head = pieces.find((piece) => piece._tag === "Head")!
  const tail = pieces.find((piece) => piece._tag === "Tail")!
  const bodies = pieces.flatMap((piece) => (piece._tag === "Body" ? [piece.bytes] : []))
  return { ...head, ...tail, body: Buffer.concat(bodies) } satisfies Answer
})

/** Rows of an answer in JSON. */
export const rows = Effect.fnUntraced(function* (question: Question) {
  return JSON.parse((yield* ask(question)).body.toString()) as ReadonlyArray<unknown>
})

export const refusal = (question: Question) => Effect.flip(ask(question))

const Key = Schema.decodeUnknownSync(TableKey)

/** Makes a table (or overwrites it, or appends to it) from a query, the way a run does, and moves the ref. */
export const publish = Effect.fnUntraced(function* (
  name: string,
  query: string,
  ref = "main",
  operation: "overwrite" | "append" = "overwrite",
) {
  const { folder } = yield* TestQuery
  const [namespace, layer, table] = name.split(".")
  const key = Key({ namespace, layer, name: table })
  const tables = yield* IcebergTable
  const store = yield* ObjectStore
  const catalog = yield* Catalog
  const runId = crypto.randomUUID()
  const pointer = yield* catalog.table(RefName.make(ref), key)
  const base =
    pointer === null
      ? null
      : { metadataLocation: pointer.metadataLocation, metadata: yield* tables.load(pointer.metadataLocation) }
  const connection = yield* Effect.promise(async () => (await DuckDBInstance.create(":memory:")).connect())
  const read = (sql: string) => Effect.promise(async () => (await connection.runAndReadAll(sql)).getRowObjectsJson())
  const columns = (yield* read(`describe ${query}`)).map(
    (row) => new Column({ name: String(row.column_name), type: String(row.column_type) }),
  )
  const plan = yield* planWrite({
    table: name,
    base: base?.metadata ?? null,
    replaces: operation === "overwrite",
    columns,
    added: [],
    evolution: { ...defaultEvolution, allowDestructive: true },
  })
  const copied = (yield* read(
    copySql({ query: plan.select(query), schema: plan.schema, target: join(folder, runId), fileSizeBytes: 2 ** 28 }),
  )) as unknown as ReadonlyArray<CopyRow>
  connection.closeSync()
  const location = store.locationOf(`${namespace}/${layer}/${table}`)
  const files = writtenFiles(copied, plan.schema, (index) => `${location}/data/${runId}-${index}.parquet`)
  for (const { file, localPath } of files) yield* store.putFile(store.keyOf(file.filePath), localPath)
  const commit = yield* tables.commit({
    base,
    location,
    updates: plan.updates,
    snapshot: {
      operation,
      added: files.map(({ file }) => ({ ...file, schemaId: -1 })),
      addedDeletes: [],
      removed: operation === "overwrite" ? "all" : new Set(),
      removedDeletes: operation === "overwrite" ? "all" : new Set(),
    },
    runId,
  })
  yield* catalog.commit(RefName.make(ref), {
    message: name,
    author: "test",
    runId,
    changes: [
      {
        key,
        expected: pointer?.metadataLocation ?? null,
        next: {
          metadataLocation: commit.metadataLocation,
          snapshotId: String(commit.snapshotId),
          rowCount: commit.totalRecords,
          sizeBytes: commit.totalSizeBytes,
        },
      },
    ],
  })
})
