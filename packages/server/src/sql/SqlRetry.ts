import { isPostgresOutage, untilReconnected, untilUncontended } from "@rat/lakehouse"
import { Effect } from "effect"
import type { SqlError } from "effect/sql"

const contention = new Set(["DeadlockError", "SerializationError", "LockTimeoutError"])

const isContention = (error: { readonly _tag: string }): boolean =>
  error._tag === "SqlError" && contention.has((error as SqlError.SqlError).reason._tag)

const isOutage = (error: { readonly _tag: string }): boolean =>
  error._tag === "SqlError" && isPostgresOutage(error as SqlError.SqlError)

/**
 * Repeats a statement or a whole transaction that Postgres rolled back in favour of another one (40P01, 40001, 55P03).
 * Nothing of it was kept, so repeating is safe.
 */
export const retryContention = <A, E extends { readonly _tag: string }, R>(
  effect: Effect.Effect<A, E, R>,
): Effect.Effect<A, E, R> => Effect.retry(effect, { schedule: untilUncontended, while: isContention })

/** About half a minute: longer than any restart of Postgres should take. */
const tries = 30

/**
 * Waits for Postgres to come back: for callers that have nowhere to report an outage to. Only for work that may be repeated
 * after an answer was lost.
 */
export const outlastOutage = <A, E extends { readonly _tag: string }, R>(
  effect: Effect.Effect<A, E, R>,
): Effect.Effect<A, E, R> =>
  Effect.retry(effect, {
    schedule: untilReconnected,
    times: tries,
    while: (error) => isContention(error) || isOutage(error),
  })
