import { randomUUID } from "node:crypto"
import { Context, Effect, Option } from "effect"
import { HttpMiddleware, HttpServerRequest, HttpServerResponse } from "effect/http"
import type { ResponseCache } from "../cache/ResponseCache.ts"
import { inRestModel } from "../iceberg-rest/EdgeFailure.ts"
import { countHttpRequest } from "../telemetry/Metrics.ts"
import { type BodyLimits, withBodyLimit } from "./BodyLimit.ts"
import { type Drain, withDrain } from "./Drain.ts"
import { withETag } from "./ETag.ts"
import { failureResponse, holdsNul, nulRefused, unsupportedMediaType } from "./FailureResponse.ts"
import { encodeFilePath, pathOf, withFilePaths } from "./FilePathRoute.ts"
import { RequestId } from "./RequestId.ts"
import { routePattern } from "./Route.ts"

/** Whatever is around every route, from the outside in: request id and log, headers, CORS, envelope, ETag, limits. */

const securityHeaders = {
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
  "x-xss-protection": "0",
  "referrer-policy": "strict-origin-when-cross-origin",
  "permissions-policy": "camera=(), microphone=(), geolocation=()",
}

/** What callers may send as a request id; anything else is replaced, so that it can be logged as it is. */
const requestIdPattern = /^[A-Za-z0-9._:-]{1,128}$/

const quietPaths = new Set(["/health", "/health/live", "/metrics"])

type App<E, R> = Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>

const withRequestId = <E, R>(app: App<E, R>) =>
  Effect.gen(function* () {
    const request = yield* HttpServerRequest.HttpServerRequest
    const sent = request.headers["x-request-id"]
    const requestId = sent !== undefined && requestIdPattern.test(sent) ? sent : randomUUID()
    const startedAt = performance.now()
    yield* Effect.annotateCurrentSpan("request_id", requestId)
    const response = yield* Effect.provideContext(app, Context.make(RequestId, requestId)).pipe(
      Effect.annotateLogs("request_id", requestId),
    )
    const path = pathOf(request.url)
    const durationMs = performance.now() - startedAt
    yield* countHttpRequest({
      route: routePattern(request.method, pathOf(encodeFilePath(request.url))),
      method: request.method,
      status: response.status,
      durationMs,
    })
    if (!quietPaths.has(path)) {
      // Failures of the server are logged with their cause where they become an envelope.
      const level = response.status >= 400 && response.status < 500 ? Effect.logInfo : Effect.logDebug
      yield* level("http request").pipe(
        Effect.annotateLogs({
          request_id: requestId,
          method: request.method,
          path,
          status: response.status,
          duration_ms: Math.round(durationMs * 10) / 10,
        }),
      )
    }
    return HttpServerResponse.setHeaders(response, { ...securityHeaders, "x-request-id": requestId })
  })

const withEnvelope = <E, R>(app: App<E, R>) =>
  Effect.gen(function* () {
    const request = yield* HttpServerRequest.HttpServerRequest
    if (holdsNul(request)) return inRestModel(request, nulRefused(yield* RequestId))
    const response = inRestModel(request, yield* Effect.catchCause(app, failureResponse(request)))
    return response.status === 415 ? unsupportedMediaType(request, yield* RequestId) : response
  })

const withCors = (origins: ReadonlyArray<string>) =>
  HttpMiddleware.cors({
    allowedOrigins: (origin) => origins.includes("*") || origins.includes(origin),
    allowedMethods: ["GET", "POST", "PUT", "DELETE", "OPTIONS"],
    allowedHeaders: [
      "Accept",
      "Authorization",
      "Content-Type",
      "Idempotency-Key",
      "If-Match",
      "If-None-Match",
      "Last-Event-ID",
      "X-Request-ID",
      "X-Webhook-Token",
      "traceparent",
      "tracestate",
    ],
    exposedHeaders: [
      "ETag",
      "Link",
      "Location",
      "X-Request-ID",
      "RateLimit-Limit",
      "RateLimit-Remaining",
      "Retry-After",
    ],
    credentials: true,
    maxAge: 300,
  })

export const edge = (settings: {
  readonly corsOrigins: ReadonlyArray<string>
  readonly bodyLimits: BodyLimits
  readonly drain: Drain["Service"]
  /** None: nothing is kept. */
  readonly cache?: Option.Option<ResponseCache["Service"]>
}) => {
  const cors = withCors(settings.corsOrigins)
  const drain = withDrain(settings.drain)
  const etag = withETag(settings.cache ?? Option.none())
  const bodyLimit = withBodyLimit(settings.bodyLimits)
  return <E, R>(router: App<E, R>) => withRequestId(cors(drain(etag(withEnvelope(bodyLimit(withFilePaths(router)))))))
}
