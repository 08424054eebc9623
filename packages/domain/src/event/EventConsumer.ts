import { Schema } from "effect"

/** Name of a durable consumer of the event log. */
export const ConsumerName = Schema.String.check(
  Schema.isPattern(/^[a-z][a-z0-9._:-]{0,127}$/, {
    message:
      "must start with a lower-case letter and hold at most 128 lower-case letters, digits, '.', '_', ':' and '-'",
  }),
)
export type ConsumerName = typeof ConsumerName.Type

/** An event that a consumer cannot handle. It is tried again, with growing pauses, before any later one. */
export const FailingEvent = Schema.Struct({
  offset: Schema.BigIntFromString,
  since: Schema.DateTimeUtcFromDate,
  failures: Schema.Int,
  error: Schema.String,
  next_try_at: Schema.NullOr(Schema.DateTimeUtcFromDate),
})

/** How far a durable consumer has come. */
export class EventConsumer extends Schema.Class<EventConsumer>("rat/domain/EventConsumer")({
  name: Schema.String,
  /** The last event that was handled. */
  offset: Schema.BigIntFromString,
  /** Events of the log behind it, those that it does not want included. */
  lag: Schema.Int,
  /** The node that works for it, or did last. */
  node: Schema.NullOr(Schema.String),
  /** Whether a node works for it now. */
  is_working: Schema.Boolean,
  updated_at: Schema.DateTimeUtcFromDate,
  failing: Schema.NullOr(FailingEvent),
  /** Events that retention removed before they were handled. */
  missed: Schema.Int,
}) {}

export class ConsumerNotFound extends Schema.TaggedError<ConsumerNotFound>()(
  "ConsumerNotFound",
  { consumer: Schema.String },
  { httpApiStatus: 404 },
) {
  override get message() {
    return `No consumer of events is called "${this.consumer}". \`rat events consumers\` lists those there are.`
  }
}

/** The consumer does not fail at the event that was to be skipped: it went on meanwhile, or never stood there. */
export class NothingToSkip extends Schema.TaggedError<NothingToSkip>()(
  "NothingToSkip",
  { consumer: Schema.String, offset: Schema.String, failing: Schema.NullOr(Schema.String) },
  { httpApiStatus: 409 },
) {
  override get message() {
    const state = this.failing === null ? "is not failing" : `fails at event ${this.failing}`
    return `Consumer "${this.consumer}" ${state}, so event ${this.offset} was not skipped.`
  }
}

/** Events cannot be replayed from there: retention has removed them, or they do not exist yet. */
export class OffsetOutOfRange extends Schema.TaggedError<OffsetOutOfRange>()(
  "OffsetOutOfRange",
  { offset: Schema.String, oldest: Schema.String, newest: Schema.String },
  { httpApiStatus: 400 },
) {
  override get message() {
    return `Offset ${this.offset} is not in the event log, which goes from ${this.oldest} to ${this.newest}. Replay from an offset between them.`
  }
}

/** A node works for the consumer, so how far it is cannot be forgotten. */
export class ConsumerAtWork extends Schema.TaggedError<ConsumerAtWork>()(
  "ConsumerAtWork",
  { consumer: Schema.String, node: Schema.NullOr(Schema.String) },
  { httpApiStatus: 409 },
) {
  override get message() {
    return `Node ${this.node ?? "(unknown)"} works for consumer "${this.consumer}", which would make it again. Stop what consumes first.`
  }
}
