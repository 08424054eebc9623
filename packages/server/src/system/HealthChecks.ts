import { Cause, Context, Effect, Schema } from "effect"

/** State of a circuit breaker, for dependencies that have one. */
export type Circuit = "closed" | "open" | "half_open"

/** One thing this process cannot work without. Fails with an error whose message says what is wrong. */
export interface HealthCheck {
  readonly name: string
  readonly check: Effect.Effect<{ readonly circuit?: Circuit }, unknown>
}

/** Longest time one dependency gets to answer. */
export const checkTimeoutMs = 2000

export class CheckTimedOut extends Schema.TaggedError<CheckTimedOut>()("CheckTimedOut", {}) {
  override get message() {
    return `no answer within ${checkTimeoutMs / 1000} s`
  }
}

export interface CheckResult {
  readonly status: "ok" | "error"
  readonly error?: string
  readonly circuit?: Circuit
}

/** Everything `/health/ready` asks. The composition of a node says what that is. */
export class HealthChecks extends Context.Service<HealthChecks, ReadonlyArray<HealthCheck>>()(
  "rat/server/system/HealthChecks",
) {}

const outcome = (check: HealthCheck["check"]): Effect.Effect<CheckResult> =>
  check.pipe(
    Effect.timeoutOrElse({ duration: checkTimeoutMs, orElse: () => Effect.fail(new CheckTimedOut()) }),
    Effect.map((healthy): CheckResult => ({ status: "ok", ...healthy })),
    Effect.catchCause((cause) =>
      Effect.succeed<CheckResult>({ status: "error", error: firstLine(Cause.squash(cause)) }),
    ),
  )

const firstLine = (error: unknown): string =>
  (error instanceof Error ? error.message || error.name : String(error)).split("\n")[0] ?? "unknown"

/** Asks all dependencies at once; the slowest one takes at most its limit. */
export const runChecks = (checks: ReadonlyArray<HealthCheck>): Effect.Effect<Readonly<Record<string, CheckResult>>> =>
  Effect.forEach(checks, ({ name, check }) => Effect.map(outcome(check), (result) => [name, result] as const), {
    concurrency: "unbounded",
  }).pipe(Effect.map(Object.fromEntries))
