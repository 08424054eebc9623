import { assert, layer } from "@effect/vitest"
import {
  type ClaimedRun,
  defaultRetryPolicy,
  FilePath,
  type Lease,
  LogEntry,
  NamespaceName,
  outcomeWithoutTable,
  PipelineCreate,
  PipelineName,
  RetryPolicy,
  RunFailure,
  type RunId,
  type RunRepeat,
} from "@rat/domain"
import { DateTime, Effect, Layer, Queue, Stream } from "effect"
import { SqlClient } from "effect/sql"
import { FileRepository } from "../file/FileRepository.ts"
import { PipelineRepository } from "../pipeline/PipelineRepository.ts"
import { RunHub } from "./RunHub.ts"
import { RunRepository } from "./RunRepository.ts"
import type { Submission } from "./RunSubmit.ts"
import { testRuns } from "./TestRuns.ts"

const namespace = NamespaceName.make("default")

const submit = (over: Partial<Submission> = {}) =>
  Effect.flatMap(RunRepository, (runs) =>
    runs.submit({
      kind: "noop",
      namespace,
      pipelineId: null,
      trigger: "t",
      idempotencyKey: null,
      traceparent: null,
      ...over,
    }),
  )

const policy = (over: Partial<RetryPolicy>) => new RetryPolicy({ ...defaultRetryPolicy, jitter: 0, ...over })

const failure = (code: string, retry: RetryPolicy, retryable = true) =>
  new RunFailure({
    error: `because of ${code}`,
    code,
    phase: "execute",
    phases: [{ name: "execute", duration_ms: 12.5 }],
    quality: [],
    retryable,
    retry,
  })

const line = (seq: number, message: string) =>
  new LogEntry({ seq, timestamp: "2026-01-02T03:04:05.678Z", level: "info", message, phase: "execute" })

const fresh = Effect.flatMap(SqlClient.SqlClient, (sql) => sql`delete from run`)

/** What waits for its time is due now. */
const makeDue = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`update run set retry_at = now() where retry_at is not null`
  yield* sql`update run_queue set eligible_at = now() where eligible_at is not null`
})

const claimOne = Effect.fnUntraced(function* (node = "node-a") {
  const [claimed] = yield* (yield* RunRepository).claim(node, 1)
  assert.isDefined(claimed)
  return claimed as ClaimedRun
})

const loseLease = (lease: Lease) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    yield* sql`update run set lease_expires_at = now() - interval '1 second' where id = ${lease.runId}`
    yield* (yield* RunRepository).expireLeases()
  })

const checkpointsOf = (runId: RunId) =>
  Effect.flatMap(
    SqlClient.SqlClient,
    (sql) => sql<{ attempt: number; checkpoint: unknown }>`
      select attempt, checkpoint from run_checkpoint where run_id = ${runId}`,
  )

layer(
  RunRepository.layer.pipe(
    Layer.provideMerge(Layer.mergeAll(PipelineRepository.layer, FileRepository.layer)),
    Layer.provideMerge(testRuns({ maxAttempts: 2, maxOutageRetries: 3, leaseSeconds: 60 })),
  ),
  { excludeTestServices: true },
)("A run that fails", (it) => {
  it.effect(
    "waits as long as its pipeline says, goes on under its own id, and wakes runners when its time has come",
    () =>
      Effect.gen(function* () {
        yield* fresh
        const runs = yield* RunRepository
        const hub = yield* RunHub
        const signals = yield* Queue.unbounded<string>()
        yield* Effect.forkScoped(Stream.runForEach(hub.signals("node-a"), ({ _tag }) => Queue.offer(signals, _tag)))
        assert.strictEqual(yield* Queue.take(signals), "Wake")
        const { id } = yield* submit()
        assert.strictEqual(yield* Queue.take(signals), "Wake")
        const { lease } = yield* claimOne()
        const failedAt = Date.now()
        yield* runs.fail(lease, failure("slot.died", policy({ maxRetries: 1, delaySeconds: 0.4 })))
        const waiting = yield* runs.find(id)
        assert.deepStrictEqual([waiting.status, waiting.error, waiting.attempt], ["pending", null, 1])
        const due = DateTime.toEpochMillis(waiting.retry_at!)
        assert.isTrue(due >= failedAt + 350 && due <= Date.now() + 450, `${due - failedAt} ms`)
        assert.strictEqual(yield* Queue.take(signals), "Wake")
        assert.deepStrictEqual(yield* runs.claim("node-a", 1), [])
        // The signal is that its time has come: a claim finds it.
        assert.strictEqual(yield* Effect.timeout(Queue.take(signals), "5 seconds"), "Wake")
        const again = yield* claimOne("node-b")
        assert.isAtLeast(Date.now(), due)
        assert.deepStrictEqual([again.lease.runId, again.lease.attempt, again.failedAttempts], [id, 2, 1])
        yield* runs.fail(again.lease, failure("slot.died", policy({ maxRetries: 1, delaySeconds: 0.4 })))
        const failed = yield* runs.find(id)
        assert.deepStrictEqual([failed.status, failed.error_code, failed.retry_at], ["failed", "slot.died", null])
      }),
  )

  it.effect("shows each attempt with its node, times, phases, error and log", () =>
    Effect.gen(function* () {
      yield* fresh
      const runs = yield* RunRepository
      const { id } = yield* submit()
      const first = yield* claimOne("node-a")
      yield* runs.report({ lease: first.lease, phase: "execute", logs: [line(1, "one"), line(2, "two")] })
      yield* runs.fail(first.lease, failure("slot.died", policy({ maxRetries: 3, delaySeconds: 9 })))
      yield* makeDue
      const second = yield* claimOne("node-b")
      yield* runs.report({ lease: second.lease, phase: "write", logs: [line(1, "three")] })
      const running = yield* runs.attempts(id)
      assert.deepInclude({ ...running[1] }, { attempt: 2, outcome: "running", phase: "write", ended_at: null })
      yield* loseLease(second.lease)
      const third = yield* claimOne("node-c")
      yield* runs.succeed(third.lease, outcomeWithoutTable([{ name: "execute", duration_ms: 3 }]))

      const attempts = yield* runs.attempts(id)
      const facts = attempts.map(({ attempt, node, outcome, phase, error_code, phases }) => [
        attempt,
        node,
        outcome,
        phase,
        error_code,
        phases.map(({ name, duration_ms }) => `${name} ${duration_ms}`).join(),
      ])
      assert.deepStrictEqual(facts, [
        [1, "node-a", "failed", "execute", "slot.died", "execute 12.5"],
        [2, "node-b", "lost", "write", null, ""],
        [3, "node-c", "success", null, null, "execute 3"],
      ])
      assert.strictEqual(attempts[0]!.error, "because of slot.died")
      for (const { started_at, ended_at, duration_ms } of attempts) {
        assert.strictEqual(DateTime.toEpochMillis(ended_at!) - DateTime.toEpochMillis(started_at), duration_ms)
      }
      const retryAt = DateTime.toEpochMillis(attempts[0]!.retry_at!)
      assert.approximately(retryAt - DateTime.toEpochMillis(attempts[0]!.ended_at!), 9000, 100)
      const messagesOf = (attempt?: number) =>
        Effect.map(runs.logs(id, { afterSeq: 0, limit: 100, attempt }), (entries) =>
          entries.map(({ seq, message }) => `${seq} ${message}`),
        )
      assert.deepStrictEqual(yield* messagesOf(1), [
        "1 one",
        "2 two",
        "3 Attempt 1 failed (slot.died); attempt 2 begins in 9.0 s.",
      ])
      assert.deepStrictEqual(
        (yield* messagesOf(2)).map((text) => text.slice(0, 14)),
        ["4 three", "5 Attempt 2 on"],
      )
      assert.deepStrictEqual(yield* messagesOf(3), [])
      assert.strictEqual((yield* messagesOf()).length, 5)
      assert.strictEqual(
        (yield* Effect.flip(runs.attempts("01890000-0000-7000-8000-000000000000" as RunId)))._tag,
        "RunNotFound",
      )
    }),
  )

  it.effect("in a way that cannot pass fails at once, whatever its policy; its last attempt says why", () =>
    Effect.gen(function* () {
      yield* fresh
      const runs = yield* RunRepository
      const { id } = yield* submit()
      const { lease } = yield* claimOne()
      yield* runs.fail(lease, failure("sql.error", policy({ maxRetries: 9 }), false))
      assert.strictEqual((yield* runs.find(id)).status, "failed")
      const [attempt] = yield* runs.attempts(id)
      assert.deepInclude(
        { ...attempt },
        { outcome: "failed", error_code: "sql.error", phase: "execute", retry_at: null },
      )
      assert.strictEqual(attempt!.phases.length, 1)
    }),
  )

  it.effect(
    "because of an outage is tried again without a policy, as often as the server allows; lost attempts are counted apart",
    () =>
      Effect.gen(function* () {
        yield* fresh
        const runs = yield* RunRepository
        const { id } = yield* submit()
        const outage = failure("store.unavailable", policy({ maxRetries: 0 }))
        for (let attempt = 1; attempt <= 3; attempt++) {
          const { lease } = yield* claimOne()
          assert.strictEqual(lease.attempt, attempt)
          yield* runs.fail(lease, outage)
          yield* makeDue
        }
        // One of two that may be lost.
        yield* loseLease((yield* claimOne()).lease)
        assert.strictEqual((yield* runs.find(id)).status, "pending")
        const fifth = yield* claimOne()
        assert.deepStrictEqual([fifth.lease.attempt, fifth.outageAttempts, fifth.lostAttempts], [5, 3, 1])
        yield* runs.fail(fifth.lease, outage)
        assert.deepInclude({ ...(yield* runs.find(id)) }, { status: "failed", error_code: "store.unavailable" })
      }),
  )

  it.effect("is told once: repeating the report of an attempt changes nothing, and an older one is refused", () =>
    Effect.gen(function* () {
      yield* fresh
      const runs = yield* RunRepository
      const { id } = yield* submit()
      const again = failure("slot.died", policy({ maxRetries: 3, delaySeconds: 0 }))
      const first = yield* claimOne()
      yield* Effect.all([runs.fail(first.lease, again), runs.fail(first.lease, again)], { concurrency: 2 })
      yield* makeDue
      const second = yield* claimOne()
      assert.strictEqual(second.failedAttempts, 1)
      yield* runs.fail(first.lease, again)
      const wrong = yield* Effect.flip(runs.succeed(first.lease, outcomeWithoutTable([])))
      assert.strictEqual(wrong._tag, "LeaseLost")
      assert.deepInclude({ ...(yield* runs.find(id)) }, { status: "running", attempt: 2 })
      yield* loseLease(second.lease)
      assert.strictEqual((yield* Effect.flip(runs.fail(second.lease, again)))._tag, "LeaseLost")
    }),
  )

  it.effect("can be cancelled while it waits, and stays as its attempt left it", () =>
    Effect.gen(function* () {
      yield* fresh
      const runs = yield* RunRepository
      const { id } = yield* submit()
      yield* runs.fail((yield* claimOne()).lease, failure("slot.died", policy({ maxRetries: 1 })))
      yield* runs.cancel(id)
      yield* makeDue
      assert.deepStrictEqual(yield* runs.claim("node-a", 1), [])
      const [attempt] = yield* runs.attempts(id)
      assert.deepInclude({ ...attempt }, { outcome: "failed", error_code: "slot.died", error: "because of slot.died" })
    }),
  )
})

const resolved = {
  version: 1,
  runId: "01890000-0000-7000-8000-000000000001",
  branch: "run-01890000-0000-7000-8000-000000000001",
  inputs: {
    startedAt: "2026-01-01T00:00:00.000Z",
    baseCommit: null,
    ownBase: null,
    watermark: "7",
    zones: [],
    digest: "d",
  },
  written: { files: ["a"] },
  committed: null,
  quality: null,
}

layer(
  RunRepository.layer.pipe(
    Layer.provideMerge(Layer.mergeAll(PipelineRepository.layer, FileRepository.layer)),
    Layer.provideMerge(testRuns({ maxAttempts: 3, leaseSeconds: 60 })),
  ),
  { excludeTestServices: true },
)("What a run has done", (it) => {
  it.effect("is there for its next attempt, and nobody but the newest attempt may say what it is", () =>
    Effect.gen(function* () {
      yield* fresh
      const runs = yield* RunRepository
      const { id } = yield* submit()
      const first = yield* claimOne()
      assert.isNull(first.checkpoint)
      yield* runs.report({ lease: first.lease, phase: "resolve", logs: [line(1, "no checkpoint")] })
      assert.deepStrictEqual(yield* checkpointsOf(id), [])
      // Two of one attempt in one group: the newer one counts.
      yield* Effect.all(
        [{ n: 1 }, { n: 2 }, { ...resolved, text: "a\0b" }].map((checkpoint) =>
          runs.report({ lease: first.lease, phase: "execute", logs: [], checkpoint }),
        ),
        { concurrency: "unbounded" },
      )
      assert.deepStrictEqual(yield* checkpointsOf(id), [{ attempt: 1, checkpoint: { ...resolved, text: "ab" } }])
      yield* loseLease(first.lease)
      const late = yield* Effect.flip(
        runs.report({ lease: first.lease, phase: "write", logs: [], checkpoint: { late: true } }),
      )
      assert.strictEqual(late._tag, "LeaseLost")
      const second = yield* claimOne()
      assert.deepStrictEqual(second.checkpoint, { ...resolved, text: "ab" })
      const tooLong = { text: "x".repeat(5_000_000) }
      yield* runs.report({ lease: second.lease, phase: "write", logs: [], checkpoint: tooLong })
      assert.strictEqual((yield* checkpointsOf(id))[0]?.attempt, 1)
    }),
  )

  it.effect("goes with the success of a run, and otherwise with its branch", () =>
    Effect.gen(function* () {
      yield* fresh
      const sql = yield* SqlClient.SqlClient
      const runs = yield* RunRepository
      const pipelines = yield* PipelineRepository
      const pipeline = yield* pipelines.create(
        new PipelineCreate({ namespace, layer: "silver", name: PipelineName.make("kept") }),
      )
      const { id } = yield* submit({ kind: "pipeline", pipelineId: pipeline.id })
      const { lease } = yield* claimOne()
      yield* runs.report({ lease, phase: "execute", logs: [], checkpoint: resolved })
      yield* runs.fail(lease, failure("sql.error", policy({}), false))
      assert.strictEqual(yield* runs.collectBranches(), 0)
      assert.strictEqual((yield* checkpointsOf(id)).length, 1)

      // Resumed from there by hand.
      const repeat: RunRepeat = { of: id, resume: true }
      const next = yield* submit({ ...(yield* runs.repeatable(repeat)), repeat })
      assert.deepStrictEqual(yield* checkpointsOf(next.id), [{ attempt: 0, checkpoint: resolved }])
      yield* runs.cancel(next.id)

      yield* sql`update run set branch_expires_at = now() - interval '1 second' where id = ${id}`
      assert.strictEqual(yield* runs.collectBranches(), 1)
      assert.deepStrictEqual(yield* checkpointsOf(id), [])
      assert.deepInclude(yield* Effect.flip(runs.repeatable(repeat)), {
        _tag: "RunNotRepeatable",
        reason: "no_checkpoint",
      })
      // It was never claimed, so that no branch takes its checkpoint along.
      yield* runs.prune()
      assert.deepStrictEqual(yield* checkpointsOf(next.id), [])
    }),
  )

  it.effect("can be repeated with the same code, inputs, parameters and moment, though all of it has changed", () =>
    Effect.gen(function* () {
      yield* fresh
      const runs = yield* RunRepository
      const pipelines = yield* PipelineRepository
      const files = yield* FileRepository
      const pipeline = yield* pipelines.create(
        new PipelineCreate({ namespace, layer: "silver", name: PipelineName.make("again") }),
      )
      const path = FilePath.make("default/pipelines/silver/again/pipeline.sql")
      yield* files.write(path, new TextEncoder().encode("select 1 as n"))
      const logicalTime = DateTime.makeUnsafe("2025-12-31T23:00:00Z")
      const parameters = { day: "2025-12-31", deep: [1, { a: null }] }
      const wish = { kind: "pipeline", pipelineId: pipeline.id, parameters, logicalTime } as const
      const old = yield* submit(wish)
      assert.deepInclude(yield* Effect.flip(runs.repeatable({ of: old.id, resume: false })), { reason: "active" })
      const first = yield* claimOne()
      assert.deepStrictEqual([first.parameters, first.logicalTime], [parameters, logicalTime])
      yield* runs.report({ lease: first.lease, phase: "write", logs: [], checkpoint: resolved })
      yield* runs.fail(first.lease, failure("slot.died", policy({ maxRetries: 1, delaySeconds: 0 })))
      yield* makeDue
      const second = yield* claimOne()
      assert.deepStrictEqual([second.parameters, second.logicalTime], [parameters, logicalTime])
      yield* runs.fail(second.lease, failure("sql.error", policy({}), false))
      yield* files.write(path, new TextEncoder().encode("select 2 as n"))

      const target = yield* runs.repeatable({ of: old.id, resume: false })
      const next = yield* submit({ ...target, parameters: { day: "wrong" }, repeat: { of: old.id, resume: false } })
      assert.deepInclude(
        { ...next },
        { status: "pending", retry_of: old.id, parameters, logical_time: logicalTime, code_version: old.code_version },
      )
      const claimed = yield* claimOne()
      assert.deepStrictEqual(claimed.target!.files, first.target!.files)
      // The inputs, but nothing of what was made of them.
      assert.deepStrictEqual(claimed.checkpoint, { ...resolved, written: null })
      assert.deepStrictEqual([claimed.failedAttempts, claimed.lease.attempt], [0, 1])
      yield* runs.succeed(claimed.lease, outcomeWithoutTable([]))
      assert.deepInclude(yield* Effect.flip(runs.repeatable({ of: next.id, resume: true })), { reason: "succeeded" })

      const fresher = yield* submit({ kind: "pipeline", pipelineId: pipeline.id })
      assert.notStrictEqual(fresher.code_version, old.code_version)
      assert.deepStrictEqual(fresher.logical_time, fresher.created_at)
    }),
  )
})
