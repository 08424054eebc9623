import { Effect, Metric } from "effect"
import { labelled } from "../telemetry/Labelled.ts"

/** How a call to the object store ended. `unavailable` is the only one that hurts. */
export type StoreOutcome = "ok" | "not_found" | "exists" | "unavailable" | "interrupted"

const requests = labelled<"op" | "outcome", number, unknown>(
  Metric.counter("rat_store_requests_total", {
    description: "Calls to the object store; retries inside a call are not counted again",
    incremental: true,
  }),
)
const duration = labelled<"op", number, unknown>(
  Metric.histogram("rat_store_request_duration_seconds", {
    description: "Duration of calls to the object store, retries included",
    boundaries: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60],
  }),
)
const cacheBytes = Metric.gauge("rat_store_cache_bytes", { description: "Bytes of local copies of objects" })
const lookups = labelled<"result", number, unknown>(
  Metric.counter("rat_store_cache_lookups_total", { description: "Look-ups of local copies", incremental: true }),
)

export const countRequest = (op: string, outcome: StoreOutcome, durationMs: number): Effect.Effect<void> =>
  Effect.andThen(Metric.update(requests({ op, outcome }), 1), Metric.update(duration({ op }), durationMs / 1000))

export const setCacheBytes = (bytes: number): Effect.Effect<void> => Metric.update(cacheBytes, bytes)

export const countCacheLookup = (result: "hit" | "miss"): Effect.Effect<void> => Metric.update(lookups({ result }), 1)
