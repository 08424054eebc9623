import type { PgClient } from "@effect/sql-pg"
import type { Event } from "@rat/domain"
import { Effect } from "effect"
import type { EventFilter } from "./EventHub.ts"
import { type EventRow, toEvent } from "./EventRow.ts"

/** Offsets that one read looks at when a filter may leave most of them out: bounds the time of a page. */
const window = 20_000

/** A piece of the log behind an offset. */
export interface EventPage {
  /** In order. */
  readonly events: ReadonlyArray<Event>
  /** What to read behind next; `newest` when there is no more. Beyond the last event where the filter left some out. */
  readonly next: bigint
  /** Offset of the newest event there is. */
  readonly newest: bigint
  /** Offset of the oldest event that is kept; one above `newest` when none is. */
  readonly oldest: bigint
  /** Events behind the offset that retention has removed. */
  readonly missed: number
}

interface PageRow {
  readonly last_offset: bigint
  readonly pruned_to: bigint
  readonly offset: bigint | null
}

/** Reads of the log. One statement, so what it says of the log's ends belongs to the events. */
export const makeEventRead = (sql: PgClient.PgClient) =>
  Effect.fn("EventLog.page")(function* (after: bigint, limit: number, filter: EventFilter = {}) {
    const isWide = filter.key === undefined && (filter.namespace !== undefined || filter.types !== undefined)
    const rows = yield* sql<PageRow & EventRow>`
      select h.last_offset, h.pruned_to, e."offset", e.key, e.type, e.namespace, e.payload, e.at
      from event_head h
      left join lateral (
        select "offset", key, type, namespace, payload, at
        from event
        where ${sql.and([
          sql`"offset" > greatest(${after}::bigint, h.pruned_to)`,
          ...(isWide ? [sql`"offset" <= greatest(${after}::bigint, h.pruned_to) + ${window}`] : []),
          ...(filter.key === undefined ? [] : [sql`key = ${filter.key}`]),
          ...(filter.namespace === undefined ? [] : [sql`namespace = ${filter.namespace}`]),
          ...(filter.types === undefined ? [] : [sql.in("type", filter.types)]),
        ])}
        order by "offset"
        limit ${limit}
      ) e on true
      order by e."offset"`
    const { last_offset: newest, pruned_to: prunedTo } = rows[0]!
    const events = rows[0]!.offset === null ? [] : rows.map(toEvent)
    const from = after < prunedTo ? prunedTo : after
    const end = isWide && from + BigInt(window) < newest ? from + BigInt(window) : newest
    const page: EventPage = {
      events,
      next: events.length === limit ? events.at(-1)!.offset : end > after ? end : after,
      newest,
      oldest: prunedTo + 1n,
      missed: after < prunedTo ? Number(prunedTo - after) : 0,
    }
    return page
  })
