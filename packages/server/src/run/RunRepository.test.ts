import { assert, layer } from "@effect/vitest"
import {
  FencingToken,
  Lease,
  LogEntry,
  mainRef,
  NamespaceName,
  outcomeWithoutTable,
  type Phase,
  PipelineCreate,
  PipelineName,
  QualityResult,
  RefName,
  RunFailure,
  RunOutcome,
  runBranch,
  TableKey,
} from "@rat/domain"
import { Catalog } from "@rat/lakehouse"
import { DateTime, Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { NamespaceRepository } from "../namespace/NamespaceRepository.ts"
import { PipelineRepository } from "../pipeline/PipelineRepository.ts"
import { TableMetadataRepository } from "../table/TableMetadataRepository.ts"
import { RunRepository } from "./RunRepository.ts"
import { firstUuidAt } from "./RunRetention.ts"
import type { Submission } from "./RunSubmit.ts"
import { onBranch, pointer, testRuns } from "./TestRuns.ts"

const wish = (over: Partial<Submission> = {}): Submission => ({
  kind: "noop",
  namespace: NamespaceName.make("default"),
  pipelineId: null,
  trigger: "manual",
  idempotencyKey: null,
  traceparent: null,
  ...over,
})

const outcome = (over: Partial<ConstructorParameters<typeof RunOutcome>[0]> = {}) =>
  new RunOutcome({ ...outcomeWithoutTable([]), ...over })

const failure = (error = "it broke") =>
  new RunFailure({
    error,
    code: "sql.error",
    phase: "execute",
    phases: [{ name: "branch", duration_ms: 1.5 }],
    quality: [],
  })

const line = (seq: number, message: string, phase?: Phase) =>
  new LogEntry({ seq, timestamp: "2026-01-02T03:04:05.678Z", level: "info", message, ...(phase && { phase }) })

/** A namespace of its own for each test: nothing of another one waits in its queue. */
let made = 0
const newNamespace = Effect.gen(function* () {
  const name = NamespaceName.make(`ns-${made++}`)
  yield* (yield* NamespaceRepository).create(name, "")
  return name
})

const newPipeline = (namespace: NamespaceName, name = "orders") =>
  Effect.flatMap(PipelineRepository, (pipelines) =>
    pipelines.create(new PipelineCreate({ namespace, layer: "silver", name: PipelineName.make(name) })),
  )

/** Ends whatever is claimable, so that a claim of the test sees its own runs only. */
const emptyQueue = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`delete from run`
})

const eventsOf = (key: string) =>
  Effect.flatMap(
    SqlClient.SqlClient,
    (sql) => sql<{ type: string }>`select type from outbox where key = ${key} order by id`,
  ).pipe(Effect.map((rows) => rows.map((row) => row.type)))

const attemptsOf = (runId: string) =>
  Effect.flatMap(
    SqlClient.SqlClient,
    (sql) => sql<{ attempt: number; owner: string; outcome: string | null }>`
      select attempt, owner, outcome from run_attempt where run_id = ${runId} order by attempt`,
  )

const loseLease = (lease: Lease) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    yield* sql`update run set lease_expires_at = now() - interval '1 second' where id = ${lease.runId}`
    yield* (yield* RunRepository).expireLeases()
  })

layer(
  RunRepository.layer.pipe(
    Layer.provideMerge(
      Layer.mergeAll(PipelineRepository.layer, NamespaceRepository.layer, TableMetadataRepository.layer),
    ),
    Layer.provideMerge(testRuns({ maxPendingPerPipeline: 3, maxPendingPerNamespace: 8, maxLogLines: 6 })),
  ),
  { excludeTestServices: true },
)("RunRepository", (it) => {
  it.effect("a run goes from pending over running to success, and each step is an event", () =>
    Effect.gen(function* () {
      yield* emptyQueue
      const runs = yield* RunRepository
      const accepted = yield* runs.submit(wish({ trigger: "schedule:0 3 * * *" }))
      assert.strictEqual(accepted.status, "pending")
      assert.strictEqual((yield* runs.find(accepted.id)).queue_position, 1)
      const [claimed] = yield* runs.claim("node-a", 4)
      assert.strictEqual(claimed?.lease.runId, accepted.id)
      assert.strictEqual(claimed?.trigger, "schedule:0 3 * * *")
      assert.strictEqual((yield* runs.find(accepted.id)).status, "running")
      yield* runs.succeed(claimed!.lease, outcome({ rowsWritten: 7, phases: [{ name: "execute", duration_ms: 3.25 }] }))
      const run = yield* runs.find(accepted.id)
      assert.deepStrictEqual(
        [run.status, run.rows_written, run.attempt, run.phases.map((phase) => phase.duration_ms), run.queue_position],
        ["success", 7, 1, [3.25], null],
      )
      assert.isNotNull(run.duration_ms)
      assert.deepStrictEqual(yield* eventsOf(accepted.id), ["run.queued", "run.running", "run.succeeded"])
      assert.deepStrictEqual(yield* attemptsOf(accepted.id), [{ attempt: 1, owner: "node-a", outcome: "succeeded" }])
    }),
  )

  it.effect("a run that is given back before it began waits again, and that attempt does not count", () =>
    Effect.gen(function* () {
      yield* emptyQueue
      const runs = yield* RunRepository
      const { id } = yield* runs.submit(wish({}))
      const [early] = yield* runs.claim("node-a", 1)
      yield* runs.release(early!.lease)
      const waiting = yield* runs.find(id)
      assert.deepStrictEqual([waiting.status, waiting.attempt, waiting.started_at], ["pending", 0, null])

      const [claimed] = yield* runs.claim("node-b", 1)
      assert.deepStrictEqual([claimed?.lease.runId, claimed?.lease.attempt], [id, 1])
      // The one who gave it back has no say any more, although the number of its attempt is the same.
      yield* runs.release(early!.lease)
      const refused = yield* Effect.flip(runs.succeed(early!.lease, outcome({})))
      assert.strictEqual(refused._tag, "LeaseLost")
      yield* runs.succeed(claimed!.lease, outcome({}))
      assert.strictEqual((yield* runs.find(id)).status, "success")
      assert.deepStrictEqual(yield* attemptsOf(id), [{ attempt: 1, owner: "node-b", outcome: "succeeded" }])
      assert.deepStrictEqual(yield* eventsOf(id), [
        "run.queued",
        "run.running",
        "run.queued",
        "run.running",
        "run.succeeded",
      ])
    }),
  )

  it.effect("the branch of a lost attempt expires with its run, also when the next attempt was given back", () =>
    Effect.gen(function* () {
      yield* emptyQueue
      const [runs, catalog] = yield* Effect.all([RunRepository, Catalog])
      const namespace = yield* newNamespace
      const pipeline = yield* newPipeline(namespace)
      const { id } = yield* runs.submit(wish({ kind: "pipeline", namespace, pipelineId: pipeline.id }))
      const [first] = yield* runs.claim("node-a", 1)
      const branch = RefName.make(runBranch(id))
      yield* catalog.createBranch(branch, { from: mainRef, runId: id })
      yield* loseLease(first!.lease)
      const [second] = yield* runs.claim("node-b", 1)
      yield* runs.release(second!.lease)
      yield* runs.cancel(id)
      assert.isNotNull((yield* catalog.ref(branch)).expiresAt)
    }),
  )

  it.effect("a run keeps the files and the version of its pipeline as they were when it was accepted", () =>
    Effect.gen(function* () {
      yield* emptyQueue
      const runs = yield* RunRepository
      const sql = yield* SqlClient.SqlClient
      const namespace = yield* newNamespace
      const pipeline = yield* newPipeline(namespace)
      const put = (path: string, letter: string) => sql`
        insert into file (path, namespace, hash, size_bytes, modified)
        values (${`${namespace}/pipelines/silver/${path}`}, ${namespace}, ${letter.repeat(64)}, 1, now())
        on conflict (path) do update set hash = excluded.hash`
      yield* put("orders/pipeline.sql", "a")
      yield* put("orders/tests/quality/positive.sql", "b")
      yield* put("orders-old/pipeline.sql", "c")
      const first = yield* runs.submit(wish({ kind: "pipeline", namespace, pipelineId: pipeline.id }))
      const again = yield* runs.submit(wish({ kind: "pipeline", namespace, pipelineId: pipeline.id }))
      yield* put("orders/pipeline.sql", "d")
      const changed = yield* runs.submit(wish({ kind: "pipeline", namespace, pipelineId: pipeline.id }))
      assert.match(first.code_version ?? "", /^draft@[0-9a-f]{12}$/)
      assert.strictEqual(again.code_version, first.code_version)
      assert.notStrictEqual(changed.code_version, first.code_version)

      const [claimed] = yield* runs.claim("node", 1)
      assert.deepStrictEqual(
        claimed?.target?.files.map((file) => [file.path, file.hash[0]]),
        [
          ["pipeline.sql", "a"],
          ["tests/quality/positive.sql", "b"],
        ],
      )
    }),
  )

  it.effect("the pending runs of a pipeline and of a namespace are limited, and the limit says so", () =>
    Effect.gen(function* () {
      yield* emptyQueue
      const runs = yield* RunRepository
      const namespace = yield* newNamespace
      const pipeline = yield* newPipeline(namespace)
      const submitAll = (submission: Submission, times: number) =>
        Effect.all(
          Array.from({ length: times }, () => Effect.result(runs.submit(submission))),
          { concurrency: "unbounded" },
        )
      const ofPipeline = yield* submitAll(wish({ kind: "pipeline", namespace, pipelineId: pipeline.id }), 6)
      assert.strictEqual(ofPipeline.filter((answer) => answer._tag === "Success").length, 3)
      const refused = ofPipeline.find((answer) => answer._tag === "Failure")
      assert.deepInclude(refused?._tag === "Failure" ? refused.failure : {}, {
        _tag: "QueueFull",
        scope: "pipeline",
        name: `${namespace}.silver.orders`,
        limit: 3,
      })
      const others = yield* submitAll(wish({ namespace }), 9)
      assert.strictEqual(others.filter((answer) => answer._tag === "Success").length, 5)
      const full = others.find((answer) => answer._tag === "Failure")
      assert.deepInclude(full?._tag === "Failure" ? full.failure : {}, {
        _tag: "QueueFull",
        scope: "namespace",
        limit: 8,
      })

      // What was accepted is there, what was refused is not.
      const listed = yield* runs.list({ namespace, status: "pending", limit: 100, offset: 0 })
      assert.strictEqual(listed.total, 8)
      assert.deepStrictEqual(
        listed.runs.map((run) => run.queue_position),
        [8, 7, 6, 5, 4, 3, 2, 1],
      )
    }),
  )

  it.effect("an unknown namespace and a deleted pipeline are refused by name", () =>
    Effect.gen(function* () {
      const runs = yield* RunRepository
      const namespace = yield* newNamespace
      const pipeline = yield* newPipeline(namespace)
      yield* (yield* PipelineRepository).remove(pipeline)
      const unknown = yield* Effect.flip(runs.submit(wish({ namespace: NamespaceName.make("nowhere") })))
      assert.strictEqual(unknown._tag, "NamespaceNotFound")
      const gone = yield* Effect.flip(runs.submit(wish({ kind: "pipeline", namespace, pipelineId: pipeline.id })))
      assert.deepInclude(gone, { _tag: "PipelineNotFound", layer: "silver", name: "orders" })
    }),
  )

  it.effect("one idempotency key makes one run, however often and however fast it is sent", () =>
    Effect.gen(function* () {
      const runs = yield* RunRepository
      const [namespace, other] = [yield* newNamespace, yield* newNamespace]
      const send = runs.submit(wish({ namespace, idempotencyKey: "k-1" }))
      const answers = yield* Effect.all(
        Array.from({ length: 20 }, () => send),
        { concurrency: "unbounded" },
      )
      assert.strictEqual(new Set(answers.map((run) => run.id)).size, 1)
      assert.strictEqual((yield* send).id, answers[0]?.id)
      assert.notStrictEqual((yield* runs.submit(wish({ namespace: other, idempotencyKey: "k-1" }))).id, answers[0]?.id)
      assert.strictEqual((yield* runs.list({ namespace, limit: 10, offset: 0 })).total, 1)
    }),
  )

  it.effect("of one pipeline one run is active, and its end wakes the one behind it", () =>
    Effect.gen(function* () {
      yield* emptyQueue
      const runs = yield* RunRepository
      const namespace = yield* newNamespace
      const pipeline = yield* newPipeline(namespace)
      const submission = wish({ kind: "pipeline", namespace, pipelineId: pipeline.id })
      const [first, second] = [yield* runs.submit(submission), yield* runs.submit(submission)]
      const claims = yield* Effect.all(
        ["a", "b", "c", "d"].map((node) => runs.claim(node, 8)),
        { concurrency: "unbounded" },
      )
      assert.deepStrictEqual(
        claims.flat().map((run) => run.lease.runId),
        [first.id],
      )
      yield* runs.fail(claims.flat()[0]!.lease, failure())
      assert.deepStrictEqual(
        (yield* runs.claim("a", 8)).map((run) => run.lease.runId),
        [second.id],
      )
    }),
  )

  it.effect("a namespace that floods the queue does not keep another one waiting", () =>
    Effect.gen(function* () {
      yield* emptyQueue
      const runs = yield* RunRepository
      const [loud, quiet] = [yield* newNamespace, yield* newNamespace]
      for (let i = 0; i < 8; i++) yield* runs.submit(wish({ namespace: loud }))
      const mine = [yield* runs.submit(wish({ namespace: quiet })), yield* runs.submit(wish({ namespace: quiet }))]
      const first = yield* runs.claim("node", 4)
      assert.deepStrictEqual(
        first.map((run) => run.namespace),
        [loud, quiet, loud, quiet],
      )
      assert.deepStrictEqual(
        first.filter((run) => run.namespace === quiet).map((run) => run.lease.runId),
        mine.map((run) => run.id),
      )
      // What is already running counts: the quiet one's next run goes before the loud one's third.
      const third = yield* runs.submit(wish({ namespace: quiet }))
      yield* runs.succeed(first.find((run) => run.namespace === quiet)!.lease, outcome())
      assert.strictEqual((yield* runs.claim("node", 1))[0]?.lease.runId, third.id)
    }),
  )

  it.effect("nodes that claim at the same time never get the same run, and leave none behind", () =>
    Effect.gen(function* () {
      yield* emptyQueue
      const runs = yield* RunRepository
      const namespaces = yield* Effect.all([newNamespace, newNamespace, newNamespace, newNamespace])
      const accepted = yield* Effect.all(
        namespaces.flatMap((namespace) => Array.from({ length: 8 }, () => runs.submit(wish({ namespace })))),
        { concurrency: "unbounded" },
      )
      const claims = yield* Effect.all(
        Array.from({ length: 8 }, (_, index) => runs.claim(`node-${index}`, 4)),
        { concurrency: "unbounded" },
      )
      const more = yield* runs.claim("node-0", 64)
      const ids = [...claims.flat(), ...more].map((run) => run.lease.runId)
      assert.strictEqual(new Set(ids).size, ids.length)
      assert.deepStrictEqual(ids.toSorted(), accepted.map((run) => run.id).toSorted())
    }),
  )

  it.effect("an attempt that lost its lease can change nothing any more, its successor can", () =>
    Effect.gen(function* () {
      yield* emptyQueue
      const runs = yield* RunRepository
      const accepted = yield* runs.submit(wish())
      const [old] = yield* runs.claim("node-a", 1)
      yield* runs.report({ lease: old!.lease, phase: "execute", logs: [line(1, "first"), line(2, "second")] })
      yield* loseLease(old!.lease)
      assert.strictEqual((yield* runs.find(accepted.id)).status, "pending")
      const stale = Effect.all([
        Effect.flip(runs.report({ lease: old!.lease, phase: "write", logs: [line(3, "late")] })),
        Effect.flip(runs.succeed(old!.lease, outcome())),
        Effect.flip(runs.fail(old!.lease, failure())),
        Effect.flip(runs.listZone(old!.lease, "zone")),
      ])
      for (const error of yield* stale) assert.strictEqual(error._tag, "LeaseLost")

      const [current] = yield* runs.claim("node-b", 1)
      assert.deepStrictEqual([current?.lease.attempt, current?.lease.fencingToken], [2, 2n])
      for (const error of yield* stale) assert.strictEqual(error._tag, "LeaseLost")
      assert.deepStrictEqual((yield* runs.renew([old!.lease])).lost, [accepted.id])
      assert.deepStrictEqual((yield* runs.renew([current!.lease])).lost, [])

      // In one group with the holder's report, the stale one is still told apart.
      const [, late, fresh] = yield* Effect.all(
        [
          // While this one is on its way the others gather.
          runs.report({ lease: current!.lease, phase: null, logs: [] }),
          Effect.result(runs.report({ lease: old!.lease, phase: "commit", logs: [line(2, "very late")] })),
          Effect.result(runs.report({ lease: current!.lease, phase: "branch", logs: [line(1, "again")] })),
        ],
        { concurrency: "unbounded" },
      )
      assert.deepStrictEqual([late._tag, fresh._tag], ["Failure", "Success"])
      yield* runs.succeed(current!.lease, outcome())
      const logs = yield* runs.logs(accepted.id, { afterSeq: 0, limit: 100 })
      assert.deepStrictEqual(
        logs.map((entry) => [entry.seq, entry.message.slice(0, 9)]),
        [
          [1, "first"],
          [2, "second"],
          [3, "Attempt 1"],
          [4, "again"],
        ],
      )
      assert.deepStrictEqual(yield* attemptsOf(accepted.id), [
        { attempt: 1, owner: "node-a", outcome: "lost" },
        { attempt: 2, owner: "node-b", outcome: "succeeded" },
      ])
    }),
  )

  it.effect("a run whose attempts are all lost fails with a reason, and its branch expires", () =>
    Effect.gen(function* () {
      yield* emptyQueue
      const runs = yield* RunRepository
      const catalog = yield* Catalog
      const namespace = yield* newNamespace
      const pipeline = yield* newPipeline(namespace)
      const accepted = yield* runs.submit(wish({ kind: "pipeline", namespace, pipelineId: pipeline.id }))
      const branch = RefName.make(runBranch(accepted.id))
      yield* catalog.createBranch(branch, { from: mainRef, runId: accepted.id })
      for (let attempt = 1; attempt <= 3; attempt++) {
        const [claimed] = yield* runs.claim(`node-${attempt}`, 1)
        assert.strictEqual(claimed?.lease.attempt, attempt)
        yield* loseLease(claimed!.lease)
      }
      const run = yield* runs.find(accepted.id)
      assert.deepStrictEqual([run.status, run.branch], ["failed", branch])
      assert.match(run.error ?? "", /Attempt 3 ended .* node "node-3".* last of 3 attempts/)
      assert.isNotNull((yield* catalog.ref(branch)).expiresAt)
      assert.deepStrictEqual((yield* eventsOf(accepted.id)).at(-1), "run.failed")
      assert.deepStrictEqual(yield* runs.claim("node", 8), [])
    }),
  )

  it.effect("publishing moves main, ends the branch and the run and tells of both; repeating it is no error", () =>
    Effect.gen(function* () {
      yield* emptyQueue
      const runs = yield* RunRepository
      const catalog = yield* Catalog
      const namespace = yield* newNamespace
      const pipeline = yield* newPipeline(namespace)
      const table = new TableKey({ namespace, layer: "silver", name: PipelineName.make("orders") })
      const { claimed, branch } = yield* onBranch(namespace, pipeline.id, table, null, "v1")
      const quality = [
        new QualityResult({
          name: "positive",
          status: "warned",
          severity: "warn",
          description: "d",
          tags: ["a"],
          remediation: "r",
          violations: 2,
          sample_columns: [{ name: "n", type: "BIGINT" }],
          sample_rows: [["-1"], ["a\0b"]],
          error: null,
          duration_ms: 1.25,
        }),
      ]
      const done = outcome({ branch, rowsWritten: 3, snapshotId: "42", quality })
      yield* runs.succeed(claimed.lease, done)
      yield* runs.succeed(claimed.lease, done)
      assert.strictEqual((yield* catalog.table(mainRef, table))?.metadataLocation, "v1")
      assert.strictEqual((yield* Effect.flip(catalog.ref(branch)))._tag, "RefNotFound")
      const run = yield* runs.find(claimed.lease.runId)
      assert.deepStrictEqual([run.status, run.snapshot_id, run.branch], ["success", "42", null])
      assert.deepStrictEqual(yield* eventsOf(table.toString()), ["table.published"])
      const [result] = yield* runs.quality(run.id)
      assert.deepStrictEqual([result?.status, result?.violations, result?.sample_rows], ["warned", 2, [["-1"], ["ab"]]])
    }),
  )

  it.effect(
    "publishing gives a pipeline and its table the description of their code, unless people wrote another",
    () =>
      Effect.gen(function* () {
        yield* emptyQueue
        const runs = yield* RunRepository
        const pipelines = yield* PipelineRepository
        const written = yield* TableMetadataRepository
        const namespace = yield* newNamespace
        const { id, name } = yield* newPipeline(namespace)
        const key = new TableKey({ namespace, layer: "silver", name })
        const described = Effect.gen(function* () {
          const pipeline = yield* pipelines.find({ namespace, layer: "silver", name })
          return [pipeline.description, (yield* written.texts([key])).get(key.toString())?.description]
        })
        let expected: string | null = null
        const publish = Effect.fnUntraced(function* (description: string, next: string) {
          const { claimed, branch } = yield* onBranch(namespace, id, key, expected, next)
          expected = next
          yield* runs.succeed(claimed.lease, outcome({ branch, description }))
        })
        yield* publish("", "v1")
        assert.deepStrictEqual(yield* described, ["", undefined])
        yield* publish("Orders.", "v2")
        assert.deepStrictEqual(yield* described, ["Orders.", "Orders."])
        yield* publish("", "v3")
        assert.deepStrictEqual(yield* described, ["Orders.", "Orders."])
        yield* written.update(key, { owner: "data" })
        assert.deepStrictEqual(yield* described, ["Orders.", "Orders."])
        yield* written.update(key, { description: "What people ordered." })
        yield* publish("All orders.", "v4")
        assert.deepStrictEqual(yield* described, ["All orders.", "What people ordered."])
      }),
  )

  it.effect("a conflict on main leaves main, the branch and the run as they were", () =>
    Effect.gen(function* () {
      yield* emptyQueue
      const runs = yield* RunRepository
      const catalog = yield* Catalog
      const namespace = yield* newNamespace
      const pipeline = yield* newPipeline(namespace)
      const table = new TableKey({ namespace, layer: "silver", name: PipelineName.make("orders") })
      const { claimed, branch } = yield* onBranch(namespace, pipeline.id, table, null, "mine")
      yield* catalog.commit(mainRef, {
        message: "m",
        author: "t",
        runId: null,
        changes: [{ key: table, expected: null, next: pointer("theirs") }],
      })
      const error = yield* Effect.flip(runs.succeed(claimed.lease, outcome({ branch })))
      assert.deepInclude(error, { _tag: "PublishConflict", tables: [table.toString()] })
      assert.strictEqual((yield* runs.find(claimed.lease.runId)).status, "running")
      assert.strictEqual((yield* catalog.table(mainRef, table))?.metadataLocation, "theirs")
      assert.strictEqual((yield* catalog.table(branch, table))?.metadataLocation, "mine")
      assert.deepStrictEqual(yield* eventsOf(claimed.lease.runId), ["run.queued", "run.running"])

      yield* runs.fail(claimed.lease, failure("conflict"))
      const run = yield* runs.find(claimed.lease.runId)
      assert.deepStrictEqual([run.status, run.error, run.phase, run.branch], ["failed", "conflict", "execute", branch])
      assert.isTrue(DateTime.toEpochMillis(run.branch_expires_at!) > Date.now() + 23 * 3_600_000)
    }),
  )

  it.effect("a lost lease keeps the branch off main", () =>
    Effect.gen(function* () {
      yield* emptyQueue
      const runs = yield* RunRepository
      const namespace = yield* newNamespace
      const pipeline = yield* newPipeline(namespace)
      const table = new TableKey({ namespace, layer: "silver", name: PipelineName.make("orders") })
      const { claimed, branch } = yield* onBranch(namespace, pipeline.id, table, null, "late")
      yield* loseLease(claimed.lease)
      assert.strictEqual((yield* Effect.flip(runs.succeed(claimed.lease, outcome({ branch }))))._tag, "LeaseLost")
      assert.isNull(yield* (yield* Catalog).table(mainRef, table))
    }),
  )

  it.effect(
    "cancelling ends a pending and a running run once; whoever works on it is told and may say its last words",
    () =>
      Effect.gen(function* () {
        yield* emptyQueue
        const runs = yield* RunRepository
        const pending = yield* runs.submit(wish())
        assert.strictEqual((yield* runs.cancel(pending.id)).status, "cancelled")
        assert.strictEqual((yield* Effect.flip(runs.cancel(pending.id)))._tag, "RunFinished")
        assert.deepStrictEqual(yield* runs.claim("node", 1), [])

        const running = yield* runs.submit(wish())
        const [claimed] = yield* runs.claim("node", 1)
        yield* runs.report({ lease: claimed!.lease, phase: "execute", logs: [line(1, "working")] })
        yield* runs.cancel(running.id)
        for (const error of yield* Effect.all([
          Effect.flip(runs.succeed(claimed!.lease, outcome())),
          Effect.flip(runs.report({ lease: claimed!.lease, phase: null, logs: [line(2, "x")] })),
        ])) {
          assert.strictEqual(error._tag, "LeaseLost")
        }
        yield* runs.stopped(claimed!.lease, [{ name: "execute", duration_ms: 9 }], [line(2, "interrupted")])
        const run = yield* runs.find(running.id)
        assert.deepStrictEqual([run.status, run.phases.length], ["cancelled", 1])
        assert.deepStrictEqual(
          (yield* runs.logs(running.id, { afterSeq: 0, limit: 10 })).map((entry) => entry.message),
          ["working", "interrupted"],
        )
        assert.deepStrictEqual(yield* eventsOf(running.id), ["run.queued", "run.running", "run.cancelled"])
        assert.deepStrictEqual(
          (yield* attemptsOf(running.id)).map((attempt) => attempt.outcome),
          ["cancelled"],
        )
        assert.strictEqual(
          (yield* Effect.flip(runs.cancel("01a2109c-4fca-724a-b1c5-831834c39bc2" as never)))._tag,
          "RunNotFound",
        )
      }),
  )

  it.effect(
    "the last lines come with the end, once each, up to the limit, and not from an attempt whose lease is gone",
    () =>
      Effect.gen(function* () {
        yield* emptyQueue
        const runs = yield* RunRepository
        const namespace = yield* newNamespace
        const accepted = yield* runs.submit(wish({ namespace }))
        const [claimed] = yield* runs.claim("node", 1)
        const { lease } = claimed!
        yield* runs.report({ lease, phase: "execute", logs: [line(1, "one")] })
        const logs = Array.from({ length: 8 }, (_, index) => line(index + 1, ["one", "two", "three"][index] ?? "more"))
        const late = new Lease({ ...lease, fencingToken: FencingToken.make(lease.fencingToken - 1n) })
        yield* Effect.flip(runs.succeed(late, outcome({ logs: [line(2, "late")] })))
        yield* runs.succeed(lease, outcome({ logs }))
        yield* runs.succeed(lease, outcome({ logs: [line(3, "again")] })) // the answer was lost
        const stored = yield* runs.logs(accepted.id, { afterSeq: 0, limit: 100 })
        assert.deepStrictEqual(
          stored.map(({ seq, message }) => [seq, message]),
          [
            [1, "one"],
            [2, "two"],
            [3, "three"],
            [4, "more"],
            [5, "more"],
            [6, "The log reached its limit of 6 lines; later lines are dropped."],
          ],
        )
      }),
  )

  it.effect("a repeated report changes nothing, and lines beyond the limit are dropped with a word", () =>
    Effect.gen(function* () {
      yield* emptyQueue
      const runs = yield* RunRepository
      const accepted = yield* runs.submit(wish())
      const [claimed] = yield* runs.claim("node", 1)
      const report = (logs: ReadonlyArray<LogEntry>) => runs.report({ lease: claimed!.lease, phase: null, logs })
      yield* report([line(1, "one"), line(2, "two \ud800 \0")])
      yield* report([line(1, "one"), line(2, "two"), line(3, "three")])
      yield* report(Array.from({ length: 6 }, (_, index) => line(4 + index, `line ${4 + index}`)))
      const logs = yield* runs.logs(accepted.id, { afterSeq: 0, limit: 100 })
      assert.deepStrictEqual(
        logs.map((entry) => entry.message),
        [
          "one",
          "two \ufffd ",
          "three",
          "line 4",
          "line 5",
          "The log reached its limit of 6 lines; later lines are dropped.",
        ],
      )
      assert.deepStrictEqual(
        (yield* runs.logs(accepted.id, { afterSeq: 2, limit: 2 })).map((entry) => entry.seq),
        [3, 4],
      )
    }),
  )

  it.effect("lists filter, sort and count", () =>
    Effect.gen(function* () {
      yield* emptyQueue
      const runs = yield* RunRepository
      const namespace = yield* newNamespace
      const pipeline = yield* newPipeline(namespace)
      const started = yield* runs.submit(wish({ kind: "pipeline", namespace, pipelineId: pipeline.id, trigger: "b" }))
      const waiting = yield* runs.submit(wish({ namespace, trigger: "a" }))
      const [claimed] = yield* runs.claim("node", 1)
      assert.strictEqual(claimed?.lease.runId, started.id)
      const ids = (options: Partial<Parameters<typeof runs.list>[0]>) =>
        Effect.map(runs.list({ namespace, limit: 10, offset: 0, ...options }), (page) => page.runs.map((run) => run.id))
      assert.deepStrictEqual(yield* ids({}), [waiting.id, started.id])
      assert.deepStrictEqual(yield* ids({ sort: "created_at" }), [started.id, waiting.id])
      assert.deepStrictEqual(yield* ids({ sort: "-trigger" }), [started.id, waiting.id])
      assert.deepStrictEqual(yield* ids({ sort: "id; drop table run" }), [waiting.id, started.id])
      assert.deepStrictEqual(yield* ids({ status: "running" }), [started.id])
      assert.deepStrictEqual(yield* ids({ layer: "silver", pipeline: PipelineName.make("orders") }), [started.id])
      const before = DateTime.makeUnsafe(Date.now() - 60_000)
      assert.deepStrictEqual(yield* ids({ startedAfter: before }), [started.id])
      assert.deepStrictEqual(yield* ids({ startedBefore: before }), [])
      const page = yield* runs.list({ namespace, limit: 1, offset: 1 })
      assert.deepStrictEqual([page.total, page.runs.map((run) => run.id)], [2, [started.id]])
    }),
  )

  it.effect("what is too old or too much is removed, but never a run that has not ended", () =>
    Effect.gen(function* () {
      yield* emptyQueue
      const runs = yield* RunRepository
      const sql = yield* SqlClient.SqlClient
      const namespace = yield* newNamespace
      const pipeline = yield* newPipeline(namespace)
      const old = firstUuidAt(Date.now() - 100 * 86_400_000)
      const insert = (id: string, status: string, pipelineId: string | null) => sql`
        insert into run (id, kind, namespace, pipeline_id, status, trigger, finished_at, idempotency_key)
        values (
          ${id}, ${pipelineId === null ? "noop" : "pipeline"}, ${namespace}, ${pipelineId}, ${status}, 't',
          ${status === "queued" ? null : new Date()}, ${id})`
      const variant = (last: number) => `${old.slice(0, -4)}${String(last).padStart(4, "0")}`
      yield* insert(variant(1), "succeeded", null)
      yield* insert(variant(2), "queued", null)
      const hourAgo = firstUuidAt(Date.now() - 3_600_000)
      const recent = (index: number) => `${hourAgo.slice(0, -4)}${String(index).padStart(4, "0")}`
      for (let index = 0; index < 103; index++) yield* insert(recent(index), "succeeded", pipeline.id)
      const removed = yield* runs.prune()
      assert.deepInclude(removed, { keys: 2, runs: 4 })
      const left = yield* runs.list({ namespace, limit: 200, offset: 0, sort: "created_at" })
      assert.strictEqual(left.total, 101)
      assert.deepStrictEqual([left.runs[0]?.id, left.runs[1]?.id], [variant(2), recent(3)])
    }),
  )
})
