import { assert, describe, it } from "@effect/vitest"
import { Effect, Metric } from "effect"
import { PrometheusMetrics } from "effect/observability"
import {
  countClaims,
  countHttpRequest,
  countQuery,
  countRun,
  openStream,
  processMetrics,
  setEventRelayLag,
  setPgPool,
  setQueueDepth,
} from "./Metrics.ts"

const isolated = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.provideService(effect, Metric.MetricRegistry, new Map())

describe("Metrics", () => {
  it.effect("shows every metric in the Prometheus text format, with labels and buckets", () =>
    Effect.gen(function* () {
      yield* countRun("success", 1200)
      yield* countRun("failed", 40)
      yield* countRun("success", 30)
      yield* countClaims(3)
      yield* setQueueDepth(7)
      yield* countQuery("error", 12)
      yield* countHttpRequest({ route: "/api/v1/runs/:runId", method: "GET", status: 404, durationMs: 3 })
      yield* setPgPool({ total: 5, idle: 4, waiting: 0 })
      yield* setEventRelayLag(250)
      const text = yield* PrometheusMetrics.format()
      for (const line of [
        "# TYPE rat_runs_total counter",
        'rat_runs_total{status="success"} 2',
        'rat_runs_total{status="failed"} 1',
        "rat_claims_total 3",
        "rat_queue_depth 7",
        'rat_queries_total{status="error"} 1',
        'rat_http_requests_total{route="/api/v1/runs/:runId",method="GET",status="404"} 1',
        'rat_pg_pool_connections{state="idle"} 4',
        "rat_event_relay_lag_seconds 0.25",
        "# TYPE rat_run_duration_seconds histogram",
      ]) {
        assert.include(text.split("\n"), line)
      }
      assert.match(text, /rat_run_duration_seconds_bucket\{status="success",le="\+Inf"\} 2/)
      assert.match(text, /rat_run_duration_seconds_bucket\{status="success",le="0\.05"\} 1/)
    }).pipe(isolated),
  )

  it.effect("counts a stream while its scope lasts", () =>
    Effect.gen(function* () {
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* openStream
          assert.include(yield* PrometheusMetrics.format(), "rat_sse_connections 1")
        }),
      )
      assert.include(yield* PrometheusMetrics.format(), "rat_sse_connections 0")
    }).pipe(isolated),
  )

  it.effect("reads the state of the process when asked, while its layer lives", () =>
    Effect.gen(function* () {
      const inside = yield* PrometheusMetrics.format().pipe(
        Effect.provide(processMetrics({ version: "1.2.3", gitCommit: "abc" })),
      )
      assert.match(inside, /rat_info\{version="1\.2\.3",git_commit="abc",node_version="v\d+\.\d+\.\d+"\} 1/)
      assert.match(inside, /rat_process_resident_memory_bytes [1-9]\d+/)
      assert.notInclude(yield* PrometheusMetrics.format(), "rat_process_resident_memory_bytes")
    }).pipe(isolated),
  )
})
