import type { Lease, RunId } from "@rat/domain"
import { Clock, DateTime, Effect, Latch } from "effect"
import type { RunControl } from "./RunControl.ts"

/** Shortest time between two renewals, against leases of no length. */
const leastIntervalMs = 100
/** After a renewal that did not get through. */
const retryMs = 500

interface Held {
  readonly lease: Lease
  /** By our clock, in ms since 1970. */
  expiresAtMs: number
}

/** The leases of all attempts of a node. */
export interface Leases {
  readonly hold: (lease: Lease) => Effect.Effect<void>
  readonly release: (lease: Lease) => void
  /** Renews, until interrupted; idle while nothing is held. */
  readonly keep: Effect.Effect<never>
}

/**
 * Renews all leases in one call, every third of their length. A lease that control says is gone, or that ran out because
 * control could not be reached, is `lost`: its run must stop at once.
 */
export const makeLeases = Effect.fnUntraced(function* (options: {
  readonly control: RunControl["Service"]
  readonly lost: (runId: RunId) => Effect.Effect<void>
}) {
  const held = new Map<RunId, Held>()
  const any = yield* Latch.make(false)
  let intervalMs = Number.POSITIVE_INFINITY

  /**
   * Only if it is still that lease: a newer one of the same run may have come meanwhile, with the same number of the attempt
   * when the older was given back.
   */
  const drop = (lease: Lease): boolean =>
    held.get(lease.runId)?.lease.fencingToken === lease.fencingToken && held.delete(lease.runId)

  const lose = (lease: Lease) => Effect.suspend(() => (drop(lease) ? options.lost(lease.runId) : Effect.void))

  const renew = Effect.gen(function* () {
    const leases = Array.from(held.values(), ({ lease }) => lease)
    const answer = yield* options.control
      .Renew({ leases })
      .pipe(Effect.catchCause((cause) => Effect.as(Effect.logWarning("Leases could not be renewed", cause), null)))
    if (answer !== null) {
      for (const { runId, fencingToken } of leases) {
        const entry = held.get(runId)
        if (entry?.lease.fencingToken === fencingToken) entry.expiresAtMs = answer.expiresAt.epochMilliseconds
      }
      const lost = leases.filter((lease) => answer.lost.includes(lease.runId))
      yield* Effect.forEach(lost, lose, { discard: true })
      return
    }
    const now = yield* Clock.currentTimeMillis
    const expired = Array.from(held.values()).flatMap((entry) => (entry.expiresAtMs <= now ? [entry.lease] : []))
    yield* Effect.forEach(expired, lose, { discard: true })
    yield* Effect.sleep(Math.min(retryMs, intervalMs))
    if (held.size > 0) return yield* renewAgain
  })
  const renewAgain: Effect.Effect<void> = Effect.suspend(() => renew)

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
    keep: Effect.forever(
      Effect.gen(function* () {
        yield* any.await
        yield* Effect.sleep(intervalMs)
        if (held.size > 0) yield* renew
        else any.closeUnsafe()
      }),
    ),
  } satisfies Leases as Leases
})
