import { createHash } from "node:crypto"
import { Effect } from "effect"
import { HttpServerRequest, HttpServerResponse } from "effect/http"

/** Larger answers are not hashed: it would cost more than it saves. */
const maxHashedBytes = 1024 * 1024

/**
 * `ETag` on buffered JSON answers to GET, and 304 when the caller already has them. Weak, because it says that the
 * content is the same, not that every byte of the transfer is.
 */
export const withETag = <E, R>(app: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>) =>
  Effect.gen(function* () {
    const response = yield* app
    const request = yield* HttpServerRequest.HttpServerRequest
    const body = response.body
    // What knows a cheaper tag than a hash over everything has set it.
    if (response.headers.etag !== undefined) return response
    if (request.method !== "GET" || response.status !== 200 || body._tag !== "Uint8Array") return response
    if (!body.contentType.startsWith("application/json") || body.contentLength > maxHashedBytes) return response
    const tag = `W/"${createHash("sha1").update(body.body).digest("base64url")}"`
    const known = request.headers["if-none-match"]
    if (known !== undefined && (known === "*" || known.split(",").some((each) => each.trim() === tag))) {
      return HttpServerResponse.empty({ status: 304, headers: { etag: tag } })
    }
    return HttpServerResponse.setHeader(response, "etag", tag)
  })
