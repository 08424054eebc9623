import { ByteSize, Effect } from "effect"
import { HttpServerRequest, type HttpServerResponse, Multipart } from "effect/http"
import { tooLarge } from "./FailureResponse.ts"
import { RequestId } from "./RequestId.ts"

/** Most bytes of a request body, by kind of route. */
export interface BodyLimits {
  readonly jsonBytes: number
  readonly projectBytes: number
  readonly uploadBytes: number
}

/** Parts of one multipart body: an upload has a file and at most a few fields. */
const maxParts = 20

const limitOf = (limits: BodyLimits, request: HttpServerRequest.HttpServerRequest): number => {
  if ((request.headers["content-type"] ?? "").startsWith("multipart/")) return limits.uploadBytes
  return request.url.startsWith("/api/v1/projects/") ? limits.projectBytes : limits.jsonBytes
}

/**
 * Refuses a body that announces too many bytes before reading any of it, and stops reading one that does not announce
 * its length at the limit. Uploads stream to temporary files, so the limit is not memory.
 */
export const withBodyLimit =
  (limits: BodyLimits) =>
  <E, R>(app: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>) =>
    Effect.gen(function* () {
      const request = yield* HttpServerRequest.HttpServerRequest
      if (request.method === "GET" || request.method === "HEAD") return yield* app
      const limitBytes = limitOf(limits, request)
      if (Number(request.headers["content-length"] ?? 0) > limitBytes) return tooLarge(yield* RequestId, limitBytes)
      const context = Multipart.limitsServices({
        maxParts,
        maxFieldSize: ByteSize.bytes(limits.jsonBytes),
        maxTotalSize: ByteSize.bytes(limitBytes),
      })
      return yield* Effect.provideContext(app, context)
    })
