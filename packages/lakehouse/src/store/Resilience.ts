import { Cause, Clock, Data, type Duration, Effect, Exit, Option, type Scope } from "effect"
import type { CircuitState } from "../outbound/Circuit.ts"
import { DependencyUnavailable, Outbound, outbound } from "../outbound/Outbound.ts"
import type { OutboundPolicy } from "../outbound/OutboundPolicy.ts"
import { type Verdict, verdicts } from "../outbound/Verdict.ts"
import { ObjectExists, ObjectNotFound, StoreUnavailable } from "./ObjectStore.ts"
import { countRequest, type StoreOutcome } from "./StoreMetrics.ts"

/**
 * One try failed. `reason` is a sentence for people: what happened and what to do. `transient`: another try may succeed.
 * `outage`: the endpoint is at fault and its circuit counts it; a refusal that is an answer (wrong password, full disk)
 * is none, because it fails fast anyway and must work again the moment somebody repaired it.
 */
export class StoreFault extends Data.TaggedError("StoreFault")<{
  readonly reason: string
  readonly transient: boolean
  readonly outage: boolean
  readonly cause?: unknown
}> {}

/** Deadlines of one try. */
export interface StoreTimeouts {
  /** Calls that carry no bytes of objects: head, list, remove, probes. */
  readonly metadata: Duration.Duration
  /** Calls that carry bytes: an object, or one part of a large one. */
  readonly data: Duration.Duration
}

export interface StoreCall {
  /** Word for metrics: `get`, `put`, … */
  readonly op: string
  readonly key: string
  /** Of each try. */
  readonly deadline: Duration.Duration
  /** Further tries, instead of the policy's. */
  readonly retries?: number
}

/** Calls to one object store under the policy of `object_store`; what they fail with is what callers of a store handle. */
export interface Resilience {
  readonly timeouts: StoreTimeouts
  readonly call: <A, E, R>(
    call: StoreCall,
    attempt: Effect.Effect<A, E | StoreFault, R>,
  ) => Effect.Effect<A, Exclude<E, StoreFault> | StoreUnavailable, R>
  readonly circuit: Effect.Effect<CircuitState>
}

// Capturing a stack costs more than all the rest of a cheap call.
const noStack = { captureStackTrace: false }

export interface ResilienceOptions {
  /** Names the circuit: a host, or a folder. Appears in metrics and messages. */
  readonly endpoint: string
  /** Instead of the policy's. */
  readonly timeouts?: StoreTimeouts | undefined
  readonly limits?: Partial<OutboundPolicy> | undefined
}

const verdictOf = (error: unknown): Verdict =>
  error instanceof StoreFault ? { retry: error.transient, health: error.outage ? "down" : "unknown" } : verdicts.answer

const outcomeOf = (error: unknown): StoreOutcome =>
  error instanceof ObjectNotFound ? "not_found" : error instanceof ObjectExists ? "exists" : "unavailable"

export const makeResilience = Effect.fnUntraced(function* (
  options: ResilienceOptions,
): Effect.fn.Return<Resilience, never, Scope.Scope> {
  const { endpoint } = options
  const dependency = yield* outbound({
    dependency: "object_store",
    endpoint,
    verdict: verdictOf,
    ...(options.limits === undefined ? {} : { limits: options.limits }),
  })

  const unavailable = <E>(key: string, error: E | StoreFault | DependencyUnavailable) => {
    if (error instanceof StoreFault) {
      return new StoreUnavailable({ key, reason: error.reason, isOutage: error.outage, cause: error.cause })
    }
    if (error instanceof DependencyUnavailable) {
      const detail = error.reason === "refused" ? error.detail.replace(/^calls/, `calls to ${endpoint}`) : error.detail
      return new StoreUnavailable({ key, reason: detail, isOutage: true })
    }
    return error as Exclude<E, StoreFault>
  }

  const call: Resilience["call"] = <A, E, R>(
    { op, key, deadline, retries }: StoreCall,
    attempt: Effect.Effect<A, E | StoreFault, R>,
  ) =>
    Effect.flatMap(Clock.currentTimeMillis, (startedAt) =>
      dependency.call(op, attempt, { deadline, ...(retries === undefined ? {} : { retries }) }).pipe(
        Effect.mapError((error) => unavailable(key, error)),
        Effect.onExit((exit) =>
          Effect.flatMap(Clock.currentTimeMillis, (endedAt) =>
            countRequest(
              op,
              Exit.isSuccess(exit)
                ? "ok"
                : Option.match(Cause.findErrorOption(exit.cause), {
                    onNone: () => (Cause.hasInterruptsOnly(exit.cause) ? "interrupted" : "unavailable"),
                    onSome: outcomeOf,
                  }),
              endedAt - startedAt,
            ),
          ),
        ),
        Effect.withSpan(`ObjectStore.${op}`, { attributes: { "store.key": key, "store.endpoint": endpoint } }, noStack),
      ),
    )
  const { policies } = yield* Outbound
  return {
    timeouts: options.timeouts ?? {
      metadata: policies.object_store.deadline,
      data: policies.object_store.dataDeadline,
    },
    call,
    circuit: Effect.sync(() => dependency.circuit.state),
  }
})
