import { isPostgresOutage } from "@rat/lakehouse"
import { Effect, Schedule } from "effect"
import type { SqlError } from "effect/sql"

const contention = new Set(["DeadlockError", "SerializationError", "LockTimeoutError"])

const isContention = (error: { readonly _tag: string }): boolean =>
  error._tag === "SqlError" && contention.has((error as SqlError.SqlError).reason._tag)

const isOutage = (error: { readonly _tag: string }): boolean =>
  error._tag === "SqlError" && isPostgresOutage(error as SqlError.SqlError)

const backoff = Schedule.exponential("2 millis", 2).pipe(Schedule.jittered)

/**
 * Repeats a statement or a whole transaction that Postgres rolled back in favour of another one (40P01, 40001, 55P03):
 * at most six times within about 200 ms. Nothing of it was kept, so repeating is safe.
 */
export const retryContention = <A, E extends { readonly _tag: string }, R>(
  effect: Effect.Effect<A, E, R>,
): Effect.Effect<A, E, R> => Effect.retry(effect, { schedule: backoff, times: 6, while: isContention })

/**
 * Waits for Postgres to come back: for callers that have nowhere to report an outage to. At most about 30 s. Only for
 * work that may be repeated after an answer was lost.
 */
export const outlastOutage = <A, E extends { readonly _tag: string }, R>(
  effect: Effect.Effect<A, E, R>,
): Effect.Effect<A, E, R> =>
  Effect.retry(effect, {
    schedule: Schedule.min([Schedule.exponential("20 millis", 2), Schedule.spaced("2 seconds")]).pipe(
      Schedule.jittered,
    ),
    times: 20,
    while: (error) => isContention(error) || isOutage(error),
  })
