import { Schema } from "effect"
import { HttpApi, HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { Event } from "../event/Event.ts"
import { ConsumerName, EventConsumer } from "../event/EventConsumer.ts"
import { commonErrors } from "./ApiErrors.ts"
import { strictBody } from "./StrictBody.ts"

/** An offset in a URL: decimal, without sign. */
export const OffsetText = Schema.String.check(
  Schema.isPattern(/^\d{1,18}$/, { message: "must be an offset of the event log: a whole number" }),
)

const params = { name: ConsumerName }

export class EventsApi extends HttpApiGroup.make("events")
  .add(
    /**
     * JSON: events behind `after` (default: the oldest there is), at most `limit` (1..1000, default 100); `next` is where
     * the following page begins and equals `newest` when there are no more. With `Accept: text/event-stream` every event
     * as it happens, without an end: `id` is the offset, `data` the event; resumes behind `Last-Event-ID` or `after`,
     * starts with events from now on without either. `event: gap` says that retention has removed events that were asked
     * for, `event: error` that the server ends the stream.
     */
    HttpApiEndpoint.get("list", "/", {
      query: {
        after: Schema.optional(OffsetText),
        limit: Schema.optional(Schema.String),
        namespace: Schema.optional(Schema.String.check(Schema.isMaxLength(200))),
        /** Types, separated by commas; `run.*` is every type of runs. */
        type: Schema.optional(Schema.String.check(Schema.isMaxLength(2000))),
        /** What the event is about: run id, pipeline id, path, table. */
        key: Schema.optional(Schema.String.check(Schema.isMaxLength(1200))),
      },
      headers: { accept: Schema.optional(Schema.String), "last-event-id": Schema.optional(Schema.String) },
      success: Schema.Struct({
        events: Schema.Array(Event),
        /** Offset to ask behind for the following page. */
        next: Schema.BigIntFromString,
        /** Offset of the oldest event that is kept, and of the newest. */
        oldest: Schema.BigIntFromString,
        newest: Schema.BigIntFromString,
        /** Events that were asked for and that retention has removed. */
        missed: Schema.Int,
      }),
      error: commonErrors,
    }).annotate(OpenApi.Summary, "Events as JSON pages, or live as server-sent events"),
  )
  .add(
    HttpApiEndpoint.get("consumers", "/consumers", {
      success: Schema.Struct({
        consumers: Schema.Array(EventConsumer),
        oldest: Schema.BigIntFromString,
        newest: Schema.BigIntFromString,
      }),
      error: commonErrors,
    }).annotate(OpenApi.Summary, "Durable consumers: how far they are, which node works, what fails"),
  )
  .add(
    HttpApiEndpoint.post("replay", "/consumers/:name/replay", {
      params,
      payload: Schema.Struct({ from: OffsetText }),
      success: EventConsumer,
      error: commonErrors,
    })
      .annotate(OpenApi.Summary, "Let a consumer handle events again, or leave some out: `from` is the next one")
      .annotate(HttpApi.PayloadParseOptions, strictBody),
  )
  .add(
    HttpApiEndpoint.post("skip", "/consumers/:name/skip", {
      params,
      payload: Schema.Struct({ offset: OffsetText }),
      success: EventConsumer,
      error: commonErrors,
    })
      .annotate(OpenApi.Summary, "Give up on the event that a consumer fails at")
      .annotate(HttpApi.PayloadParseOptions, strictBody),
  )
  .add(
    HttpApiEndpoint.delete("forget", "/consumers/:name", {
      params,
      success: HttpApiSchema.NoContent,
      error: commonErrors,
    }).annotate(OpenApi.Summary, "Forget how far a consumer was that no node works for any more"),
  )
  .prefix("/api/v1/events") {}
