import { Effect, type Option } from "effect"
import { HttpServerRequest, HttpServerResponse } from "effect/http"
import { matchesTag, maxKeptBytes, type ResponseCache, tagOf } from "../cache/ResponseCache.ts"
import { countCachedAnswer } from "../telemetry/Metrics.ts"

/** A client may keep the answer, and asks each time whether it still holds. */
const revalidate = "no-cache"

const notModified = (tag: string) =>
  HttpServerResponse.empty({ status: 304, headers: { etag: tag, "cache-control": revalidate } })

/** The body of an answer that can be told from another one: buffered JSON. */
const bodyOf = (response: HttpServerResponse.HttpServerResponse): Uint8Array | null => {
  const body = response.body
  return response.status === 200 &&
    body._tag === "Uint8Array" &&
    body.contentType.startsWith("application/json") &&
    body.contentLength <= maxKeptBytes
    ? body.body
    : null
}

/**
 * `ETag` on buffered JSON answers to GET, and 304 when the caller already has them. What changes seldom comes out of the
 * node's cache, if there is one and the answer still holds: then neither the body is built nor its tag.
 */
export const withETag =
  (cache: Option.Option<ResponseCache["Service"]>) =>
  <E, R>(app: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>) =>
    Effect.gen(function* () {
      const request = yield* HttpServerRequest.HttpServerRequest
      if (request.method !== "GET") return yield* app
      const known = request.headers["if-none-match"]
      const ahead = cache._tag === "None" ? null : cache.value.ahead(request)
      // `fetch` says no-cache by itself when its caller gives a tag; who gives one wants to know whether it still holds.
      const isWanted = known !== undefined || request.headers["cache-control"] !== "no-cache"
      if (cache._tag === "Some" && ahead !== null && isWanted) {
        const kept = yield* cache.value.find(ahead)
        if (kept !== null) {
          const isKnown = matchesTag(known, kept.tag)
          yield* countCachedAnswer(isKnown ? "not_modified" : "hit")
          return isKnown ? notModified(kept.tag) : kept.response
        }
        yield* countCachedAnswer("miss")
      }
      const response = yield* app
      // What knows a cheaper tag than a hash over everything has set it.
      if (response.headers.etag !== undefined) return response
      const bytes = bodyOf(response)
      if (bytes === null) return response
      const tag = tagOf(bytes)
      const tagged = HttpServerResponse.setHeaders(response, { etag: tag, "cache-control": revalidate })
      if (cache._tag === "Some" && ahead !== null) cache.value.keep(ahead, tagged, tag, bytes.byteLength)
      return matchesTag(known, tag) ? notModified(tag) : tagged
    })
