import { assert, layer } from "@effect/vitest"
import { Api, mainRef, NamespaceName, PipelineCreate, PipelineName, TableKey } from "@rat/domain"
import { Catalog, PostgresCatalog, TestPostgres } from "@rat/lakehouse"
import { Effect, Layer } from "effect"
import { HttpServer } from "effect/http"
import { HttpApiTest } from "effect/http-api"
import { SqlClient } from "effect/sql"
import { Outbox } from "../event/Outbox.ts"
import { PipelineRepository } from "../pipeline/PipelineRepository.ts"
import { QueueRead } from "../queue/QueueRead.ts"
import { RunHub } from "../run/RunHub.ts"
import { RunSettings } from "../run/RunSettings.ts"
import { migrations } from "../sql/migrations.ts"
import { LimitRepository } from "./LimitRepository.ts"
import { NamespaceRepository } from "./NamespaceRepository.ts"
import { NamespacesHttp } from "./NamespacesHttp.ts"

const name = (text: string) => NamespaceName.make(text)

const client = Effect.map(HttpApiTest.groups(Api, ["namespaces"]), (api) => api.namespaces)

/** The envelope of a refused request. */
const refusal = <A, E, R>(request: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.flip(request), (error) => (error as { error?: { code: string; message: string } }).error)

layer(
  NamespacesHttp.pipe(
    Layer.provideMerge(
      Layer.mergeAll(NamespaceRepository.layer, PipelineRepository.layer, LimitRepository.layer, QueueRead.layer),
    ),
    Layer.provideMerge(Layer.merge(RunHub.layer, RunSettings.layer)),
    Layer.provideMerge(Layer.mergeAll(Outbox.layer, PostgresCatalog.layer, HttpServer.layerServices)),
    Layer.provideMerge(TestPostgres.layer(migrations)),
  ),
  { excludeTestServices: true },
)("NamespacesHttp", (it) => {
  it.effect("the default namespace is there from the start and cannot be deleted", () =>
    Effect.gen(function* () {
      const api = yield* client
      const { namespaces } = yield* api.list({ query: {} })
      assert.deepStrictEqual(
        namespaces.map((namespace) => namespace.name),
        ["default"],
      )
      assert.deepInclude(yield* refusal(api.delete({ params: { name: name("default") } })), { code: "FORBIDDEN" })
    }),
  )

  it.effect("namespaces are made once, described, listed in pages and deleted", () =>
    Effect.gen(function* () {
      const api = yield* client
      assert.deepStrictEqual(yield* api.create({ payload: { name: name("team-b"), description: "b" } }), {
        name: "team-b",
      })
      yield* api.create({ payload: { name: name("team-a") } })
      assert.deepInclude(yield* refusal(api.create({ payload: { name: name("team-a") } })), { code: "ALREADY_EXISTS" })
      yield* api.update({ params: { name: name("team-a") }, payload: { description: "of a" } })
      const page = yield* api.list({ query: { limit: "1", offset: "1", sort: "name" } })
      assert.deepStrictEqual(
        [page.total, page.namespaces[0]?.name, page.namespaces[0]?.description],
        [3, "team-a", "of a"],
      )
      yield* api.delete({ params: { name: name("team-a") } })
      assert.strictEqual((yield* api.list({ query: {} })).total, 2)
    }),
  )

  it.effect("limits are the settings' until somebody sets them, each for itself, and null goes back", () =>
    Effect.gen(function* () {
      const api = yield* client
      const limited = name("limited")
      const params = { name: limited }
      yield* api.create({ payload: params })
      const defaults = yield* api.limits({ params })
      assert.deepInclude(
        { ...defaults, own: { ...defaults.own } },
        {
          weight: 1,
          max_pending: 1000,
          own: { weight: null, max_pending: null, max_pending_per_pipeline: null, max_running: null },
        },
      )
      yield* api.setLimits({ params, payload: { weight: 2.5, max_running: 0 } })
      const set = yield* api.setLimits({ params, payload: { max_running: null, max_pending: 7 } })
      assert.deepInclude({ ...set }, { weight: 2.5, max_pending: 7, max_running: defaults.max_running })
      assert.strictEqual(set.own.max_running, null)
      const lost = yield* refusal(
        api.setPipelineLimit({
          params: { name: limited, layer: "gold", pipeline: PipelineName.make("p") },
          payload: { max_pending: 3 },
        }),
      )
      assert.strictEqual(lost?.code, "NOT_FOUND")
      assert.strictEqual((yield* refusal(api.limits({ params: { name: name("nowhere") } })))?.code, "NOT_FOUND")
    }),
  )

  it.effect("the queue of a namespace names what waits, in its order", () =>
    Effect.gen(function* () {
      const api = yield* client
      const sql = yield* SqlClient.SqlClient
      const params = { name: name("waiting") }
      yield* api.create({ payload: params })
      yield* sql`
        insert into run (id, kind, namespace, trigger, priority, retry_at)
        values
          ('018c0000-0000-7000-8000-000000000001', 'noop', 'waiting', 't', 0, null),
          ('018c0000-0000-7000-8000-000000000002', 'noop', 'waiting', 't', 5, null),
          ('018c0000-0000-7000-8000-000000000003', 'noop', 'waiting', 't', 9, now() + interval '1 hour')`
      const queue = yield* api.queue({ params })
      assert.deepStrictEqual([queue.pending, queue.running, queue.started_last_minute], [3, 0, 0])
      assert.deepStrictEqual(
        queue.runs.map((run) => [run.run_id.at(-1), run.position, run.eligible_at !== null]),
        [
          ["2", 1, false],
          ["1", 2, false],
          ["3", 3, true],
        ],
      )
      assert.isAbove(queue.oldest_pending_seconds!, -1)
      yield* sql`delete from run`
      assert.deepStrictEqual([...(yield* api.queue({ params })).runs], [])
    }),
  )

  it.effect("what is not there is 404", () =>
    Effect.gen(function* () {
      const api = yield* client
      const missing = { params: { name: name("nowhere") } }
      assert.deepInclude(yield* refusal(api.delete(missing)), { code: "NOT_FOUND" })
      assert.deepInclude(yield* refusal(api.update({ ...missing, payload: { description: "x" } })), {
        code: "NOT_FOUND",
      })
    }),
  )

  it.effect("a namespace that holds something is not deleted, and says what it holds", () =>
    Effect.gen(function* () {
      const api = yield* client
      const sql = yield* SqlClient.SqlClient
      const pipelines = yield* PipelineRepository
      const catalog = yield* Catalog
      const full = name("full")
      yield* api.create({ payload: { name: full } })
      const pipeline = yield* pipelines.create(
        new PipelineCreate({ namespace: full, layer: "gold", name: PipelineName.make("p") }),
      )
      yield* sql`insert into landing_zone (id, namespace, name) values (gen_random_uuid(), 'full', 'z')`
      const key = new TableKey({ namespace: full, layer: "gold", name: PipelineName.make("p") })
      const change = (next: Parameters<typeof catalog.commit>[1]["changes"][number]["next"], expected: string | null) =>
        catalog.commit(mainRef, { message: "m", author: "t", runId: null, changes: [{ key, expected, next }] })
      yield* change({ metadataLocation: "m1", snapshotId: "1", rowCount: 1, sizeBytes: 1 }, null)

      const error = yield* refusal(api.delete({ params: { name: full } }))
      assert.match(error?.message ?? "", /1 pipeline\(s\), 1 landing zone\(s\) and 1 table\(s\)/)
      assert.strictEqual(error?.code, "NOT_EMPTY")

      yield* pipelines.remove(pipeline)
      yield* sql`delete from landing_zone`
      yield* change(null, "m1")
      yield* api.delete({ params: { name: full } })
    }),
  )
})
