import { Event, type EventType } from "@rat/domain"
import { DateTime, type Schema } from "effect"

/** A row of table `event`. */
export interface EventRow {
  readonly offset: bigint
  readonly key: string
  readonly type: string
  readonly namespace: string
  readonly payload: Schema.Json
  readonly at: Date
}

/** The rows were written by this server, so they are not checked again: this is on the path to every subscriber. */
export const toEvent = (row: EventRow): Event =>
  new Event({ ...row, type: row.type as EventType, at: DateTime.fromDateUnsafe(row.at) }, { disableChecks: true })
