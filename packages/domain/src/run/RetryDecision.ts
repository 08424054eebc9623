import { failureKind } from "./FailureKind.ts"
import { type RetryPolicy, retryDelayMs } from "./RetryPolicy.ts"

/** How the earlier attempts of a run ended. Lost ones (their node died) are counted apart, by whoever takes leases back. */
export interface AttemptTally {
  /** Attempts that failed and were repeated because of the pipeline's policy. */
  readonly failures: number
  /** Attempts that met an outage. */
  readonly outages: number
}

export interface FailedAttempt {
  readonly code: string
  /** What the runner says: false overrules the table, since it knows more than a code. */
  readonly retryable: boolean
  readonly policy: RetryPolicy
}

export type RetryDecision =
  | { readonly _tag: "Fail" }
  /** Queued again; not to be claimed before `delayMs` have passed. */
  | { readonly _tag: "Retry"; readonly delayMs: number; readonly as: "failure" | "outage" }

/** Outages are waited for with pauses of 1, 2, 4 … 30 s, jittered. */
const outageDelay = { delaySeconds: 1, multiplier: 2, maxDelaySeconds: 30, jitter: 0.2 } as const

/** What becomes of a run whose attempt has just failed. Pure; `random` is in [0, 1). */
export const decideRetry = (
  attempt: FailedAttempt,
  before: AttemptTally,
  limits: { readonly maxOutageRetries: number },
  random: number,
): RetryDecision => {
  if (!attempt.retryable) return { _tag: "Fail" }
  if (failureKind(attempt.code) === "outage") {
    return before.outages < limits.maxOutageRetries
      ? {
          _tag: "Retry",
          as: "outage",
          delayMs: retryDelayMs({ ...attempt.policy, ...outageDelay }, before.outages + 1, random),
        }
      : { _tag: "Fail" }
  }
  return before.failures < attempt.policy.maxRetries
    ? { _tag: "Retry", as: "failure", delayMs: retryDelayMs(attempt.policy, before.failures + 1, random) }
    : { _tag: "Fail" }
}
