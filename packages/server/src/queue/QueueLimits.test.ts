import { assert, describe, it, layer } from "@effect/vitest"
import { NamespaceName, outcomeWithoutTable, PipelineCreate, PipelineName, type RunId } from "@rat/domain"
import { Deferred, Effect, Exit, Layer, Random, Stream } from "effect"
import { SqlClient } from "effect/sql"
import { LimitRepository } from "../namespace/LimitRepository.ts"
import { NamespaceRepository } from "../namespace/NamespaceRepository.ts"
import { PipelineRepository } from "../pipeline/PipelineRepository.ts"
import { makeClaim } from "../run/RunClaim.ts"
import { RunHub } from "../run/RunHub.ts"
import { RunRepository } from "../run/RunRepository.ts"
import { makeSubmit, type Submission } from "../run/RunSubmit.ts"
import { testRuns } from "../run/TestRuns.ts"
import { retryAfterSeconds } from "./QueuePace.ts"

describe("When to come back to a full queue", () => {
  it("is when a tenth of it has moved", () => {
    const queue = { limit: 1000, oldestWaitsSeconds: 5 }
    assert.strictEqual(retryAfterSeconds({ ...queue, startsPerSecond: 200 }), 1)
    assert.strictEqual(retryAfterSeconds({ ...queue, startsPerSecond: 10 }), 10)
    assert.strictEqual(retryAfterSeconds({ ...queue, limit: 10, startsPerSecond: 0.1 }), 10)
  })

  it("is never at once and never beyond five minutes", () => {
    assert.strictEqual(retryAfterSeconds({ limit: 1, oldestWaitsSeconds: 0, startsPerSecond: 5000 }), 1)
    assert.strictEqual(retryAfterSeconds({ limit: 1000, oldestWaitsSeconds: 0, startsPerSecond: 0.001 }), 300)
  })

  it("grows with the wait of the oldest run while nothing starts", () => {
    const standing = { limit: 10, startsPerSecond: null }
    assert.deepStrictEqual(
      [0, 7.2, 60, 4000].map((oldestWaitsSeconds) => retryAfterSeconds({ ...standing, oldestWaitsSeconds })),
      [1, 8, 60, 300],
    )
  })
})

const wish = (over: Partial<Submission> & Pick<Submission, "namespace">): Submission => ({
  kind: "noop",
  pipelineId: null,
  trigger: "manual",
  idempotencyKey: null,
  traceparent: null,
  ...over,
})

const limitsOfTest = { maxPendingPerPipeline: 5, maxPendingPerNamespace: 40, maxRunningPerNamespace: 1000 }

layer(
  RunRepository.layer.pipe(
    Layer.provideMerge(Layer.mergeAll(PipelineRepository.layer, NamespaceRepository.layer, LimitRepository.layer)),
    Layer.provideMerge(testRuns(limitsOfTest)),
  ),
  { excludeTestServices: true },
)("Limits of the queue", (it) => {
  let made = 0
  const newNamespace = Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    yield* sql`delete from run`
    const namespace = NamespaceName.make(`ns-${made++}`)
    yield* (yield* NamespaceRepository).create(namespace, "")
    return namespace
  })
  const newPipeline = (namespace: NamespaceName, name: string, queueing: object = {}) =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const { id } = yield* (yield* PipelineRepository).create(
        new PipelineCreate({ namespace, layer: "gold", name: PipelineName.make(name) }),
      )
      yield* sql`
        insert into file (path, namespace, hash, size_bytes, modified, queueing)
        values (
          ${`${namespace}/pipelines/gold/${name}/pipeline.sql`}, ${namespace}, repeat('0', 64), 1, now(),
          ${JSON.stringify(queueing)}::jsonb)`
      return id
    })
  const submitTo = (namespace: NamespaceName, over: Partial<Submission> = {}) =>
    Effect.flatMap(RunRepository, (runs) => runs.submit(wish({ namespace, ...over })))

  it.effect("hold exactly when several nodes submit at once", () =>
    Effect.gen(function* () {
      const namespace = yield* newNamespace
      const pipelineId = yield* newPipeline(namespace, "p")
      const nodes = yield* Effect.all([makeSubmit, makeSubmit, makeSubmit])
      const answers = yield* Effect.forEach(
        Array.from({ length: 150 }, (_, index) => index),
        (index) =>
          Effect.result(
            nodes[index % 3]!(wish(index % 5 === 0 ? { namespace, kind: "pipeline", pipelineId } : { namespace })),
          ),
        { concurrency: "unbounded" },
      )
      const refused = answers.flatMap((answer) => (answer._tag === "Failure" ? [answer.failure] : []))
      assert.strictEqual(answers.length - refused.length, limitsOfTest.maxPendingPerNamespace)
      for (const error of refused) assert.strictEqual(error._tag, "QueueFull")
      const sql = yield* SqlClient.SqlClient
      const [pending] = yield* sql<{ all: number; piped: number }>`
        select count(*)::integer as all, count(pipeline_id)::integer as piped from run_queue`
      assert.deepStrictEqual(pending, { all: 40, piped: 5 })
    }),
  )

  it.effect("wait for what another node is just adding to the namespace, and count it", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const namespace = yield* newNamespace
      const other = Effect.gen(function* () {
        yield* sql`select * from run_pending(array[${namespace}], null)`
        yield* sql`
          insert into run (id, kind, namespace, trigger)
          select gen_random_uuid(), 'noop', ${namespace}, 'other' from generate_series(1, 40)`
        // The answer of the one who came meanwhile must not be there yet.
        yield* Effect.sleep(200)
      }).pipe(sql.withTransaction)
      const [, refused] = yield* Effect.all(
        [other, Effect.andThen(Effect.sleep(50), Effect.flip(submitTo(namespace)))],
        { concurrency: 2 },
      )
      assert.deepInclude(refused, { _tag: "QueueFull", scope: "namespace", limit: 40 })
    }),
  )

  it.effect("of running runs wait for the claim of another node, and count it", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const runs = yield* RunRepository
      const namespace = yield* newNamespace
      yield* (yield* LimitRepository).set(namespace, { max_running: 3 })
      yield* Effect.replicateEffect(submitTo(namespace), 8)
      const other = Effect.gen(function* () {
        const claimed = yield* sql`select turn from run_claim('other', 2, 0, 10, 1000)`
        assert.lengthOf(claimed, 2)
        yield* Effect.sleep(200)
      }).pipe(sql.withTransaction)
      const mine = Effect.gen(function* () {
        yield* Effect.sleep(50)
        // They go before those that the other one holds.
        yield* Effect.replicateEffect(submitTo(namespace, { priority: 1 }), 3)
        return yield* runs.claim("mine", 5)
      })
      const [, claimed] = yield* Effect.all([other, mine], { concurrency: 2 })
      assert.lengthOf(claimed, 1)
    }),
  )

  it.effect("of a namespace and of a pipeline can differ from the settings, and go back to them", () =>
    Effect.gen(function* () {
      const namespace = yield* newNamespace
      const pipelineId = yield* newPipeline(namespace, "p")
      const limits = yield* LimitRepository
      const accepted = (times: number) =>
        Effect.map(
          Effect.replicateEffect(Effect.result(submitTo(namespace, { kind: "pipeline", pipelineId })), times),
          (answers) => answers.filter((answer) => answer._tag === "Success").length,
        )
      const set = yield* limits.setPipeline({ namespace, layer: "gold", name: PipelineName.make("p") }, 7)
      assert.deepStrictEqual(
        set.pipelines.map((each) => ({ ...each })),
        [{ pipeline: "gold.p", max_pending: 7 }],
      )
      assert.strictEqual(yield* accepted(9), 7)
      yield* limits.set(namespace, { max_pending: 3 })
      yield* limits.setPipeline({ namespace, layer: "gold", name: PipelineName.make("p") }, null)
      yield* (yield* SqlClient.SqlClient)`delete from run`
      assert.strictEqual(yield* accepted(9), 3)
      const back = yield* limits.set(namespace, { max_pending: null })
      assert.deepStrictEqual([back.max_pending, back.own.max_pending, back.pipelines.length], [40, null, 0])
      assert.strictEqual(yield* accepted(9), 2)
    }),
  )

  it.effect("are never exceeded by many claimers at once, who leave nothing and do nothing twice", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const runs = yield* RunRepository
      const limits = yield* LimitRepository
      const quiet = yield* newNamespace
      const flood = yield* newNamespace
      yield* limits.set(flood, { max_running: 3, weight: 0.5 })
      const keyed = yield* Effect.forEach(["a", "b", "c"], (name) =>
        newPipeline(flood, name, { concurrency_key: "k", concurrency_limit: 2 }),
      )
      const plain = yield* newPipeline(quiet, "p")
      const submitted = yield* Effect.forEach(
        Array.from({ length: 30 }, (_, index) => index),
        (index) => {
          const [namespace, pipelineId] = index % 3 === 0 ? [quiet, plain] : [flood, keyed[index % 3]!]
          return Effect.exit(
            submitTo(namespace, index % 2 === 0 ? { kind: "pipeline", pipelineId } : { priority: index % 5 }),
          )
        },
        { concurrency: "unbounded" },
      )
      const accepted = submitted.flatMap((exit) => (Exit.isSuccess(exit) ? [exit.value.id] : []))
      const finished: Array<RunId> = []
      const broken = sql<{ broken: string }>`
        select 'namespace' as broken from run
        where status = 'running' and namespace = ${flood} having count(*) > 3
        union all
        select 'key' from run where status = 'running' and concurrency_key = 'k' having count(*) > 2
        union all
        select 'pipeline' from run where status = 'running' group by pipeline_id
        having pipeline_id is not null and count(*) > 1`
      const claimer = Effect.fnUntraced(function* (node: number) {
        const { claim } = yield* makeClaim
        while (finished.length < accepted.length) {
          const claimed = yield* claim(`node-${node}`, 1 + (node % 4))
          assert.deepStrictEqual(yield* broken, [])
          yield* Effect.forEach(
            claimed,
            ({ lease }) =>
              Effect.gen(function* () {
                yield* Effect.sleep((yield* Random.next) * 5)
                yield* runs.succeed(lease, outcomeWithoutTable([]))
                finished.push(lease.runId)
              }),
            { concurrency: "unbounded" },
          )
        }
      })
      yield* Effect.forEach([0, 1, 2, 3, 4, 5], claimer, { concurrency: "unbounded" })
      assert.deepStrictEqual(finished.toSorted(), accepted.toSorted())
      assert.deepStrictEqual(yield* sql`select run_id from run_queue`, [])
      const [attempts] = yield* sql<{ all: number }>`select count(*)::integer as all from run_attempt`
      assert.strictEqual(attempts!.all, accepted.length)
    }),
  )

  it.effect("of one namespace do not keep another from running: a flood delays a quiet one by one run at most", () =>
    Effect.gen(function* () {
      const runs = yield* RunRepository
      const flood = yield* newNamespace
      const quiet = yield* newNamespace
      yield* Effect.replicateEffect(submitTo(flood), 30)
      const orderOfStarts: Array<string> = []
      const startOne = Effect.gen(function* () {
        const [claimed] = yield* runs.claim("node", 1)
        orderOfStarts.push(claimed!.namespace)
        yield* runs.succeed(claimed!.lease, outcomeWithoutTable([]))
      })
      yield* Effect.replicateEffect(startOne, 5)
      yield* submitTo(quiet)
      yield* Effect.replicateEffect(startOne, 2)
      assert.include(orderOfStarts.slice(5), quiet)
      // Nobody else wants the slots: the flood has all of them.
      assert.strictEqual((yield* runs.claim("node", 12)).length, 12)
    }),
  )

  it.effect("a run that waits for its time is claimed when it has come, without anybody asking meanwhile", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const runs = yield* RunRepository
      const hub = yield* RunHub
      const namespace = yield* newNamespace
      const { id } = yield* submitTo(namespace)
      yield* sql`update run set retry_at = now() + interval '300 milliseconds' where id = ${id}`
      assert.lengthOf(yield* runs.claim("node", 1), 0)
      const woken = yield* Deferred.make<void>()
      yield* Effect.forkChild(
        hub.signals("node").pipe(
          // The first one greets.
          Stream.drop(1),
          Stream.take(1),
          Stream.runForEach(() => Deferred.succeed(woken, undefined)),
        ),
      )
      yield* Effect.timeout(Deferred.await(woken), "5 seconds")
      const [claimed] = yield* runs.claim("node", 1)
      assert.strictEqual(claimed?.lease.runId, id)
    }),
  )

  it.effect("places in the queue are the order of the claims", () =>
    Effect.gen(function* () {
      const runs = yield* RunRepository
      const limits = yield* LimitRepository
      const [light, heavy] = [yield* newNamespace, yield* newNamespace]
      yield* limits.set(heavy, { weight: 2 })
      const ids = yield* Effect.forEach(Array.from({ length: 18 }), (_, index) =>
        Effect.map(submitTo(index % 2 === 0 ? light : heavy, { priority: index % 4 === 3 ? 1 : 0 }), (run) => run.id),
      )
      const places = yield* Effect.forEach(ids, (id) =>
        Effect.map(runs.find(id), (run) => [run.queue_position!, id] as const),
      )
      const expected = places.toSorted(([left], [right]) => left - right).map(([, id]) => id)
      const claimed: Array<RunId> = []
      for (const _ of ids) {
        const [one] = yield* runs.claim("node", 1)
        claimed.push(one!.lease.runId)
        yield* runs.succeed(one!.lease, outcomeWithoutTable([]))
      }
      assert.deepStrictEqual(claimed, expected)
      assert.isNull((yield* runs.find(ids[0]!)).queue_position)
    }),
  )

  it.effect("runs are claimed ahead of free slots only where other nodes have enough to do", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const runs = yield* RunRepository
      const namespace = yield* newNamespace
      yield* sql`
        insert into node (id, number, roles, status, version, schema_version, url)
        values
          ('a', 1, array['runner'], 'ready', 'test', 1, 'http://localhost'),
          ('b', 2, array['runner'], 'ready', 'test', 1, 'http://localhost'),
          ('c', 3, array['runner'], 'draining', 'test', 1, 'http://localhost')`
      yield* Effect.replicateEffect(submitTo(namespace), 8)
      // Two for its slots; of the other six, half.
      assert.lengthOf(yield* runs.claim("a", 10, 8), 5)
      assert.lengthOf(yield* runs.claim("b", 2), 2)
      assert.lengthOf(yield* runs.claim("b", 4, 4), 0)
      assert.lengthOf(yield* runs.claim("b", 4, 3), 1)
      yield* sql`delete from node`
    }),
  )
})
