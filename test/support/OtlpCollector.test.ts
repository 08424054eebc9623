import { assert, describe, it } from "@effect/vitest"
import { countHttpRequest, countRun, Telemetry } from "@rat/server"
import { ConfigProvider, Effect, Layer, Redacted, Tracer } from "effect"
import { OtlpCollector, rootsOf } from "./OtlpCollector.ts"

/** Runs `work` inside telemetry that exports to the collector of the test; what it produced has arrived afterwards. */
const exporting = <A, E>(work: Effect.Effect<A, E>, environment: Record<string, string> = {}) =>
  Effect.gen(function* () {
    const collector = yield* OtlpCollector
    const provider = ConfigProvider.fromEnv({
      env: { OTEL_EXPORTER_OTLP_ENDPOINT: collector.endpoint, ...environment },
    })
    yield* Effect.provide(work, Telemetry.layer({ logFormat: "json", version: "1.2.3", node: "node-a" })).pipe(
      Effect.provideService(ConfigProvider.ConfigProvider, provider),
    )
    return collector
  })

const work = Effect.gen(function* () {
  yield* Effect.logInfo("Run claimed").pipe(
    Effect.annotateLogs({ run_id: "r1", db_password: "hunter2", url: "postgres://rat:hunter2@db/rat" }),
  )
  yield* Effect.void.pipe(
    Effect.withSpan("Catalog.commit", {
      attributes: { table: "gold.flights", client_secret: Redacted.make("hunter2") },
    }),
  )
  yield* countRun("success", 1500)
  yield* countHttpRequest({ route: "/api/v1/runs", method: "POST", status: 202, durationMs: 4 })
}).pipe(Effect.withSpan("RunEntity.submit"))

describe("Telemetry", () => {
  for (const protocol of ["http/protobuf", "http/json"]) {
    it.live(`sends one connected trace with its logs and metrics to the collector over ${protocol}`, () =>
      Effect.gen(function* () {
        const { logs, malformed, points, spans } = yield* exporting(work, { OTEL_EXPORTER_OTLP_PROTOCOL: protocol })
        assert.deepStrictEqual(malformed, [])

        const submit = spans.find(({ name }) => name === "RunEntity.submit")!
        const commit = spans.find(({ name }) => name === "Catalog.commit")!
        assert.strictEqual(commit.parentSpanId, submit.spanId)
        assert.deepStrictEqual(rootsOf(spans, submit.traceId), [submit])
        assert.isTrue(submit.endTime >= commit.endTime && commit.startTime >= submit.startTime)
        assert.strictEqual(submit.resource["service.name"], "rat")
        assert.strictEqual(submit.resource["service.version"], "1.2.3")
        assert.strictEqual(submit.resource["service.instance.id"], "node-a")
        assert.strictEqual(commit.attributes.table, "gold.flights")

        const [claimed] = logs.filter(({ body }) => body === "Run claimed")
        assert.strictEqual(claimed?.traceId, submit.traceId)
        assert.strictEqual(claimed?.spanId, submit.spanId)
        assert.strictEqual(claimed?.attributes.run_id, "r1")

        const run = points.findLast(({ name }) => name === "rat_runs_total")
        assert.deepStrictEqual(run?.attributes.status, "success")
        assert.isAtLeast(run?.value ?? 0, 1)
        assert.isDefined(points.find(({ name }) => name === "rat_http_request_duration_seconds"))
      }).pipe(Effect.provide(OtlpCollector.layer)),
    )
  }

  it.live("sends no secret, neither in logs nor in spans", () =>
    Effect.gen(function* () {
      const { logs, spans } = yield* exporting(work)
      assert.notInclude(JSON.stringify([logs, spans.map(({ attributes }) => attributes)]), "hunter2")
      assert.strictEqual(logs[0]?.attributes.db_password, "[redacted]")
    }).pipe(Effect.provide(OtlpCollector.layer)),
  )

  it.live("joins the trace that a request brought along", () =>
    Effect.gen(function* () {
      const parent = Tracer.externalSpan({
        traceId: "0af7651916cd43dd8448eb211c80319c",
        spanId: "b7ad6b7169203331",
        sampled: true,
      })
      const { spans } = yield* exporting(Effect.withParentSpan(work, parent))
      const [root, ...others] = rootsOf(spans, parent.traceId)
      assert.strictEqual(root?.name, "RunEntity.submit")
      assert.strictEqual(root?.parentSpanId, parent.spanId)
      assert.deepStrictEqual(others, [])
    }).pipe(Effect.provide(OtlpCollector.layer)),
  )

  it.live("keeps the share of traces that the sampler says, whole traces only", () =>
    Effect.gen(function* () {
      const quiet = Effect.void.pipe(Effect.withSpan("inner"), Effect.withSpan("outer"))
      const { spans } = yield* exporting(Effect.repeat(quiet, { times: 199 }), {
        OTEL_TRACES_SAMPLER: "parentbased_traceidratio",
        OTEL_TRACES_SAMPLER_ARG: "0.25",
      })
      const traces = Map.groupBy(spans, ({ traceId }) => traceId)
      assert.isAbove(traces.size, 10)
      assert.isBelow(traces.size, 100)
      for (const trace of traces.values()) assert.strictEqual(trace.length, 2)
    }).pipe(Effect.provide(OtlpCollector.layer)),
  )

  it.live("sends nothing without an endpoint, and nothing of a signal that is switched off", () =>
    Effect.gen(function* () {
      const without = yield* exporting(work, { OTEL_EXPORTER_OTLP_ENDPOINT: "" })
      assert.deepStrictEqual([without.spans.length, without.logs.length, without.points.length], [0, 0, 0])
      const tracesOnly = yield* exporting(work, { OTEL_LOGS_EXPORTER: "none", OTEL_METRICS_EXPORTER: "none" })
      assert.deepStrictEqual([tracesOnly.spans.length, tracesOnly.logs.length, tracesOnly.points.length], [2, 0, 0])
    }).pipe(Effect.provide(OtlpCollector.layer)),
  )

  it.live("refuses a protocol that it does not speak, and says which it does", () =>
    Effect.gen(function* () {
      const refused = yield* Effect.flip(exporting(work, { OTEL_EXPORTER_OTLP_PROTOCOL: "grpc" }))
      assert.include(refused.message, "http/protobuf or http/json")
    }).pipe(Effect.provide(OtlpCollector.layer)),
  )

  it.live("ends in time and quietly when the collector is away", () =>
    Effect.gen(function* () {
      const started = Date.now()
      yield* exporting(work, { OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:1", OTEL_EXPORTER_OTLP_TIMEOUT: "300" })
      assert.isBelow(Date.now() - started, 4000)
    }).pipe(Effect.provide(Layer.fresh(OtlpCollector.layer))),
  )
})
