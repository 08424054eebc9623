import { Schema } from "effect"

/** What a pipeline wants to happen when an attempt fails in a way that another one may not. */
export class RetryPolicy extends Schema.Class<RetryPolicy>("rat/domain/RetryPolicy")({
  /** Attempts after the first one; 0: none. */
  maxRetries: Schema.Int,
  /** Pause before the first retry, in seconds. */
  delaySeconds: Schema.Finite,
  /** The pause grows by this factor with each retry; 1 keeps it. */
  multiplier: Schema.Finite,
  /** The pause never gets longer. */
  maxDelaySeconds: Schema.Finite,
  /** Share by which a pause is made shorter or longer at random, 0 to 1: many runs that failed together come back apart. */
  jitter: Schema.Finite,
}) {}

/** The ancestor's defaults (no retries, 30 s), and growing pauses for those who ask for retries. */
export const defaultRetryPolicy = new RetryPolicy({
  maxRetries: 0,
  delaySeconds: 30,
  multiplier: 2,
  maxDelaySeconds: 3600,
  jitter: 0.1,
})

/** What settings may ask for. Inclusive. */
export const retryRanges = {
  max_retries: { least: 0, most: 100 },
  retry_delay_seconds: { least: 0, most: 86_400 },
  retry_multiplier: { least: 1, most: 100 },
  retry_max_delay_seconds: { least: 0, most: 86_400 },
  retry_jitter: { least: 0, most: 1 },
} as const

/**
 * Pause before the retry that follows `failures` failed attempts (at least 1), in milliseconds. `random` is in [0, 1).
 */
export const retryDelayMs = (policy: RetryPolicy, failures: number, random: number): number => {
  const most = policy.maxDelaySeconds * 1000
  // Infinity, where the power is out of range, is capped like everything else; 0 * Infinity is none.
  const grown = policy.delaySeconds === 0 ? 0 : policy.delaySeconds * 1000 * policy.multiplier ** (failures - 1)
  const base = Math.min(most, grown)
  return Math.round(Math.min(most, base * (1 + policy.jitter * (2 * random - 1))))
}
