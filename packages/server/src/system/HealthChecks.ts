import type { Role } from "@rat/domain"
import type { CircuitState } from "@rat/lakehouse"
import { Cause, Context, Effect, Fiber, Option } from "effect"

/** One thing that this process depends on. */
export interface HealthCheck {
  readonly name: string
  /** Fails with an error whose message says what is wrong. Never more than looking: it is asked every few seconds. */
  readonly check: Effect.Effect<unknown, unknown>
  /** State of its circuit breaker, where it has one. */
  readonly circuit?: Effect.Effect<CircuitState | undefined>
  /** Roles that can do nothing while it is away. The others are degraded. */
  readonly blocks: ReadonlyArray<Role>
  /** What does not work meanwhile, and what happens to it: a sentence for people. */
  readonly impact: string
}

/** Longest time one dependency gets to answer. */
export const checkTimeoutMs = 2000

export interface CheckResult {
  readonly status: "ok" | "error"
  readonly error?: string
  readonly circuit?: CircuitState
  readonly impact?: string
}

/** Everything `/health/ready` asks, and the roles it asks for. The composition of a node says what that is. */
export class HealthChecks extends Context.Service<
  HealthChecks,
  { readonly roles: ReadonlyArray<Role>; readonly checks: ReadonlyArray<HealthCheck> }
>()("rat/server/system/HealthChecks") {}

const firstLine = (error: unknown): string =>
  (error instanceof Error ? error.message || error.name : String(error)).split("\n")[0] ?? "unknown"

/** The answer within the limit, or nothing. What does not answer is given up without waiting until it notices. */
const inTime = <A, E>(check: Effect.Effect<A, E>) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkDetach(check, { startImmediately: true })
    return yield* Fiber.await(fiber).pipe(
      Effect.timeoutOption(checkTimeoutMs),
      Effect.onExit((exit) =>
        exit._tag === "Success" && Option.isSome(exit.value) ? Effect.void : Effect.sync(() => fiber.interruptUnsafe()),
      ),
    )
  })

const outcome = ({ check, circuit = Effect.undefined, impact }: HealthCheck): Effect.Effect<CheckResult> =>
  Effect.gen(function* () {
    const exit = yield* inTime(check)
    const state = yield* circuit
    const shown = state === undefined ? {} : { circuit: state }
    if (Option.isNone(exit)) {
      return { status: "error", error: `no answer within ${checkTimeoutMs / 1000} s`, impact, ...shown }
    }
    return exit.value._tag === "Success"
      ? { status: "ok", ...shown }
      : { status: "error", error: firstLine(Cause.squash(exit.value.cause)), impact, ...shown }
  })

export interface NodeState {
  /**
   * `ready`: everything works. `degraded`: something is away, and what does not need it is served. `not_ready`: no role of
   * this node can do its work, or it answers HTTP and cannot answer: send nothing here.
   */
  readonly status: "ready" | "degraded" | "not_ready"
  readonly checks: Readonly<Record<string, CheckResult>>
}

/** Asks all dependencies at once; the slowest one takes at most its limit. */
export const nodeState = ({ checks, roles }: HealthChecks["Service"]): Effect.Effect<NodeState> =>
  Effect.map(
    Effect.forEach(checks, (check) => Effect.map(outcome(check), (result) => [check, result] as const), {
      concurrency: "unbounded",
    }),
    (results) => {
      const failed = results.flatMap(([check, { status }]) => (status === "ok" ? [] : [check]))
      const blocked = new Set(failed.flatMap(({ blocks }) => blocks))
      const isUseless = blocked.has("api") && roles.includes("api") ? true : roles.every((role) => blocked.has(role))
      return {
        status: failed.length === 0 ? "ready" : isUseless ? "not_ready" : "degraded",
        checks: Object.fromEntries(results.map(([{ name }, result]) => [name, result])),
      }
    },
  )
