import type { PgClient } from "@effect/sql-pg"
import type { Event } from "@rat/domain"
import { Clock, DateTime, Effect } from "effect"
import type { SqlError } from "effect/sql"
import { type EventRow, toEvent } from "./EventRow.ts"
import { Outbox } from "./Outbox.ts"

const batchSize = 1000

/** Under load the relay moves what gathered in this time, in one transaction. The first event is moved at once. */
const gatherMs = 3

/**
 * Events of a node that was killed between a commit and its wake-up lie in the outbox until any relay runs. This is
 * the longest that takes when nothing else happens anywhere.
 */
const sweep = "5 seconds"

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
      for (;;) {
        const rows = yield* sql<EventRow>`
          select "offset", key, type, namespace, payload, at
          from event_relay(${batchSize}, ${node})`
        if (rows.length > 0) yield* deliver(rows.map(toEvent))
        if (rows.length < batchSize) return
      }
    })

    yield* Effect.gen(function* () {
      yield* outbox.woken.pipe(Effect.timeoutOrElse({ duration: sweep, orElse: () => Effect.void }))
      const startedAt = yield* Clock.currentTimeMillis
      yield* move().pipe(
        Effect.catch((error) =>
          // The rows stay where they are; the next try finds them.
          Effect.logWarning("Events could not be moved to the log; trying again", error).pipe(
            Effect.andThen(Effect.sleep("200 millis")),
            Effect.andThen(outbox.wake),
          ),
        ),
      )
      const tookMs = (yield* Clock.currentTimeMillis) - startedAt
      if (tookMs < gatherMs) yield* Effect.sleep(gatherMs - tookMs)
    }).pipe(Effect.forever)
  })

const pruneEvery = "1 minute"
const prunePage = 10_000

/** Keeps the log from growing without an end. Cheap on every node: it looks at the oldest page only. */
export const pruneForever = (options: { readonly sql: PgClient.PgClient; readonly maxAgeDays: number }) =>
  Effect.gen(function* () {
    const { sql, maxAgeDays } = options
    for (;;) {
      const before = DateTime.subtract(yield* DateTime.now, { days: maxAgeDays })
      const [row] = yield* sql<{ pruned: bigint }>`
        select event_prune(${DateTime.toDateUtc(before)}, ${prunePage}) as pruned`
      if (Number(row!.pruned) < prunePage) yield* Effect.sleep(pruneEvery)
    }
  }).pipe(
    Effect.catch((error) =>
      Effect.logWarning("Old events could not be pruned", error).pipe(Effect.andThen(Effect.sleep(pruneEvery))),
    ),
    Effect.forever,
  )
