import {
  Cause,
  Clock,
  type Config,
  Context,
  Duration,
  Effect,
  Exit,
  Layer,
  Option,
  Queue,
  Schedule,
  Schema,
  type Scope,
} from "effect"
import { Circuit, type CircuitState } from "./Circuit.ts"
import { countCall, countRetry, type OutboundOutcome, showCircuit } from "./OutboundMetrics.ts"
import {
  type DependencyName,
  defaultPolicies,
  type OutboundMisconfigured,
  type OutboundPolicies,
  type OutboundPolicy,
  policiesFromConfig,
} from "./OutboundPolicy.ts"
import { type Verdict, verdicts } from "./Verdict.ts"

const words: { readonly [Name in DependencyName]: string } = {
  postgres: "Postgres",
  object_store: "The object store",
  nessie: "The Nessie server",
  rpc: "The node",
  otlp: "The collector",
}

const inSeconds = (ms: number) => `${Math.ceil(ms / 100) / 10} s`

/** A dependency gave no answer in time, or was not asked because it has not answered for a while. Try again later. */
export class DependencyUnavailable extends Schema.TaggedError<DependencyUnavailable>()(
  "DependencyUnavailable",
  {
    dependency: Schema.String,
    /** Host and port, or a folder. */
    endpoint: Schema.String,
    operation: Schema.String,
    /** `timed_out`: something was sent and may have happened. `refused`: nothing was sent. */
    reason: Schema.Literals(["timed_out", "refused"]),
    detail: Schema.String,
    /** When asking again can make sense; at least 1. */
    retryAfterSeconds: Schema.Int,
  },
  { httpApiStatus: 503 },
) {
  override get message() {
    return `${words[this.dependency as DependencyName]} at ${this.endpoint} cannot be used: ${this.detail}`
  }
}

export interface CallOptions<E> {
  /** Of each try, instead of the policy's. */
  readonly deadline?: Duration.Duration
  /** Further tries, instead of the policy's. 0 for what must not happen twice. */
  readonly retries?: number
  /** What an error of a try says about the dependency; instead of the dependency's own opinion. */
  readonly verdict?: (error: E) => Verdict
}

/** One dependency at one endpoint: its limits and its circuit. */
export interface Dependency {
  readonly name: DependencyName
  readonly endpoint: string
  readonly policy: OutboundPolicy
  readonly circuit: Circuit
  /** What a caller is told whom the circuit refuses. */
  readonly refusal: (operation: string, nowMs: number) => DependencyUnavailable
  /**
   * Deadline per try, then retries of what heals, then the circuit, then metrics. `operation` is a word for messages and
   * spans. Fails as `attempt` does, or with `DependencyUnavailable` after the last deadline or at an open circuit.
   */
  readonly call: <A, E, R>(
    operation: string,
    attempt: Effect.Effect<A, E, R>,
    options?: CallOptions<E>,
  ) => Effect.Effect<A, E | DependencyUnavailable, R>
}

/** What this node calls: the limits it was told, and every dependency with its circuit, for health and metrics. */
export class Outbound extends Context.Reference<{
  readonly policies: OutboundPolicies
  readonly dependencies: Set<Dependency>
}>("rat/lakehouse/outbound/Outbound", {
  defaultValue: () => ({ policies: defaultPolicies, dependencies: new Set() }),
}) {
  /**
   * Of a node: limits of RAT_OUTBOUND. Without it the limits are the table's, and the process is one node. What was there
   * before the node (the collector) is shown among what it calls.
   */
  static readonly layer: Layer.Layer<never, OutboundMisconfigured | Config.ConfigError> = Layer.effect(
    Outbound,
    Effect.gen(function* () {
      const policies = yield* policiesFromConfig
      const outer = yield* Outbound
      return { policies, dependencies: new Set([...outer.dependencies].filter(({ name }) => name === "otlp")) }
    }),
  )
}

export interface DependencyOptions {
  readonly dependency: DependencyName
  /** Names the circuit: a host and port, or a folder. Appears in metrics and messages. */
  readonly endpoint: string
  /** What an error says about the dependency; unless told every error is an answer. */
  readonly verdict?: (error: unknown) => Verdict
  /** Limits that differ from the node's. */
  readonly limits?: Partial<OutboundPolicy>
  /**
   * Asks for a sign of life while the circuit is open; no caller has to find out, so that one call which takes long cannot
   * hold up all others. Without it the first call after the wait does.
   */
  readonly probe?: Effect.Effect<unknown, unknown>
}

/** Sentence of what a try failed with, for those who are refused later. */
const sentenceOf = (error: unknown): string => {
  const { reason, message } = error as { readonly reason?: unknown; readonly message?: unknown }
  const text =
    typeof reason === "string" ? reason : typeof message === "string" && message !== "" ? message : "no answer."
  return text.endsWith(".") ? text : `${text}.`
}

const outcomeOf = (exit: Exit.Exit<unknown, unknown>, verdict: Verdict | undefined): OutboundOutcome => {
  if (Exit.isSuccess(exit)) return "ok"
  if (Cause.hasInterruptsOnly(exit.cause)) return "interrupted"
  return verdict === undefined || verdict.health === "up" ? "answered" : "unavailable"
}

/** A dependency of this node, in its registry until the scope closes. */
export const outbound = Effect.fnUntraced(function* (
  options: DependencyOptions,
): Effect.fn.Return<Dependency, never, Scope.Scope> {
  const { dependency: name, endpoint } = options
  const node = yield* Outbound
  const policy: OutboundPolicy = { ...node.policies[name], ...options.limits }
  const runFork = Effect.runForkWith(yield* Effect.context<never>())
  const late = (operation: string, deadline: Duration.Duration) =>
    new DependencyUnavailable({
      dependency: name,
      endpoint,
      operation,
      reason: "timed_out",
      detail: `no answer within ${inSeconds(Duration.toMillis(deadline))}.`,
      retryAfterSeconds: 1,
    })

  const opened = yield* Queue.sliding<void>(1)
  const circuit = new Circuit(
    {
      failuresToOpen: policy.failuresToOpen,
      openForMs: Duration.toMillis(policy.openFor),
      maxOpenForMs: Duration.toMillis(policy.maxOpenFor),
      probe: options.probe === undefined ? "caller" : "own",
    },
    (state, from) => {
      const what = { dependency: name, endpoint }
      if (state === "open") Queue.offerUnsafe(opened, undefined)
      if (state === "open" && from === "closed") {
        runFork(
          Effect.logWarning("A dependency does not answer; its circuit opened").pipe(
            Effect.annotateLogs({ ...what, reason: circuit.lastFailure }),
          ),
        )
      } else if (state === "closed") {
        runFork(Effect.logInfo("A dependency answers again; its circuit closed").pipe(Effect.annotateLogs(what)))
      }
    },
  )
  yield* showCircuit({ dependency: name, endpoint }, () => circuit.state)
  if (options.probe !== undefined) {
    const probe = Effect.timeoutOrElse(options.probe, {
      duration: policy.deadline,
      orElse: () => Effect.fail(late("probe", policy.deadline)),
    })
    const ask = Effect.gen(function* () {
      while (circuit.state !== "closed") {
        // A millisecond more, because timers come a fraction of one too early.
        yield* Effect.sleep(circuit.waitMs(yield* Clock.currentTimeMillis) + 1)
        const admission = circuit.startProbe(yield* Clock.currentTimeMillis)
        if (admission === undefined) continue
        const answer = yield* Effect.exit(probe)
        if (Exit.isSuccess(answer)) circuit.succeed(admission)
        else circuit.fail(admission, yield* Clock.currentTimeMillis, sentenceOf(Cause.squash(answer.cause)))
      }
    })
    yield* Effect.forkScoped(Effect.forever(Effect.andThen(Queue.take(opened), ask)))
  }

  const refusal = (operation: string, nowMs: number) => {
    const waitMs = circuit.waitMs(nowMs)
    const next = waitMs === 0 ? "" : ` The next try is in ${inSeconds(waitMs)}.`
    return new DependencyUnavailable({
      dependency: name,
      endpoint,
      operation,
      reason: "refused",
      detail: `calls are held back after repeated failures, the last one being: ${circuit.lastFailure}${next}`,
      retryAfterSeconds: Math.max(1, Math.ceil(waitMs / 1000)),
    })
  }

  const call: Dependency["call"] = <A, E, R>(
    operation: string,
    attempt: Effect.Effect<A, E, R>,
    { deadline = policy.deadline, retries = policy.retries, verdict = options.verdict }: CallOptions<E> = {},
  ) => {
    const judge = (error: E | DependencyUnavailable): Verdict =>
      error instanceof DependencyUnavailable && error.operation === operation
        ? verdicts.outage
        : (verdict?.(error as E) ?? verdicts.answer)
    const once = Effect.timeoutOrElse(attempt, {
      duration: deadline,
      orElse: () => Effect.fail(late(operation, deadline)),
    })
    const again = Effect.andThen(countRetry(name), once)
    // Tries that hang use up the patience for more of them: none starts once retrying has lasted a deadline.
    const schedule = Schedule.min([Schedule.exponential(policy.firstDelay), Schedule.spaced(policy.maxDelay)]).pipe(
      Schedule.jittered,
      Schedule.upTo({ times: retries, duration: deadline }),
    )
    const tried = Effect.suspend(() => {
      let isFirst = true
      return Effect.suspend(() => {
        const attempt = isFirst ? once : again
        isFirst = false
        return attempt
      }).pipe(Effect.retry({ while: (error) => judge(error).retry, schedule }))
    })
    return Effect.flatMap(Clock.currentTimeMillis, (startedAt): Effect.Effect<A, E | DependencyUnavailable, R> => {
      const admission = circuit.admit(startedAt)
      if (admission === undefined) {
        return Effect.andThen(countCall(name, "refused", 0), Effect.fail(refusal(operation, startedAt)))
      }
      return Effect.onExit(tried, (exit) =>
        Effect.flatMap(Clock.currentTimeMillis, (endedAt) => {
          const error = Exit.isFailure(exit) ? Option.getOrUndefined(Cause.findErrorOption(exit.cause)) : undefined
          const verdict = error === undefined ? undefined : judge(error)
          if (Exit.isSuccess(exit) || verdict?.health === "up") circuit.succeed(admission)
          else if (verdict?.health === "down") circuit.fail(admission, endedAt, sentenceOf(error))
          else circuit.ignore(admission)
          return countCall(name, outcomeOf(exit, verdict), endedAt - startedAt)
        }),
      )
    })
  }

  const dependency: Dependency = { name, endpoint, policy, circuit, refusal, call }
  yield* Effect.acquireRelease(
    Effect.sync(() => node.dependencies.add(dependency)),
    () => Effect.sync(() => node.dependencies.delete(dependency)),
  )
  return dependency
})

/** State of a dependency over all its endpoints, the worst first: what `/health/ready` shows without asking anybody. */
export const circuitOf = (dependencies: Iterable<Dependency>, name: DependencyName): CircuitState | undefined => {
  let worst: CircuitState | undefined
  for (const dependency of dependencies) {
    if (dependency.name !== name) continue
    const { state } = dependency.circuit
    if (worst === undefined || state === "open" || (state === "half_open" && worst === "closed")) worst = state
  }
  return worst
}
