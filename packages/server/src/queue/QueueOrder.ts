import type { RunId } from "@rat/domain"
import { Clock, Effect, Semaphore } from "effect"
import { SqlClient } from "effect/sql"

/** Up to this many pending runs the order is worked out for everybody who asks. */
const smallQueue = 500
/** A longer one is shared for this many times as long as it took to work out: at most a tenth of a session is spent on it. */
const keptFor = 10

interface Order {
  readonly begunAt: number
  readonly keptUntil: number
  readonly positions: ReadonlyMap<RunId, number>
}

/**
 * The order in which pending runs would be claimed if no other came and each could start when its turn comes: by namespace's share, in
 * a namespace by priority and age. Runs that wait for a time come last. Positions begin at 1.
 */
export const makeQueueOrder = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const turn = yield* Semaphore.make(1)
  let last: Order = { begunAt: -1, keptUntil: -1, positions: new Map() }

  const look = Effect.gen(function* () {
    const begunAt = yield* Clock.currentTimeMillis
    const rows = yield* sql<{ readonly run_id: RunId }>`
      select q.run_id
      from (
        select
          q.run_id, q.eligible_at, w.got, w.weight, coalesce(q.eligible_at > now(), false) as is_later,
          row_number() over (
            partition by q.namespace, coalesce(q.eligible_at > now(), false)
            order by q.priority desc, q.run_id) as place
        from run_queue q
        join queue_waiting() w on w.namespace = q.namespace
      ) q
      order by q.is_later, case when q.is_later then q.eligible_at end, q.got + q.place / q.weight, q.run_id`
    const endedAt = yield* Clock.currentTimeMillis
    last = {
      begunAt,
      keptUntil: rows.length <= smallQueue ? begunAt : endedAt + keptFor * (endedAt - begunAt),
      positions: new Map(rows.map((row, index) => [row.run_id, index + 1])),
    }
  })

  /** Places of pending runs; those that are not pending (any more) have none. */
  return Effect.fn("QueueOrder.positions")(function* (ids: ReadonlyArray<RunId>) {
    if (ids.length === 0) return new Map<RunId, number>()
    const askedAt = yield* Clock.currentTimeMillis
    const isFresh = () =>
      // Asked for while it was being worked out for somebody else: begun later than the question.
      last.begunAt > askedAt || (last.keptUntil > askedAt && ids.every((id) => last.positions.has(id)))
    if (!isFresh()) yield* turn.withPermits(1)(Effect.suspend(() => (isFresh() ? Effect.void : look)))
    return last.positions
  })
})
