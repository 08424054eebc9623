import { createServer } from "node:http"
import { NodeHttpServer } from "@effect/platform-node"
import { assert, layer } from "@effect/vitest"
import {
  type ClaimedRun,
  defaultRetryPolicy,
  LogEntry,
  NamespaceName,
  outcomeWithoutTable,
  PipelineCreate,
  PipelineName,
  QualityResult,
  RetryPolicy,
  RunControlRpc,
  RunFailure,
  RunsApi,
} from "@rat/domain"
import { Duration, Effect, Layer, Queue } from "effect"
import { HttpRouter, HttpServer } from "effect/http"
import { HttpApi, HttpApiBuilder } from "effect/http-api"
import { RpcTest } from "effect/rpc"
import { SqlClient } from "effect/sql"
import { ActorRuntime } from "../cluster/ActorRuntime.ts"
import { PipelineEntityLayer } from "../pipeline/PipelineEntity.ts"
import { PipelineRepository } from "../pipeline/PipelineRepository.ts"
import { LogStreams } from "./LogStream.ts"
import { RunControl } from "./RunControl.ts"
import { RunEntityLayer } from "./RunEntity.ts"
import { RunRepository } from "./RunRepository.ts"
import { RunsHttp } from "./RunsHttp.ts"
import { testRuns } from "./TestRuns.ts"

/** The contract's group that these tests serve, under the contract's own id. */
const Served = HttpRouter.serve(HttpApiBuilder.layer(HttpApi.make("rat").add(RunsApi)).pipe(Layer.provide(RunsHttp)), {
  disableLogger: true,
  disableListenLog: true,
}).pipe(Layer.provideMerge(NodeHttpServer.layer(createServer, { port: 0, host: "127.0.0.1" })))

/** The server stands on the actors, so it closes before them. */
const TestServer = Served.pipe(
  Layer.provideMerge(Layer.mergeAll(PipelineEntityLayer, RunEntityLayer, RunControl.layer)),
  Layer.provideMerge(ActorRuntime.layerSingle),
  Layer.provideMerge(Layer.mergeAll(RunRepository.layer, PipelineRepository.layer, LogStreams.layer)),
  Layer.provideMerge(
    testRuns({
      maxPendingPerPipeline: 2,
      streamsPerClient: 3,
      streamHeartbeat: Duration.millis(80),
      streamMaxLife: Duration.millis(1500),
    }),
  ),
)

interface Answer {
  readonly status: number
  readonly headers: Headers
  // biome-ignore lint/suspicious/noExplicitAny: whatever the server says is what the test looks at
  readonly body: any
}

const baseUrl = Effect.map(
  HttpServer.HttpServer,
  (server) => `http://127.0.0.1:${(server.address as { port: number }).port}/api/v1/runs`,
)

const call = (method: string, path = "", options: { body?: unknown; headers?: Record<string, string> } = {}) =>
  Effect.flatMap(baseUrl, (base) =>
    Effect.promise(async (): Promise<Answer> => {
      const response = await fetch(`${base}${path}`, {
        method,
        headers: { "content-type": "application/json", ...options.headers },
        ...(options.body === undefined ? {} : { body: JSON.stringify(options.body) }),
      })
      return { status: response.status, headers: response.headers, body: await response.json() }
    }),
  )

const post = (body: unknown, headers: Record<string, string> = {}) => call("POST", "", { body, headers })

interface Received {
  readonly event: string
  readonly id: string | undefined
  // biome-ignore lint/suspicious/noExplicitAny: the JSON of an event
  readonly data: any
}

/** A client of a log stream: its events in a queue, comments too, until the server or the scope closes it. */
const follow = (runId: string, headers: Record<string, string> = {}) =>
  Effect.gen(function* () {
    const base = yield* baseUrl
    const abort = new AbortController()
    const response = yield* Effect.promise(() =>
      fetch(`${base}/${runId}/logs`, { headers: { accept: "text/event-stream", ...headers }, signal: abort.signal }),
    )
    const events = yield* Queue.unbounded<Received | "comment" | "closed">()
    yield* Effect.addFinalizer(() => Effect.sync(() => abort.abort()))
    const read = async () => {
      let text = ""
      try {
        for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
          text += chunk
          const blocks = text.split("\n\n")
          text = blocks.pop() ?? ""
          for (const block of blocks) Queue.offerUnsafe(events, parse(block))
        }
      } catch {
        // Aborted by the end of the test.
      }
      Queue.offerUnsafe(events, "closed")
    }
    void read()
    return { status: response.status, headers: response.headers, events }
  })

const parse = (block: string): Received | "comment" => {
  if (block.startsWith(":")) return "comment"
  const field = (name: string) =>
    block
      .split("\n")
      .find((line) => line.startsWith(`${name}: `))
      ?.slice(name.length + 2)
  return { event: field("event") ?? "", id: field("id"), data: JSON.parse(field("data") ?? "null") }
}

/** Next event that is not a comment, in short: `log 3 text`, `status running`, `closed`. */
const next = (events: Queue.Dequeue<Received | "comment" | "closed">): Effect.Effect<string> =>
  Effect.flatMap(Queue.take(events), (item) => {
    if (item === "comment") return next(events)
    if (item === "closed") return Effect.succeed(item)
    return Effect.succeed(
      item.event === "log"
        ? `log ${item.id} ${item.data.message}`
        : `${item.event} ${item.data.status ?? item.data.code}`,
    )
  }).pipe(Effect.timeout("5 seconds"), Effect.orDie)

const line = (seq: number, message: string) =>
  new LogEntry({ seq, timestamp: "2026-01-02T03:04:05.678Z", level: "info", message, phase: "execute" })

const nothing = outcomeWithoutTable([])

/** Puts a run into the queue and gives it to the test as if it were a runner. */
const running = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`delete from run`
  const control = yield* RpcTest.makeClient(RunControlRpc)
  const accepted = yield* post({ namespace: "default", kind: "noop" })
  const [claimed] = yield* control.Claim({ node: "node", limit: 1 })
  assert.strictEqual(claimed?.lease.runId, accepted.body.run_id)
  return { control, claimed: claimed as ClaimedRun, runId: accepted.body.run_id as string }
})

layer(TestServer, { excludeTestServices: true })("RunsHttp", (it) => {
  it.effect("an accepted run answers 202, is durable and can be read, listed and cancelled", () =>
    Effect.gen(function* () {
      const accepted = yield* post({ namespace: "default", kind: "noop", trigger: "pg-sync:manual" })
      assert.deepStrictEqual([accepted.status, accepted.body.status], [202, "pending"])
      const id = accepted.body.run_id
      const run = yield* call("GET", `/${id}`)
      assert.strictEqual(run.status, 200)
      assert.deepInclude(run.body, {
        id,
        status: "pending",
        trigger: "pg-sync:manual",
        kind: "noop",
        queue_position: 1,
      })
      const list = yield* call("GET", "?status=pending&limit=1")
      assert.deepStrictEqual([list.body.total, list.body.runs.map((item: { id: string }) => item.id)], [1, [id]])
      const cancelled = yield* call("POST", `/${id}/cancel`)
      assert.deepStrictEqual([cancelled.status, cancelled.body], [200, { run_id: id, status: "cancelled" }])
      const again = yield* call("POST", `/${id}/cancel`)
      assert.strictEqual(again.status, 409)
      assert.match(again.body.error.message, /already ended with status "cancelled"/)
    }),
  )

  it.effect("what cannot run is refused with the reason and its status", () =>
    Effect.gen(function* () {
      const unknown = "01a2109c-4fca-724a-b1c5-831834c39bc2"
      const cases: ReadonlyArray<readonly [Effect.Effect<Answer, never, HttpServer.HttpServer>, number, RegExp]> = [
        [post({ namespace: "default", layer: "gold", pipeline: "nope" }), 404, /"default\.gold\.nope" does not exist/],
        [post({ namespace: "nowhere", kind: "noop" }), 404, /Namespace "nowhere"/],
        [post({ namespace: "default" }), 400, /Name what to run/],
        [post({ namespace: "default", kind: "noop", layer: "gold", pipeline: "x" }), 400, /has no pipeline/],
        [call("GET", `/${unknown}`), 404, /does not exist/],
        [call("POST", `/${unknown}/cancel`), 404, /does not exist/],
        [call("GET", `/${unknown}/logs`), 404, /does not exist/],
        [call("GET", `/${unknown}/logs`, { headers: { accept: "text/event-stream" } }), 404, /does not exist/],
        [call("GET", `/${unknown}/quality`), 404, /does not exist/],
        [call("GET", `/${unknown}/attempts`), 404, /does not exist/],
        [call("POST", `/${unknown}/retry`), 404, /does not exist/],
        [call("POST", "/nonsense/resume"), 404, /"nonsense" does not exist/],
      ]
      for (const [request, status, message] of cases) {
        const answer = yield* request
        assert.strictEqual(answer.status, status)
        assert.match(answer.body.error.message, message)
      }
    }),
  )

  it.effect(
    "a run keeps parameters and moment in all attempts, which can be looked at one by one, and repeated by hand",
    () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        yield* sql`delete from run`
        const control = yield* RpcTest.makeClient(RunControlRpc)
        const given = { parameters: { day: "2025-12-31", n: 1.5 }, logical_time: "2025-12-31T00:00:00.000Z" }
        const accepted = yield* post({ namespace: "default", kind: "noop", ...given })
        const id = accepted.body.run_id as string
        const early = yield* call("POST", `/${id}/retry`)
        assert.deepStrictEqual(
          [early.status, early.body.error.code, early.body.error.details],
          [409, "NOT_REPEATABLE", { reason: "active" }],
        )
        const fail = Effect.fnUntraced(function* (attempt: number, code: string) {
          yield* sql`update run_queue set eligible_at = now() where eligible_at is not null`
          const [claimed] = yield* control.Claim({ node: `node-${attempt}`, limit: 1 })
          const { lease, parameters } = claimed!
          assert.deepStrictEqual([lease.attempt, parameters], [attempt, given.parameters])
          yield* control.Report({ lease, phase: "execute", logs: [line(1, `try ${attempt}`)], checkpoint: { attempt } })
          const retry = new RetryPolicy({ ...defaultRetryPolicy, maxRetries: 1 })
          const failure = { error: "no", code, phase: "execute", phases: [], quality: [], retry } as const
          yield* control.Fail({ lease, failure: new RunFailure({ ...failure, retryable: true }) })
        })
        yield* fail(1, "slot.died")
        const waiting = yield* call("GET", `/${id}`)
        assert.deepInclude(waiting.body, { status: "pending", error: null, ...given })
        assert.isAbove(Date.parse(waiting.body.retry_at), Date.now() + 20_000)
        yield* fail(2, "slot.died")

        const { body } = yield* call("GET", `/${id}/attempts`)
        assert.deepStrictEqual(
          body.attempts.map((attempt: Record<string, unknown>) => [
            attempt.attempt,
            attempt.node,
            attempt.outcome,
            attempt.error_code,
          ]),
          [
            [1, "node-1", "failed", "slot.died"],
            [2, "node-2", "failed", "slot.died"],
          ],
        )
        assert.deepStrictEqual([body.total, body.attempts[0].retry_at], [2, waiting.body.retry_at])
        const logs = yield* call("GET", `/${id}/logs?attempt=2`)
        assert.deepStrictEqual(
          logs.body.logs.map((entry: { message: string }) => entry.message),
          ["try 2"],
        )

        const repeated = yield* call("POST", `/${id}/retry`, { headers: { "idempotency-key": "again" } })
        assert.deepStrictEqual([repeated.status, repeated.body.status, repeated.body.retry_of], [202, "pending", id])
        const same = yield* call("POST", `/${id}/retry`, { headers: { "idempotency-key": "again" } })
        assert.strictEqual(same.body.run_id, repeated.body.run_id)
        const next = yield* call("GET", `/${repeated.body.run_id}`)
        assert.deepInclude(next.body, { retry_of: id, trigger: `retry:${id}`, attempt: 0, ...given })
        yield* call("POST", `/${repeated.body.run_id}/cancel`)
        const reused = yield* call("POST", `/${repeated.body.run_id}/retry`, {
          headers: { "idempotency-key": "again" },
        })
        assert.strictEqual(reused.body.error.code, "IDEMPOTENCY_KEY_REUSED")

        const resumed = yield* call("POST", `/${id}/resume`)
        assert.strictEqual(resumed.status, 202)
        const [claimed] = yield* control.Claim({ node: "node", limit: 1 })
        assert.deepStrictEqual([claimed?.lease.runId, claimed?.checkpoint], [resumed.body.run_id, { attempt: 2 }])
        yield* control.Succeed({ lease: claimed!.lease, outcome: nothing })
        const over = yield* call("POST", `/${resumed.body.run_id}/resume`)
        assert.deepStrictEqual([over.status, over.body.error.details], [409, { reason: "succeeded" }])
        assert.match(over.body.error.message, /Use retry/)
        yield* sql`delete from run_checkpoint`
        const gone = yield* call("POST", `/${id}/resume`)
        assert.deepStrictEqual([gone.status, gone.body.error.details], [409, { reason: "no_checkpoint" }])
      }),
  )

  it.effect("a full queue answers 429 with Retry-After, and a key makes one run only", () =>
    Effect.gen(function* () {
      const pipelines = yield* PipelineRepository
      const namespace = NamespaceName.make("default")
      for (const name of ["full", "other"]) {
        yield* pipelines.create(new PipelineCreate({ namespace, layer: "gold", name: PipelineName.make(name) }))
      }
      const wish = { namespace, layer: "gold", pipeline: "full" }
      const first = yield* post(wish, { "idempotency-key": "abc" })
      const repeated = yield* post(wish, { "idempotency-key": "abc" })
      assert.deepStrictEqual([repeated.status, repeated.body.run_id], [202, first.body.run_id])
      const reused = yield* post({ ...wish, pipeline: "other" }, { "idempotency-key": "abc" })
      assert.deepStrictEqual([reused.status, reused.body.error.code], [409, "IDEMPOTENCY_KEY_REUSED"])
      assert.strictEqual((yield* post(wish)).status, 202)
      const full = yield* post(wish)
      assert.deepStrictEqual([full.status, full.body.error.code], [429, "RESOURCE_EXHAUSTED"])
      assert.isNotNull(full.headers.get("retry-after"))
      assert.match(full.body.error.message, /pipeline "default\.gold\.full" already has 2 pending runs/)
    }),
  )

  it.effect(
    "logs arrive as they are written, with their numbers as ids, and the stream ends behind the last status",
    () =>
      Effect.gen(function* () {
        const { control, claimed, runId } = yield* running
        yield* control.Report({ lease: claimed.lease, phase: "execute", logs: [line(1, "stored"), line(2, "before")] })
        const { status, headers, events } = yield* follow(runId)
        assert.deepStrictEqual([status, headers.get("content-type")], [200, "text/event-stream"])
        assert.deepStrictEqual(
          [yield* next(events), yield* next(events), yield* next(events)],
          ["log 1 stored", "log 2 before", "status running"],
        )
        const startedAt = performance.now()
        yield* control.Report({ lease: claimed.lease, phase: "execute", logs: [line(3, "live")] })
        assert.strictEqual(yield* next(events), "log 3 live")
        yield* control.Succeed({ lease: claimed.lease, outcome: nothing })
        assert.strictEqual(yield* next(events), "status success")
        assert.strictEqual(yield* next(events), "closed")
        assert.isBelow(performance.now() - startedAt, 1000)
      }),
  )

  it.effect("a pipeline that was deleted is refused, and one made anew under its name runs", () =>
    Effect.gen(function* () {
      const pipelines = yield* PipelineRepository
      const address = {
        namespace: NamespaceName.make("default"),
        layer: "gold",
        name: PipelineName.make("again"),
      } as const
      const wish = { namespace: "default", layer: "gold", pipeline: "again" }
      const make = pipelines.create(new PipelineCreate(address))
      yield* make
      const first = yield* post(wish)
      assert.strictEqual(first.status, 202)
      yield* pipelines.remove(address)
      const refused = yield* post(wish)
      assert.deepStrictEqual([refused.status, refused.body.error.code], [404, "NOT_FOUND"])
      yield* make
      yield* post(wish)
      yield* pipelines.remove(address)
      const last = yield* make
      const accepted = yield* post(wish)
      assert.strictEqual(accepted.status, 202)
      const run = yield* call("GET", `/${accepted.body.run_id}`)
      assert.strictEqual(run.body.pipeline_id, last.id)
    }),
  )

  it.effect("a client that comes back with Last-Event-ID gets what it missed and nothing twice", () =>
    Effect.gen(function* () {
      const { control, claimed, runId } = yield* running
      yield* control.Report({ lease: claimed.lease, phase: null, logs: [line(1, "a"), line(2, "b"), line(3, "c")] })
      const first = yield* Effect.scoped(
        Effect.gen(function* () {
          const { events } = yield* follow(runId)
          return [yield* next(events), yield* next(events)]
        }),
      )
      assert.deepStrictEqual(first, ["log 1 a", "log 2 b"])
      yield* control.Report({ lease: claimed.lease, phase: null, logs: [line(4, "d")] })
      const { events } = yield* follow(runId, { "last-event-id": "2" })
      yield* control.Report({ lease: claimed.lease, phase: null, logs: [line(4, "d"), line(5, "e")] })
      yield* control.Fail({
        lease: claimed.lease,
        failure: new RunFailure({ error: "no", code: "sql.error", phase: "execute", phases: [], quality: [] }),
      })
      const rest: Array<string> = []
      while (rest.at(-1) !== "closed") rest.push(yield* next(events))
      assert.deepStrictEqual(
        rest.filter((item) => item !== "status running"),
        ["log 3 c", "log 4 d", "log 5 e", "status failed", "closed"],
      )

      // A finished run's log is all there at once, as a stream and as JSON.
      const late = yield* follow(runId, { "last-event-id": "4" })
      assert.deepStrictEqual(
        [yield* next(late.events), yield* next(late.events), yield* next(late.events)],
        ["log 5 e", "status failed", "closed"],
      )
      const json = yield* call("GET", `/${runId}/logs`)
      assert.strictEqual(json.body.status, "failed")
      assert.deepStrictEqual(json.body.logs[0], {
        seq: 1,
        timestamp: "2026-01-02T03:04:05.678Z",
        level: "info",
        message: "a",
        phase: "execute",
      })
    }),
  )

  it.effect("a quiet stream sends comments, and one that is too old says so before it ends", () =>
    Effect.gen(function* () {
      const { runId } = yield* running
      const { events } = yield* follow(runId)
      const seen: Array<string> = []
      while (seen.at(-1) !== "closed") {
        const item = yield* Queue.take(events)
        seen.push(typeof item === "string" ? item : `${item.event} ${item.data.status ?? item.data.code}`)
      }
      assert.strictEqual(seen[0], "status running")
      assert.deepStrictEqual(seen.slice(-2), ["error TIMEOUT", "closed"])
      assert.isAtLeast(seen.filter((item) => item === "comment").length, 3)
    }),
  )

  it.effect("a client may have so many streams, and one that leaves makes room", () =>
    Effect.gen(function* () {
      const { runId } = yield* running
      const streams = yield* LogStreams
      // Streams of the tests before end when their clients' goodbye arrives.
      yield* waitFor(Effect.map(streams.open, (open) => open === 0))
      yield* Effect.scoped(
        Effect.gen(function* () {
          for (let index = 0; index < 3; index++) assert.strictEqual((yield* follow(runId)).status, 200)
          const refused = yield* call("GET", `/${runId}/logs`, { headers: { accept: "text/event-stream" } })
          assert.deepStrictEqual([refused.status, refused.body.error.code], [429, "RESOURCE_EXHAUSTED"])
          // Reading without following needs no stream.
          assert.strictEqual((yield* call("GET", `/${runId}/logs`)).status, 200)
        }),
      )
      yield* waitFor(Effect.map(streams.open, (open) => open === 0))
      yield* Effect.scoped(Effect.map(follow(runId), ({ status }) => assert.strictEqual(status, 200)))
      yield* waitFor(Effect.map(streams.open, (open) => open === 0))
    }),
  )

  it.effect("quality results are data: name, outcome, sample and counts", () =>
    Effect.gen(function* () {
      const { control, claimed, runId } = yield* running
      const result = (name: string, status: QualityResult["status"], severity: QualityResult["severity"]) =>
        new QualityResult({
          name,
          status,
          severity,
          description: "d",
          tags: ["t"],
          remediation: "r",
          violations: 1,
          sample_columns: [{ name: "n", type: "BIGINT" }],
          sample_rows: [["1"]],
          error: null,
          duration_ms: 2,
        })
      const quality = [result("b", "warned", "warn"), result("a", "passed", "error"), result("c", "failed", "error")]
      yield* control.Fail({
        lease: claimed.lease,
        failure: new RunFailure({ error: "c failed", code: "quality.failed", phase: "test", phases: [], quality }),
      })
      const { body } = yield* call("GET", `/${runId}/quality`)
      assert.deepStrictEqual([body.total, body.passed, body.failed], [3, 1, 1])
      assert.deepStrictEqual(
        body.results.map((item: { name: string }) => item.name),
        ["a", "b", "c"],
      )
      assert.deepInclude(body.results[1], { status: "warned", violations: 1, sample_rows: [["1"]] })
    }),
  )
})

const waitFor = (condition: Effect.Effect<boolean>): Effect.Effect<void> =>
  Effect.flatMap(condition, (holds) =>
    holds ? Effect.void : Effect.andThen(Effect.sleep("5 millis"), waitFor(condition)),
  ).pipe(Effect.timeout("5 seconds"), Effect.orDie)
