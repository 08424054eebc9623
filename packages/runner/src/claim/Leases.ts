import { type Lease, LeaseLost, type RunId } from "@rat/domain"
import { Clock, DateTime, Deferred, Effect, Latch, Option } from "effect"
import type { RunControl } from "./RunControl.ts"

/** Shortest time between two renewals, against leases of no length; and longest, against a clock that is behind control's. */
const leastIntervalMs = 100
const mostIntervalMs = 2_000
/** After a renewal that did not get through. */
const retryMs = 250
/** A renewal that hangs (a connection that swallows everything) is given up for another one. */
const patience = "5 seconds"

interface Held {
  readonly lease: Lease
  /** By our clock, in ms since 1970. */
  expiresAtMs: number
}

/** The leases of all attempts of a node. */
export interface Leases {
  readonly hold: (lease: Lease) => Effect.Effect<void>
  readonly release: (lease: Lease) => void
  /**
   * For what must not be done on a lease that is gone. Returns at once while it is good by our clock. When it may have run out (this
   * process slept, or control is away), control is asked, for as long as it takes.
   */
  readonly confirm: (lease: Lease) => Effect.Effect<void, LeaseLost>
  /** Renews, until interrupted; idle while nothing is held. */
  readonly keep: Effect.Effect<never>
}

/**
 * Renews all leases in one call, every third of their length. A lease that control says is gone is `lost`: its run must stop at once.
 * While control cannot be reached nobody can take a run over, so its work goes on even when the lease has run out; all that could do harm
 * (the branch, the end of the run) asks Postgres, which knows the newest attempt.
 */
export const makeLeases = Effect.fnUntraced(function* (options: {
  readonly control: RunControl["Service"]
  readonly lost: (runId: RunId) => Effect.Effect<void>
}) {
  const held = new Map<RunId, Held>()
  const any = yield* Latch.make(false)
  const early = yield* Latch.make(false)
  let intervalMs = mostIntervalMs
  let isAway = false
  /** Answered by the next renewal that gets through. */
  let next = Deferred.makeUnsafe<void>()

  const isHeld = (lease: Lease): boolean => held.get(lease.runId)?.lease.fencingToken === lease.fencingToken

  /**
   * Only if it is still that lease: a newer one of the same run may have come meanwhile, with the same number of the attempt
   * when the older was given back.
   */
  const drop = (lease: Lease): boolean => isHeld(lease) && held.delete(lease.runId)

  const lose = (lease: Lease) => Effect.suspend(() => (drop(lease) ? options.lost(lease.runId) : Effect.void))

  const ask = Effect.fnUntraced(function* (leases: ReadonlyArray<Lease>) {
    const answer = yield* options.control.Renew({ leases }).pipe(
      Effect.timeoutOption(patience),
      Effect.catchCause((cause) =>
        Effect.as(isAway ? Effect.void : Effect.logWarning("Leases could not be renewed", cause), Option.none()),
      ),
    )
    return Option.getOrNull(answer)
  })

  const renew = Effect.gen(function* () {
    const told = next
    const leases = Array.from(held.values(), ({ lease }) => lease)
    const answer = yield* ask(leases)
    if (answer === null) {
      isAway = true
      return yield* Effect.sleep(Math.min(retryMs, intervalMs))
    }
    if (isAway) yield* Effect.logInfo("Leases can be renewed again")
    isAway = false
    for (const { runId, fencingToken } of leases) {
      const entry = held.get(runId)
      if (entry?.lease.fencingToken === fencingToken) entry.expiresAtMs = answer.expiresAt.epochMilliseconds
    }
    const lost = leases.filter((lease) => answer.lost.includes(lease.runId))
    yield* Effect.forEach(lost, lose, { discard: true })
    next = Deferred.makeUnsafe()
    yield* Deferred.succeed(told, undefined)
  })

  return {
    hold: (lease) =>
      Effect.map(DateTime.now, (now) => {
        const expiresAtMs = lease.expiresAt.epochMilliseconds
        held.set(lease.runId, { lease, expiresAtMs })
        intervalMs = Math.max(leastIntervalMs, Math.min(intervalMs, (expiresAtMs - now.epochMilliseconds) / 3))
        any.openUnsafe()
      }),
    release: (lease) => {
      drop(lease)
      if (held.size === 0) any.closeUnsafe()
    },
    confirm: Effect.fnUntraced(function* (lease) {
      const now = yield* Clock.currentTimeMillis
      const entry = held.get(lease.runId)
      if (!isHeld(lease) || entry === undefined) {
        return yield* new LeaseLost({ runId: lease.runId, attempt: lease.attempt })
      }
      if (now < entry.expiresAtMs) return
      // The renewal that is on its way may have begun before; its answer holds for this lease all the same.
      early.openUnsafe()
      yield* Deferred.await(next)
      if (!isHeld(lease)) return yield* new LeaseLost({ runId: lease.runId, attempt: lease.attempt })
    }),
    keep: Effect.forever(
      Effect.gen(function* () {
        yield* any.await
        if (!isAway) {
          yield* Effect.raceFirst(Effect.sleep(intervalMs), early.await)
          early.closeUnsafe()
        }
        if (held.size > 0) yield* renew
        else any.closeUnsafe()
      }),
    ),
  } satisfies Leases as Leases
})
