import { monitorEventLoopDelay } from "node:perf_hooks"
import { labelled, observed } from "@rat/lakehouse"
import { Effect, Layer, Metric } from "effect"

/**
 * The metrics of the server's rooms. Those of the lakehouse, runner and query live in their own rooms; all of them are
 * exported by OTLP and at `/metrics`. Durations are in seconds, as Prometheus wants them.
 */

const seconds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300]
const counter = (name: string, description: string) => Metric.counter(name, { description, incremental: true })
const gauge = (name: string, description: string) => Metric.gauge(name, { description })
const histogram = (name: string, description: string) => Metric.histogram(name, { description, boundaries: seconds })

const runs = labelled<"status", number, unknown>(counter("rat_runs_total", "Runs that ended, by final status"))
const runDuration = labelled<"status", number, unknown>(
  histogram("rat_run_duration_seconds", "From a run's first start to its end"),
)
const queueDepth = gauge("rat_queue_depth", "Runs that wait to be claimed")
const claims = counter("rat_claims_total", "Runs handed to runners, hand-overs included")
const queries = labelled<"status", number, unknown>(counter("rat_queries_total", "Interactive queries by outcome"))
const queryDuration = histogram("rat_query_duration_seconds", "From the request of a query to the end of its answer")
const requests = labelled<"route" | "method" | "status", number, unknown>(
  counter("rat_http_requests_total", "HTTP requests by route pattern, method and status"),
)
const requestDuration = labelled<"route" | "method", number, unknown>(
  histogram("rat_http_request_duration_seconds", "Duration of HTTP requests until the answer's headers"),
)
const cachedAnswers = labelled<"result", number, unknown>(
  counter("rat_http_cache_total", "GETs of what is kept in memory: answered with 304, from memory, or by reading anew"),
)
const streams = gauge("rat_sse_connections", "Open server-sent event streams")
const pool = labelled<"state", number, unknown>(
  gauge("rat_pg_pool_connections", "Sessions of this node's Postgres pool"),
)
const relayLag = gauge("rat_event_relay_lag_seconds", "Age of the oldest event that was not relayed yet")

/** `status` is a word of the HTTP API. */
export const countRun = (status: string, durationMs: number): Effect.Effect<void> =>
  Effect.andThen(Metric.update(runs({ status }), 1), Metric.update(runDuration({ status }), durationMs / 1000))

export const setQueueDepth = (waiting: number): Effect.Effect<void> => Metric.update(queueDepth, waiting)

export const countClaims = (count: number): Effect.Effect<void> => Metric.update(claims, count)

export const countQuery = (
  status: "success" | "error" | "refused" | "cancelled",
  durationMs: number,
): Effect.Effect<void> =>
  Effect.andThen(Metric.update(queries({ status }), 1), Metric.update(queryDuration, durationMs / 1000))

/** `route` is the pattern (`/api/v1/runs/:runId`), never the path: paths are without number. */
export const countHttpRequest = (request: {
  readonly route: string
  readonly method: string
  readonly status: number
  readonly durationMs: number
}): Effect.Effect<void> => {
  const { route, method } = request
  return Effect.andThen(
    Metric.update(requests({ route, method, status: String(request.status) }), 1),
    Metric.update(requestDuration({ route, method }), request.durationMs / 1000),
  )
}

export const countCachedAnswer = (result: "not_modified" | "hit" | "miss"): Effect.Effect<void> =>
  Metric.update(cachedAnswers({ result }), 1)

/** Counts a stream as open while the scope lasts. */
export const openStream = Effect.acquireRelease(Metric.modify(streams, 1), () => Metric.modify(streams, -1))

/** By the words of `pg_stat_activity`, and `max` for the most there may be. */
export const setPgPool = (connections: Readonly<Record<string, number>>): Effect.Effect<void> =>
  Effect.forEach(Object.entries(connections), ([state, count]) => Metric.update(pool({ state }), count), {
    discard: true,
  })

export const setEventRelayLag = (lagMs: number): Effect.Effect<void> => Metric.update(relayLag, lagMs / 1000)

/** Series exist from the start: a rate needs a zero to begin with, and an alert something to look at. */
const zeros = Effect.all(
  [
    ...["success", "failed", "cancelled"].map((status) => Metric.update(runs({ status }), 0)),
    ...["success", "error", "refused", "cancelled"].map((status) => Metric.update(queries({ status }), 0)),
    ...["not_modified", "hit", "miss"].map((result) => Metric.update(cachedAnswers({ result }), 0)),
    Metric.update(claims, 0),
    Metric.modify(streams, 0),
  ],
  { discard: true },
)

const reading = (name: string, description: string, read: () => number) =>
  observed(gauge(name, description), () => ({ value: read() }))

/** Build information and the state of this process, while the layer lives. */
export const processMetrics = (build: { readonly version: string; readonly gitCommit: string }): Layer.Layer<never> =>
  Layer.effectDiscard(
    Effect.gen(function* () {
      const delay = yield* Effect.acquireRelease(
        Effect.sync(() => monitorEventLoopDelay({ resolution: 20 })),
        (histogram) => Effect.sync(() => histogram.disable()),
      )
      delay.enable()
      yield* zeros
      yield* Metric.update(
        Metric.withAttributes(gauge("rat_info", "Always 1; the labels say what runs"), {
          version: build.version,
          git_commit: build.gitCommit,
          node_version: process.version,
        }),
        1,
      )
      yield* reading("rat_process_resident_memory_bytes", "Resident memory of this process", () =>
        process.memoryUsage.rss(),
      )
      yield* reading(
        "rat_process_heap_bytes",
        "Used JavaScript heap of this process",
        () => process.memoryUsage().heapUsed,
      )
      yield* reading("rat_process_uptime_seconds", "Age of this process", () => process.uptime())
      yield* reading("rat_process_cpu_seconds", "Processor time that this process has used", () => {
        const { system, user } = process.cpuUsage()
        return (system + user) / 1e6
      })
      yield* reading(
        "rat_event_loop_delay_seconds",
        "99th percentile of the event loop's delay since the last look",
        () => {
          const p99 = delay.percentile(99) / 1e9
          delay.reset()
          return p99
        },
      )
    }),
  )
