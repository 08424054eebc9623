import { ConnectionError, retryAfterOf, TimeoutError } from "./RatError.ts"

/** What a client does about slow and failing connections. */
export interface RetryPolicy {
  /** Longest wait for an answer's head, per try, in milliseconds. */
  readonly timeoutMs: number
  /** Further tries after the first one; only for requests that may be repeated. */
  readonly maxRetries: number
  /** Wait before the first retry in milliseconds; doubles each time, with jitter. */
  readonly retryDelayMs: number
}

/** A server that asks for a longer pause than this gets its answer handed to the caller instead. */
const longestPauseMs = 30_000

/** Answers that say "not now" rather than "no". */
const transientStatus = new Set([429, 502, 503, 504])

const isIdempotent = (init: RequestInit): boolean => {
  const method = (init.method ?? "GET").toUpperCase()
  // POST is repeatable when the server recognises the repeat.
  if (method === "POST") return new Headers(init.headers).has("idempotency-key")
  return method === "GET" || method === "HEAD" || method === "PUT" || method === "DELETE"
}

/** Resolves after `ms`; rejects with the signal's reason as soon as it aborts. */
export const pause = (ms: number, signal: AbortSignal | undefined): Promise<void> =>
  new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer)
      reject(signal?.reason)
    }
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop)
      resolve()
    }, ms)
    if (signal?.aborted) stop()
    else signal?.addEventListener("abort", stop, { once: true })
  })

/** `fetch` reports every cause as "fetch failed" and hides the reason one level down. */
const reasonOf = (error: unknown): string => {
  const cause = error instanceof Error ? error.cause : undefined
  if (cause instanceof Error) return "code" in cause ? String(cause.code) : cause.message
  return error instanceof Error ? error.message : String(error)
}

const once = async (
  fetch: typeof globalThis.fetch,
  url: string,
  init: RequestInit,
  timeoutMs: number,
): Promise<Response> => {
  const caller = init.signal ?? undefined
  const late = new AbortController()
  const timer = setTimeout(() => late.abort(), timeoutMs)
  try {
    // The caller's signal stays connected while the body is read; only the timer ends with the head.
    const signal = caller === undefined ? late.signal : AbortSignal.any([caller, late.signal])
    return await fetch(url, { ...init, signal })
  } catch (error) {
    if (caller?.aborted) throw caller.reason
    const origin = new URL(url).origin
    if (late.signal.aborted) {
      throw new TimeoutError({
        status: 0,
        code: "TIMEOUT",
        message: `${origin} gave no answer within ${timeoutMs / 1000} s.`,
      })
    }
    throw new ConnectionError({
      status: 0,
      code: "UNREACHABLE",
      message: `${origin} cannot be reached (${reasonOf(error)}).`,
      cause: error,
    })
  } finally {
    clearTimeout(timer)
  }
}

/**
 * A `fetch` with a time limit per try and a few jittered retries of what can heal: lost connections, timeouts and
 * 429/502/503/504, for idempotent requests only. Rejects with `ConnectionError`, `TimeoutError` or the reason of
 * the caller's signal; every answer, whatever its status, is returned.
 */
export const resilientFetch = async (
  fetch: typeof globalThis.fetch,
  policy: RetryPolicy,
  url: string,
  init: RequestInit,
): Promise<Response> => {
  const signal = init.signal ?? undefined
  for (let tries = 0; ; tries++) {
    const canRetry = tries < policy.maxRetries && isIdempotent(init)
    let waitMs = policy.retryDelayMs * 2 ** tries * (0.5 + Math.random())
    try {
      const response = await once(fetch, url, init, policy.timeoutMs)
      if (!canRetry || !transientStatus.has(response.status)) return response
      const askedMs = (retryAfterOf(response.headers) ?? 0) * 1000
      if (askedMs > longestPauseMs) return response
      waitMs = Math.max(waitMs, askedMs)
      // Frees the connection; what it said does not matter any more.
      await response.body?.cancel()
    } catch (error) {
      const canHeal = error instanceof ConnectionError || error instanceof TimeoutError
      if (!canRetry || !canHeal) throw error
    }
    await pause(waitMs, signal)
  }
}
