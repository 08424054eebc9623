import { Effect, Metric, type Scope } from "effect"
import { observed } from "../telemetry/Observed.ts"
import {
  callsMetric,
  durationMetric,
  latencyBoundaries,
  type OutboundOutcome,
  retriesMetric,
} from "./OutboundMetrics.ts"
import type { DependencyName } from "./OutboundPolicy.ts"

/**
 * Counts calls to a dependency that is called thousands of times a second, in plain numbers that become metrics when
 * somebody looks: updating metrics cost more than a third of what a statement costs here.
 */
export class CallTally {
  private readonly outcomes: Record<OutboundOutcome, number> = {
    ok: 0,
    answered: 0,
    unavailable: 0,
    refused: 0,
    interrupted: 0,
  }
  private readonly buckets: Array<number> = latencyBoundaries.map(() => 0)
  private readonly boundariesMs = latencyBoundaries.map((seconds) => seconds * 1000)
  private count = 0
  private sumMs = 0
  private minMs = Number.MAX_VALUE
  private maxMs = Number.MIN_VALUE
  private retries = 0

  add(outcome: OutboundOutcome, durationMs: number): void {
    this.outcomes[outcome] += 1
    this.count += 1
    this.sumMs += durationMs
    if (durationMs < this.minMs) this.minMs = durationMs
    if (durationMs > this.maxMs) this.maxMs = durationMs
    let bucket = 0
    while (bucket < this.boundariesMs.length && durationMs > this.boundariesMs[bucket]!) bucket += 1
    if (bucket < this.buckets.length) this.buckets[bucket]! += 1
  }

  addRetry(): void {
    this.retries += 1
  }

  private histogram(): Metric.HistogramState {
    let total = 0
    return {
      buckets: latencyBoundaries.map((boundary, index): [number, number] => {
        total += this.buckets[index]!
        return [boundary, total]
      }),
      count: this.count,
      min: this.minMs / 1000,
      max: this.maxMs / 1000,
      sum: this.sumMs / 1000,
    }
  }

  /** Shows the numbers as metrics of `dependency` while the scope lasts. */
  show(dependency: DependencyName): Effect.Effect<void, never, Scope.Scope> {
    return Effect.all(
      [
        ...Object.keys(this.outcomes).map((outcome) =>
          observed(Metric.withAttributes(callsMetric, { dependency, outcome }), () => ({
            count: this.outcomes[outcome as OutboundOutcome],
            incremental: true,
          })),
        ),
        observed(Metric.withAttributes(retriesMetric, { dependency }), () => ({
          count: this.retries,
          incremental: true,
        })),
        observed(Metric.withAttributes(durationMetric, { dependency }), () => this.histogram()),
      ],
      { discard: true },
    )
  }
}
