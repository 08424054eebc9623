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
  "pipeline.described",
  "file.written",
  "file.deleted",
  "landing.zone_created",
  "landing.zone_updated",
  "landing.zone_deleted",
  "landing.uploaded",
  "landing.deleted",
  "namespace.created",
  "namespace.updated",
  "namespace.deleted",
  "table.published",
  "table.described",
  "table.maintained",
  "branch.created",
  "branch.updated",
  "branch.deleted",
  "tag.created",
  "tag.updated",
  "tag.deleted",
  "maintenance.running",
  "maintenance.succeeded",
  "maintenance.failed",
  "consumer.missed",
])
export type EventType = typeof EventType.Type

/** One entry of the event log. At-least-once, ordered per key, replayable from an offset. */
export class Event extends Schema.Class<Event>("rat/domain/Event")({
  /** Position in the log; rises without gaps in order of delivery. Consumers store it. */
  offset: Schema.BigIntFromString,
  /** What the event is about: run id, pipeline id, path. Events of one key are in order. */
  key: Schema.String,
  type: EventType,
  /** Empty for what is in no namespace: branches, tags, consumers. */
  namespace: Schema.String,
  payload: Schema.Json,
  at: Schema.DateTimeUtcFromDate,
}) {}
