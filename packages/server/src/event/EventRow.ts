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
export const toEvent = ({ at, key, namespace, offset, payload, type }: EventRow): Event =>
  new Event(
    { offset, key, type: type as EventType, namespace, payload, at: DateTime.fromDateUnsafe(at) },
    { disableChecks: true },
  )
