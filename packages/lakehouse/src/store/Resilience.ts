import { Cause, Clock, Data, Duration, Effect, Exit, Option, Schedule, type Scope, Stream } from "effect"
import { CircuitBreaker } from "effect/persistence"
import { type CircuitState, ObjectExists, ObjectNotFound, StoreUnavailable } from "./ObjectStore.ts"
import { countRequest, countRetry, type StoreOutcome, setCircuitState } from "./StoreMetrics.ts"

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

export interface StoreCall {
  /** Word for metrics: `get`, `put`, … */
  readonly op: string
  readonly key: string
  /** Of each try. */
  readonly deadline: Duration.Duration
  /** Further tries; 3 unless told. */
  readonly retries?: number
}

/** Around every call that leaves the process: deadline per try, then retry, then circuit breaker, then metrics. */
export interface Resilience {
  readonly call: <A, E, R>(
    call: StoreCall,
    attempt: Effect.Effect<A, E | StoreFault, R>,
  ) => Effect.Effect<A, Exclude<E, StoreFault> | StoreUnavailable, R>
  readonly circuit: Effect.Effect<CircuitState>
}

const words = { Closed: "closed", Open: "open", HalfOpen: "half_open" } as const

// Capturing a stack costs more than all the rest of a cheap call.
const noStack = { captureStackTrace: false }

const inSeconds = (duration: Duration.Duration) => `${Math.ceil(Duration.toMillis(duration) / 100) / 10} s`

export interface ResilienceOptions {
  /** Names the circuit: a host, or a folder. Appears in metrics and messages. */
  readonly endpoint: string
  /** Delay before the second try; doubles with each further one, with jitter. */
  readonly firstDelay?: Duration.Input
  /** Failed calls (not tries) in a row that open the circuit. */
  readonly failuresToOpen?: number
  /** How long the circuit stays open the first time; doubles while the endpoint stays away, up to 30 s. */
  readonly openFor?: Duration.Input
}

export const makeResilience = Effect.fnUntraced(function* (
  options: ResilienceOptions,
): Effect.fn.Return<Resilience, never, Scope.Scope> {
  const { endpoint, firstDelay = "100 millis" } = options
  const breaker = yield* CircuitBreaker.make({
    tripPolicy: CircuitBreaker.consecutive(options.failuresToOpen ?? 5),
    openDuration: Schedule.min([Schedule.exponential(options.openFor ?? "1 second"), Schedule.spaced("30 seconds")]),
  }).pipe(Effect.provide(CircuitBreaker.layerStoreMemory()))
  yield* setCircuitState(endpoint, "closed")
  yield* breaker.transitions.pipe(
    Stream.runForEach(({ to, from }) =>
      Effect.andThen(
        setCircuitState(endpoint, words[to]),
        to === "Open" && from === "Closed"
          ? Effect.logWarning("Object store circuit opened").pipe(Effect.annotateLogs({ endpoint }))
          : to === "Closed"
            ? Effect.logInfo("Object store circuit closed").pipe(Effect.annotateLogs({ endpoint }))
            : Effect.void,
      ),
    ),
    Effect.forkScoped({ startImmediately: true }),
  )

  // What the circuit last suffered from, so that callers who are refused learn the real reason.
  let lastOutage = "no answer."

  /** An answer such as "not there" shows a healthy endpoint. Interruption alone never gets here. */
  const classify = <A, E>(exit: Exit.Exit<A, E | StoreFault>): CircuitBreaker.Outcome => {
    const fault = Exit.isFailure(exit) ? Option.getOrUndefined(Cause.findErrorOption(exit.cause)) : undefined
    if (!(fault instanceof StoreFault)) return CircuitBreaker.success
    if (!fault.outage) return CircuitBreaker.ignored
    lastOutage = fault.reason
    return CircuitBreaker.failure()
  }

  const unavailable = <E>(key: string, error: E | StoreFault | CircuitBreaker.CircuitBreakerError) => {
    if (error instanceof StoreFault) return new StoreUnavailable({ key, reason: error.reason, cause: error.cause })
    if (error instanceof CircuitBreaker.CircuitBreakerError) {
      const wait =
        error.reason._tag === "CircuitOpen" ? ` The next try is in ${inSeconds(error.reason.retryAfter)}.` : ""
      const reason = `calls to ${endpoint} are held back after repeated failures, the last one being: ${lastOutage}${wait}`
      return new StoreUnavailable({ key, reason })
    }
    return error as Exclude<E, StoreFault>
  }

  const outcomeOf = (error: unknown): StoreOutcome =>
    error instanceof ObjectNotFound ? "not_found" : error instanceof ObjectExists ? "exists" : "unavailable"

  const call: Resilience["call"] = <A, E, R>(
    { op, key, deadline, retries = 3 }: StoreCall,
    attempt: Effect.Effect<A, E | StoreFault, R>,
  ) =>
    Effect.flatMap(Clock.currentTimeMillis, (startedAt) =>
      attempt.pipe(
        Effect.timeoutOrElse({
          duration: deadline,
          orElse: () =>
            Effect.fail(
              new StoreFault({ reason: `no answer within ${inSeconds(deadline)}.`, transient: true, outage: true }),
            ),
        }),
        Effect.retry({
          while: (error) => error instanceof StoreFault && error.transient,
          // Tries that hang use up the patience for more of them: none starts once retrying has lasted a deadline.
          schedule: Schedule.exponential(firstDelay).pipe(
            Schedule.jittered,
            Schedule.upTo({ times: retries, duration: deadline }),
            Schedule.tap(() => countRetry(op)),
          ),
        }),
        breaker.execute({ key: endpoint, classify }),
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
  return { call, circuit: Effect.map(Effect.orDie(breaker.state(endpoint)), ({ _tag }) => words[_tag]) }
})
