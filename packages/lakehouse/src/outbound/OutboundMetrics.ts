import { Effect, Metric, type Scope } from "effect"
import { labelled } from "../telemetry/Labelled.ts"
import { observed } from "../telemetry/Observed.ts"
import type { CircuitState } from "./Circuit.ts"
import type { DependencyName } from "./OutboundPolicy.ts"

/**
 * How a call ended. `answered`: the dependency said no, and that is an answer. `unavailable`: it did not answer, after all
 * tries. `refused`: the circuit was open, nothing was sent.
 */
export type OutboundOutcome = "ok" | "answered" | "unavailable" | "refused" | "interrupted"

export const latencyBoundaries = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]

export const callsMetric = Metric.counter("rat_outbound_calls_total", {
  description: "Calls to dependencies by outcome; retries inside a call are not counted again",
  incremental: true,
})
export const retriesMetric = Metric.counter("rat_outbound_retries_total", {
  description: "Tries after the first",
  incremental: true,
})
export const durationMetric = Metric.histogram("rat_outbound_call_duration_seconds", {
  description: "Duration of calls to dependencies, retries included",
  boundaries: latencyBoundaries,
})
const calls = labelled<"dependency" | "outcome", number, unknown>(callsMetric)
const retries = labelled<"dependency", number, unknown>(retriesMetric)
const duration = labelled<"dependency", number, unknown>(durationMetric)
const circuit = Metric.gauge("rat_circuit_state", {
  description: "State of the circuit breaker of an endpoint: 0 closed, 1 half open, 2 open",
})

const circuitValue: { readonly [S in CircuitState]: number } = { closed: 0, half_open: 1, open: 2 }

export const countCall = (
  dependency: DependencyName,
  outcome: OutboundOutcome,
  durationMs: number,
): Effect.Effect<void> =>
  Effect.andThen(
    Metric.update(calls({ dependency, outcome }), 1),
    Metric.update(duration({ dependency }), durationMs / 1000),
  )

export const countRetry = (dependency: DependencyName): Effect.Effect<void> => Metric.update(retries({ dependency }), 1)

/** Shows a circuit for as long as the scope: endpoints of nodes that are gone leave no series behind. */
export const showCircuit = (
  labels: { readonly dependency: DependencyName; readonly endpoint: string },
  state: () => CircuitState,
): Effect.Effect<void, never, Scope.Scope> =>
  observed(Metric.withAttributes(circuit, labels), () => ({ value: circuitValue[state()] }))
