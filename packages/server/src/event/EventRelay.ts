import type { PgClient } from "@effect/sql-pg"
import type { Event } from "@rat/domain"
import { Clock, DateTime, Effect } from "effect"
import type { SqlError } from "effect/sql"
import { type EventRow, toEvent } from "./EventRow.ts"
import type { EventSettings } from "./EventSettings.ts"
import { Outbox } from "./Outbox.ts"

const batchSize = 1000

/** Under load the relay moves what gathered in this time, in one transaction. The first event is moved at once. */
const gatherMs = 10

/**
 * Events of a node that was killed between a commit and its wake-up lie in the outbox until any relay runs. This is how
 * long that takes at most when nothing else happens anywhere: soon while something was going on, seldom on an idle system.
 */
const sweepMs = { first: 5_000, most: 60_000 }

/**
 * Moves events from the outbox to the log whenever this node appended some, and hands them to `deliver`. Every node
 * does this; `event_relay` lets them take turns, so there is no leader that could be missing.
 */
export const relayForever = (options: {
  readonly sql: PgClient.PgClient
  readonly node: string
  readonly deliver: (events: ReadonlyArray<Event>) => Effect.Effect<void, SqlError.SqlError>
}) =>
  Effect.gen(function* () {
    const { sql, node, deliver } = options
    const outbox = yield* Outbox

    const move = Effect.fn("EventRelay.move", { root: true })(function* () {
      for (let moved = 0; ; ) {
        const rows = yield* sql<EventRow>`
          select "offset", key, type, namespace, payload, at
          from event_relay(${batchSize}, ${node})`
        moved += rows.length
        if (rows.length > 0) yield* deliver(rows.map(toEvent))
        if (rows.length < batchSize) return moved
      }
    })

    let idleMs = sweepMs.first
    yield* Effect.gen(function* () {
      const isWoken = yield* outbox.woken.pipe(
        Effect.as(true),
        Effect.timeoutOrElse({ duration: idleMs, orElse: () => Effect.succeed(false) }),
      )
      const startedAt = yield* Clock.currentTimeMillis
      const moved = yield* move().pipe(
        Effect.catch((error) =>
          // The rows stay where they are; the next try finds them.
          Effect.logWarning("Events could not be moved to the log; trying again", error).pipe(
            Effect.andThen(Effect.sleep("200 millis")),
            Effect.andThen(outbox.wake),
            Effect.as(0),
          ),
        ),
      )
      idleMs = isWoken || moved > 0 ? sweepMs.first : Math.min(sweepMs.most, idleMs * 2)
      const tookMs = (yield* Clock.currentTimeMillis) - startedAt
      if (tookMs < gatherMs) yield* Effect.sleep(gatherMs - tookMs)
    }).pipe(Effect.forever)
  })

const prunePage = 10_000
const pruneEveryMs = 60_000
/** When no event was added, only age can make one too old. */
const pruneIdleMs = 3_600_000

/** Keeps the log from growing without an end. Cheap on every node: it looks at the oldest page only. */
export const pruneForever = (options: {
  readonly sql: PgClient.PgClient
  readonly settings: EventSettings
  readonly position: () => bigint
}) =>
  Effect.gen(function* () {
    const { position, settings, sql } = options
    let prunedAt = Number.NEGATIVE_INFINITY
    let prunedPosition = -1n
    const prune = Effect.gen(function* () {
      for (;;) {
        const before = DateTime.subtract(yield* DateTime.now, { days: settings.maxAgeDays })
        const [row] = yield* sql<{ pruned: bigint }>`
          select event_prune(${DateTime.toDateUtc(before)}::timestamptz, ${settings.maxRows}::bigint, ${prunePage}) as pruned`
        if (Number(row!.pruned) < prunePage) return
      }
    })
    yield* Effect.gen(function* () {
      const now = yield* Clock.currentTimeMillis
      if (position() !== prunedPosition || now - prunedAt >= pruneIdleMs) {
        prunedPosition = position()
        prunedAt = now
        yield* prune.pipe(Effect.catch((error) => Effect.logWarning("Old events could not be pruned", error)))
      }
      yield* Effect.sleep(pruneEveryMs)
    }).pipe(Effect.forever)
  })
