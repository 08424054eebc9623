import { NodeHttpServerRequest } from "@effect/platform-node"
import { Api } from "@rat/domain"
import { Duration, Effect, Option, Stream } from "effect"
import { HttpServerResponse } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import { wired, wireError } from "../http/ErrorEnvelope.ts"
import { eventStreamHeaders, sseEvent } from "../http/ServerSentEvents.ts"
import { LogStreams } from "../run/LogStream.ts"
import { RunSettings } from "../run/RunSettings.ts"
import { EventBroadcast } from "./EventBroadcast.ts"
import { EventConsumers } from "./EventConsumers.ts"
import type { EventFilter } from "./EventHub.ts"
import { EventLog } from "./EventLog.ts"
import { typesOf } from "./EventWire.ts"

const pageLimit = (text: string | undefined): number => {
  const limit = Number.parseInt(text ?? "", 10)
  return Number.isNaN(limit) ? 100 : Math.min(1000, Math.max(1, limit))
}

const filterOf = (query: {
  readonly key?: string | undefined
  readonly namespace?: string | undefined
  readonly type?: string | undefined
}) =>
  Effect.gen(function* () {
    const types = query.type === undefined ? undefined : typesOf(query.type)
    if (types !== undefined && "unknown" in types) {
      return yield* Effect.fail(
        wireError(
          400,
          `query parameter "type": "${types.unknown}" is no type of events. Types are like "run.succeeded" or "run.*".`,
        ),
      )
    }
    const filter: EventFilter = {
      ...(query.key === undefined ? {} : { key: query.key }),
      ...(query.namespace === undefined ? {} : { namespace: query.namespace }),
      ...(types === undefined ? {} : { types }),
    }
    return filter
  })

/** What `Last-Event-ID` names, as far as it is an offset; it wins, because a client that resumes keeps its first address. */
const resumeAt = (lastEventId: string | undefined, after: string | undefined): bigint | undefined =>
  /^\d{1,18}$/.test(lastEventId ?? "") ? BigInt(lastEventId!) : after === undefined ? undefined : BigInt(after)

const encoder = new TextEncoder()

export const EventsHttp = HttpApiBuilder.group(
  Api,
  "events",
  Effect.fn(function* (handlers) {
    const log = yield* EventLog
    const broadcast = yield* EventBroadcast
    const consumers = yield* EventConsumers
    const streams = yield* LogStreams
    const { streamMaxLife } = yield* RunSettings

    const tooOld = encoder.encode(
      sseEvent({
        name: "error",
        json: JSON.stringify({
          code: "TIMEOUT",
          message: `A stream lives at most ${Duration.format(streamMaxLife)}. Connect again with Last-Event-ID to go on.`,
        }),
      }),
    )

    return handlers.handleAll({
      list: ({ headers, query, request }) =>
        wired(
          Effect.gen(function* () {
            const filter = yield* filterOf(query)
            if (!headers.accept?.includes("text/event-stream")) {
              const { events, missed, newest, next, oldest } = yield* log.page(
                BigInt(query.after ?? "0"),
                pageLimit(query.limit),
                filter,
              )
              // Who begins at the beginning has missed nothing.
              return { events, next, oldest, newest, missed: query.after === undefined ? 0 : missed }
            }
            yield* streams.enter(Option.getOrElse(request.remoteAddress, () => "unknown"))
            const response = NodeHttpServerRequest.toServerResponse(request)
            if (!("chunkedEncoding" in response)) {
              return yield* Effect.die(new Error("streams of events are written to connections of HTTP/1"))
            }
            const after = resumeAt(headers["last-event-id"], query.after)
            const sent = Stream.fromEffect(
              broadcast
                .send(response, { filter, after })
                .pipe(Effect.timeoutOrElse({ duration: streamMaxLife, orElse: () => Effect.succeed(tooOld) })),
            )
            return HttpServerResponse.stream(sent, { contentType: "text/event-stream", headers: eventStreamHeaders })
          }),
        ),
      consumers: () => wired(consumers.list),
      replay: ({ params, payload }) => wired(consumers.replay(params.name, BigInt(payload.from))),
      skip: ({ params, payload }) => wired(consumers.skip(params.name, BigInt(payload.offset))),
      forget: ({ params }) => wired(consumers.forget(params.name)),
    })
  }),
)
