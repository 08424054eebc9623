import { Clock, Effect, FiberHandle } from "effect"

/** Longer waits are cut: looking at the queue once an hour costs nothing, and timers hold 24 days at most. */
const longestMs = 3_600_000

/**
 * Calls `wake` when the next run that waits for its time is due. One timer, for the earliest moment that it was told of: nobody polls.
 */
export const makeDueTimer = (wake: () => void) =>
  Effect.gen(function* () {
    const timer = yield* FiberHandle.make()
    const clock = yield* Clock.Clock
    let dueAt = Number.POSITIVE_INFINITY

    return {
      /** Something is due in `ms`; null: nothing is. */
      next: (ms: number | null) =>
        Effect.suspend(() => {
          if (ms === null) return Effect.void
          const now = clock.currentTimeMillisUnsafe()
          const wait = Math.min(Math.max(0, ms), longestMs)
          // What was due before has woken somebody, or a later look brings it again.
          if (dueAt > now && dueAt <= now + wait) return Effect.void
          dueAt = now + wait
          return FiberHandle.run(
            timer,
            Effect.andThen(
              Effect.sleep(wait),
              Effect.sync(() => {
                dueAt = Number.POSITIVE_INFINITY
                wake()
              }),
            ),
          )
        }),
    }
  })
