import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, layer } from "@effect/vitest"
import { Api, FilePath, NamespaceName, PipelineCreate, PipelineName, PipelineUpdate } from "@rat/domain"
import { FileStore, IcebergTable, PostgresCatalog, Rebase, TestPostgres } from "@rat/lakehouse"
import { Effect, Layer } from "effect"
import { HttpServer } from "effect/http"
import { HttpApiTest } from "effect/http-api"
import { SqlClient } from "effect/sql"
import { Outbox } from "../event/Outbox.ts"
import { FileRepository } from "../file/FileRepository.ts"
import { migrations } from "../sql/migrations.ts"
import { PipelineRepository } from "./PipelineRepository.ts"
import { PipelinesHttp } from "./PipelinesHttp.ts"

const Store = Layer.unwrap(
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(join(tmpdir(), "rat-pipelines-"))),
      (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true })),
    ),
    (root) => FileStore.layer({ root }),
  ),
)

const client = Effect.map(HttpApiTest.groups(Api, ["pipelines"]), (api) => api.pipelines)

const refusal = <A, E, R>(request: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.flip(request), (error) => (error as { error?: { code: string; message: string } }).error)

const namespace = NamespaceName.make("default")
const at = (name: string, layerName: "bronze" | "silver" | "gold" = "silver") => ({
  namespace,
  layer: layerName,
  name: PipelineName.make(name),
})

const textOf = (path: string) =>
  Effect.flatMap(FileRepository, (files) => files.read(FilePath.make(path))).pipe(
    Effect.map(({ bytes }) => new TextDecoder().decode(bytes)),
  )

layer(
  PipelinesHttp.pipe(
    Layer.provideMerge(Layer.mergeAll(PipelineRepository.layer, FileRepository.layer)),
    Layer.provideMerge(Rebase.layer),
    Layer.provideMerge(Layer.mergeAll(PostgresCatalog.layer, IcebergTable.layer)),
    Layer.provideMerge(Layer.mergeAll(Outbox.layer, Store, HttpServer.layerServices)),
    Layer.provideMerge(TestPostgres.layer(migrations)),
  ),
  { excludeTestServices: true },
)("PipelinesHttp", (it) => {
  it.effect("a new pipeline has the files it announces, and files that were there stay as they were", () =>
    Effect.gen(function* () {
      const api = yield* client
      const files = yield* FileRepository
      const made = yield* api.create({ payload: new PipelineCreate({ ...at("orders"), description: "all orders" }) })
      assert.deepStrictEqual(made.files_created, ["pipeline.sql", "config.yaml"])
      assert.strictEqual(made.s3_path, "default/pipelines/silver/orders/")
      assert.match(yield* textOf(`${made.s3_path}pipeline.sql`), /select 1 as id/)
      assert.match(yield* textOf(`${made.s3_path}config.yaml`), /merge_strategy: full_refresh/)

      yield* files.write(
        FilePath.make("default/pipelines/gold/mine/pipeline.sql"),
        new TextEncoder().encode("select 42 as answer"),
      )
      const second = yield* api.create({ payload: new PipelineCreate(at("mine", "gold")) })
      assert.deepStrictEqual(second.files_created, ["config.yaml"])
      assert.strictEqual(yield* textOf(`${second.s3_path}pipeline.sql`), "select 42 as answer")
    }),
  )

  it.effect("what exists, what is unknown and what cannot run is refused by name", () =>
    Effect.gen(function* () {
      const api = yield* client
      assert.deepInclude(yield* refusal(api.create({ payload: new PipelineCreate(at("orders")) })), {
        code: "ALREADY_EXISTS",
      })
      const nowhere = { ...at("x"), namespace: NamespaceName.make("nowhere") }
      assert.match(
        (yield* refusal(api.create({ payload: new PipelineCreate(nowhere) })))?.message ?? "",
        /Namespace "nowhere"/,
      )
      const python = yield* refusal(api.create({ payload: new PipelineCreate({ ...at("py"), type: "python" }) }))
      assert.deepInclude(python, { code: "INVALID_ARGUMENT" })
      assert.match(python?.message ?? "", /no sandbox for Python/)
      assert.deepInclude(yield* refusal(api.get({ params: at("py") })), { code: "NOT_FOUND" })
      assert.deepInclude(
        yield* refusal(api.update({ params: at("orders"), payload: new PipelineUpdate({ type: "python" }) })),
        {
          code: "INVALID_ARGUMENT",
        },
      )
      assert.deepInclude(yield* refusal(api.update({ params: at("nope"), payload: new PipelineUpdate({}) })), {
        code: "NOT_FOUND",
      })
      assert.deepInclude(yield* refusal(api.delete({ params: at("nope"), query: {} })), { code: "NOT_FOUND" })
    }),
  )

  it.effect("an update changes what it names and nothing else", () =>
    Effect.gen(function* () {
      const api = yield* client
      const owned = yield* api.update({ params: at("orders"), payload: new PipelineUpdate({ owner: "ann" }) })
      assert.deepInclude(owned, { owner: "ann", description: "all orders", type: "sql", draft_dirty: true })
      const described = yield* api.update({ params: at("orders"), payload: new PipelineUpdate({ description: "new" }) })
      assert.deepInclude(described, { owner: "ann", description: "new" })
      const disowned = yield* api.update({ params: at("orders"), payload: new PipelineUpdate({ owner: null }) })
      assert.deepInclude(disowned, { owner: null, description: "new" })
    }),
  )

  it.effect("lists are searched, filtered, sorted and paged", () =>
    Effect.gen(function* () {
      const api = yield* client
      yield* api.create({ payload: new PipelineCreate({ ...at("percent", "bronze"), description: "50% off" }) })
      const names = (query: Parameters<typeof api.list>[0]["query"]) =>
        Effect.map(api.list({ query }), (page) => page.pipelines.map((pipeline) => pipeline.name as string))
      assert.deepStrictEqual(yield* names({ sort: "name" }), ["mine", "orders", "percent"])
      assert.deepStrictEqual(yield* names({ sort: "-layer" }), ["mine", "orders", "percent"])
      assert.deepStrictEqual(yield* names({ search: "ORD" }), ["orders"])
      assert.deepStrictEqual(yield* names({ search: "0% O" }), ["percent"])
      assert.deepStrictEqual(yield* names({ search: "_" }), [])
      assert.deepStrictEqual(yield* names({ layer: "gold" }), ["mine"])
      const page = yield* api.list({ query: { sort: "name", limit: "1", offset: "1" } })
      assert.deepStrictEqual([page.total, page.pipelines[0]?.name], [3, "orders"])
    }),
  )

  it.effect("deleting frees the name and the files, and keeps the row for history", () =>
    Effect.gen(function* () {
      const api = yield* client
      const sql = yield* SqlClient.SqlClient
      const before = yield* api.get({ params: at("orders") })
      yield* api.delete({ params: at("orders"), query: { tables: "drop" } })
      assert.deepInclude(yield* refusal(api.get({ params: at("orders") })), { code: "NOT_FOUND" })
      assert.deepStrictEqual(yield* (yield* FileRepository).list("default/pipelines/silver/orders/"), [])
      const again = yield* api.create({ payload: new PipelineCreate(at("orders")) })
      assert.deepStrictEqual(again.files_created, ["pipeline.sql", "config.yaml"])
      assert.notStrictEqual((yield* api.get({ params: at("orders") })).id, before.id)
      const rows = yield* sql`select 1 from pipeline where layer = 'silver' and name = 'orders'`
      assert.strictEqual(rows.length, 2)
      const events = yield* sql<{ type: string }>`select type from outbox where key = ${before.id} order by id`
      assert.deepStrictEqual([events[0]?.type, events.at(-1)?.type], ["pipeline.created", "pipeline.deleted"])
    }),
  )
})
