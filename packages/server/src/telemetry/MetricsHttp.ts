import { PrometheusMetrics } from "effect/observability"

/** `GET /metrics`: every metric of this process in the Prometheus text format. */
export const MetricsHttp = PrometheusMetrics.layerHttp({ path: "/metrics" })
