import { Schema } from "effect"

export const EventType = Schema.Literals([
  "run.queued",
  "run.running",
  "run.succeeded",
  "run.failed",
  "run.cancelled",
  "pipeline.created",
  "pipeline.updated",
  "pipeline.deleted",
  "file.written",
  "file.deleted",
  "landing.uploaded",
  "table.published",
  "maintenance.running",
  "maintenance.succeeded",
  "maintenance.failed",
])
export type EventType = typeof EventType.Type

/** One entry of the event log. At-least-once, ordered per key, replayable from an offset. */
export class Event extends Schema.Class<Event>("rat/domain/Event")({
  /** Position in the log; rises without gaps in order of delivery. Consumers store it. */
  offset: Schema.BigIntFromString,
  /** What the event is about: run id, pipeline id, path. Events of one key are in order. */
  key: Schema.String,
  type: EventType,
  namespace: Schema.String,
  payload: Schema.Json,
  at: Schema.DateTimeUtcFromDate,
}) {}
