import { Clock, Effect } from "effect"
import { SqlClient } from "effect/sql"

/** What a full queue belongs to. */
export interface QueueScope {
  readonly scope: "pipeline" | "namespace"
  /** Name of the namespace, or id of the pipeline. */
  readonly id: string
}

/** Starts that are looked at: enough for a rate, few enough to be quick. */
const maxStarts = 50
/** A full queue is asked again once a tenth of it has moved, so that those who were refused do not all come for one place. */
const movedShare = 0.1
/** Bounds of the answer, in seconds. Beyond the upper one nobody knows. */
const least = 1
const most = 300
/** Under a flood of refusals one look a second is enough. */
const keptMs = 1000
const maxKept = 10_000

/** Milliseconds since the epoch at which a UUIDv7 was made. */
const madeAt = (id: string): number => Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16)

/**
 * When to come back to a full queue. `startsPerSecond` is null when nothing of the queue has ever started: then one waits as long
 * again as its oldest run has. Pure; whole seconds from 1 to 300.
 */
export const retryAfterSeconds = (queue: {
  readonly limit: number
  readonly startsPerSecond: number | null
  readonly oldestWaitsSeconds: number
}): number => {
  const places = Math.max(1, queue.limit * movedShare)
  const seconds = queue.startsPerSecond === null ? queue.oldestWaitsSeconds : places / queue.startsPerSecond
  return Math.min(most, Math.max(least, Math.ceil(seconds)))
}

/** How fast queues move, read from the runs that started last: a queue that stands still answers with ever longer times. */
export const makePace = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const known = new Map<string, { readonly at: number; readonly seconds: number }>()

  const look = ({ scope, id }: QueueScope) => {
    const of = scope === "pipeline" ? sql`pipeline_id = ${id}::uuid` : sql`namespace = ${id}`
    return sql<{
      readonly starts: number
      readonly seconds: number | null
      readonly oldest: string | null
    }>`
      with started as (
        select started_at
        from run
        where ${of} and started_at is not null
        order by id desc
        limit ${maxStarts}
      )
      select
        (select count(*)::integer from started) as starts,
        (select extract(epoch from clock_timestamp() - min(started_at))::float8 from started) as seconds,
        (select run_id from run_queue where ${of} order by run_id limit 1) as oldest`
  }

  return Effect.fn("QueuePace.retryAfter")(function* (queue: QueueScope, limit: number) {
    const now = yield* Clock.currentTimeMillis
    const key = `${queue.scope} ${queue.id}`
    const last = known.get(key)
    if (last !== undefined && now - last.at < keptMs) return last.seconds
    const { starts, seconds: within, oldest } = (yield* look(queue))[0]!
    const seconds = retryAfterSeconds({
      limit,
      startsPerSecond: within === null ? null : starts / Math.max(within, 0.001),
      oldestWaitsSeconds: oldest === null ? 0 : (now - madeAt(oldest)) / 1000,
    })
    if (known.size >= maxKept) known.clear()
    known.set(key, { at: now, seconds })
    return seconds
  })
})
