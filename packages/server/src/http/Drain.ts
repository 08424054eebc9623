import { Context, Deferred, Effect, Layer, Stream } from "effect"
import { HttpBody, HttpServerResponse } from "effect/http"

import { openStream } from "../telemetry/Metrics.ts"
import { farewell } from "./ServerSentEvents.ts"

/**
 * Says that the server is about to stop. Requests that are being answered finish; event streams, which have no end of
 * their own, are told and closed, so that their clients reconnect elsewhere.
 */
export class Drain extends Context.Service<
  Drain,
  {
    readonly begin: Effect.Effect<void>
    readonly begun: Effect.Effect<boolean>
    readonly await: Effect.Effect<void>
  }
>()("rat/server/http/Drain") {
  static readonly layer = Layer.effect(
    Drain,
    Effect.gen(function* () {
      const signal = yield* Deferred.make<void>()
      return Drain.of({
        begin: Effect.asVoid(Deferred.succeed(signal, undefined)),
        begun: Deferred.isDone(signal),
        await: Deferred.await(signal),
      })
    }),
  )
}

const lastWords = new TextEncoder().encode(farewell)

/** Ends event streams when the drain begins, and asks clients not to reuse a connection of a stopping server. */
export const withDrain =
  (drain: Drain["Service"]) =>
  <E, R>(app: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>) =>
    Effect.gen(function* () {
      const response = yield* app
      const closing = yield* drain.begun
      const body = response.body
      if (body._tag === "Stream" && body.contentType.startsWith("text/event-stream")) {
        const stream = Stream.concat(
          Stream.interruptWhen(Stream.unwrap(Effect.as(openStream, body.stream)), drain.await),
          Stream.fromEffect(drain.begun).pipe(
            Stream.flatMap((told) => (told ? Stream.succeed(lastWords) : Stream.empty)),
          ),
        )
        return HttpServerResponse.setBody(response, HttpBody.stream(stream, body.contentType))
      }
      return closing ? HttpServerResponse.setHeader(response, "connection", "close") : response
    })
