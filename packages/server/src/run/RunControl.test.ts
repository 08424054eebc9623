import { assert, layer } from "@effect/vitest"
import {
  LogEntry,
  mainRef,
  NamespaceName,
  outcomeWithoutTable,
  PipelineCreate,
  PipelineName,
  RefName,
  RunControlRpc,
  runBranch,
} from "@rat/domain"
import { Catalog } from "@rat/lakehouse"
import { Effect, Layer, Queue, Stream } from "effect"
import { RpcTest } from "effect/rpc"
import { SqlClient } from "effect/sql"
import { PipelineRepository } from "../pipeline/PipelineRepository.ts"
import { RunControl } from "./RunControl.ts"
import { RunReaper } from "./RunReaper.ts"
import { RunRepository } from "./RunRepository.ts"
import { testRuns } from "./TestRuns.ts"

const namespace = NamespaceName.make("default")

const submit = (pipelineId: Parameters<RunRepository["Service"]["submit"]>[0]["pipelineId"] = null) =>
  Effect.flatMap(RunRepository, (runs) =>
    runs.submit({
      kind: pipelineId === null ? "noop" : "pipeline",
      namespace,
      pipelineId,
      trigger: "t",
      idempotencyKey: null,
      traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    }),
  )

const nothing = outcomeWithoutTable([])

const fresh = Effect.flatMap(SqlClient.SqlClient, (sql) => sql`delete from run`)

/** Signals of one node, in a queue. */
const listen = (node: string) =>
  Effect.gen(function* () {
    const control = yield* RpcTest.makeClient(RunControlRpc)
    const signals = yield* Queue.unbounded<string>()
    yield* control.Signals({ node }).pipe(
      Stream.runForEach((signal) => Queue.offer(signals, signal._tag === "Wake" ? "wake" : `cancel ${signal.runId}`)),
      Effect.forkScoped,
    )
    assert.strictEqual(yield* Queue.take(signals), "wake")
    return { control, signals }
  })

const within = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.orDie(Effect.timeout(effect, "10 seconds"))

layer(
  Layer.mergeAll(RunControl.layer, RunReaper.layer).pipe(
    Layer.provideMerge(Layer.mergeAll(RunRepository.layer, PipelineRepository.layer)),
    Layer.provideMerge(testRuns({ leaseSeconds: 2, maxAttempts: 2 })),
  ),
  { excludeTestServices: true },
)("RunControl", (it) => {
  it.effect("a waiting runner is woken by a submitted run, and gets it with its trace", () =>
    Effect.gen(function* () {
      yield* fresh
      const { control, signals } = yield* listen("node-a")
      assert.deepStrictEqual(yield* control.Claim({ node: "node-a", limit: 4 }), [])
      const run = yield* submit()
      assert.strictEqual(yield* within(Queue.take(signals)), "wake")
      const [claimed] = yield* control.Claim({ node: "node-a", limit: 4 })
      assert.strictEqual(claimed?.lease.runId, run.id)
      assert.strictEqual(claimed?.traceparent, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
      yield* control.Succeed({ lease: claimed!.lease, outcome: nothing })
      assert.strictEqual((yield* (yield* RunRepository).find(run.id)).status, "success")
    }),
  )

  it.effect("a cancel reaches the node that works on the run at once, and no other", () =>
    Effect.gen(function* () {
      yield* fresh
      const [a, b] = [yield* listen("node-a"), yield* listen("node-b")]
      const run = yield* submit()
      yield* a.control.Claim({ node: "node-a", limit: 1 })
      yield* Queue.clear(a.signals)
      const startedAt = performance.now()
      yield* (yield* RunRepository).cancel(run.id)
      // A wake may still be on its way from the submission.
      const signal = yield* within(Effect.repeat(Queue.take(a.signals), { until: (taken) => taken !== "wake" }))
      assert.strictEqual(signal, `cancel ${run.id}`)
      assert.isBelow(performance.now() - startedAt, 1000)
      assert.isFalse((yield* Queue.clear(b.signals)).some((signal) => signal.startsWith("cancel")))
    }),
  )

  it.effect("the run of a runner that fell silent goes to another one by itself, and then fails for good", () =>
    Effect.gen(function* () {
      yield* fresh
      const runs = yield* RunRepository
      const { control, signals } = yield* listen("node-b")
      const run = yield* submit()
      yield* control.Claim({ node: "node-a", limit: 1 })
      // Nothing but a signal makes it ask.
      const asked = Effect.andThen(Queue.take(signals), control.Claim({ node: "node-b", limit: 1 }))
      const [second] = yield* within(Effect.repeat(asked, { until: (claimed) => claimed.length > 0 }))
      assert.deepStrictEqual([second?.lease.runId, second?.lease.attempt], [run.id, 2])
      // One that renews keeps it for longer than a lease.
      for (let renewal = 0; renewal < 6; renewal++) {
        yield* Effect.sleep("400 millis")
        assert.deepStrictEqual((yield* control.Renew({ leases: [second!.lease] })).lost, [])
      }
      yield* within(
        Effect.repeat(Effect.andThen(Effect.sleep("50 millis"), runs.find(run.id)), {
          until: (found) => found.status === "failed",
        }),
      )
      assert.deepStrictEqual((yield* control.Renew({ leases: [second!.lease] })).lost, [run.id])
    }),
  )

  it.effect("a landing zone is listed with its files for the holder of a run, and null says that there is none", () =>
    Effect.gen(function* () {
      yield* fresh
      const sql = yield* SqlClient.SqlClient
      const { control } = yield* listen("node-a")
      const [zone, file] = ["01a2109c-4fca-724a-b1c5-831834c39bc2", "01a2109c-4fca-724a-b1c5-831834c39bc3"]
      yield* sql`insert into landing_zone (id, namespace, name) values (${zone}, 'default', 'in'), (gen_random_uuid(), 'default', 'empty')`
      yield* sql`
        insert into landing_file (id, zone_id, filename, object_key, size_bytes, content_type, uploaded_at)
        values
          (${file}, ${zone}, 'a.csv', 'default/landing/in/a.csv', 5000000000, 'text/csv', now()),
          -- Its bytes are still on their way.
          (gen_random_uuid(), ${zone}, 'b.csv', 'default/landing/in/b.csv', 0, 'text/csv', null)`
      yield* submit()
      const [claimed] = yield* control.Claim({ node: "node-a", limit: 1 })
      const list = (name: string) => control.ListZone({ lease: claimed!.lease, zone: name })
      assert.deepStrictEqual((yield* list("in"))?.files, [
        { id: file, filename: "a.csv", key: "default/landing/in/a.csv", size_bytes: 5_000_000_000 },
      ])
      assert.deepStrictEqual((yield* list("empty"))?.files, [])
      assert.isNull(yield* list("nowhere"))
    }),
  )

  it.effect("a branch made after the cancel expires once its runner has stopped", () =>
    Effect.gen(function* () {
      yield* fresh
      const runs = yield* RunRepository
      const catalog = yield* Catalog
      const pipelines = yield* PipelineRepository
      const sql = yield* SqlClient.SqlClient
      const { control } = yield* listen("node-a")
      const pipeline = yield* pipelines.create(
        new PipelineCreate({ namespace, layer: "gold", name: PipelineName.make("late") }),
      )
      const run = yield* submit(pipeline.id)
      const [claimed] = yield* control.Claim({ node: "node-a", limit: 1 })
      yield* runs.cancel(run.id)
      const branch = RefName.make(runBranch(run.id))
      yield* catalog.createBranch(branch, { from: mainRef, runId: run.id })
      const logs = [new LogEntry({ seq: 1, timestamp: new Date().toISOString(), level: "info", message: "stopped" })]
      yield* control.Stopped({ lease: claimed!.lease, phases: [], logs })
      assert.isNotNull((yield* catalog.ref(branch)).expiresAt)

      // When its time has come it goes, and the run names it no more.
      yield* sql`update run set branch_expires_at = now() - interval '1 second' where id = ${run.id}`
      assert.isNull((yield* runs.find(run.id)).branch)
      assert.strictEqual(yield* runs.collectBranches(), 1)
      assert.strictEqual((yield* Effect.flip(catalog.ref(branch)))._tag, "RefNotFound")
      assert.strictEqual(yield* runs.collectBranches(), 0)
    }),
  )

  it.effect("what a node that is gone left running is taken back at once, what others claimed is not", () =>
    Effect.gen(function* () {
      yield* fresh
      const runs = yield* RunRepository
      const [old, young] = [yield* submit(), yield* submit()]
      yield* runs.claim("node-a", 1)
      yield* runs.claim("node-b", 1)
      assert.strictEqual(yield* runs.expireOwner("node-a"), 1)
      assert.strictEqual(yield* runs.expireOwner("node-a"), 0)
      assert.deepStrictEqual(
        [(yield* runs.find(old.id)).status, (yield* runs.find(young.id)).status],
        ["pending", "running"],
      )
    }),
  )
})
