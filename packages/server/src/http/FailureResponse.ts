import { type Cause, Effect, Predicate, SchemaIssue } from "effect"
import { type HttpServerRequest, HttpServerResponse } from "effect/http"
import { HttpApiError } from "effect/http-api"
import { envelopeResponse, logFailure, refusal, wireError, wireFailure } from "./ErrorEnvelope.ts"
import { pathOf } from "./FilePathRoute.ts"
import { RequestId } from "./RequestId.ts"
import { methodsOf } from "./Route.ts"

/**
 * Turns what went wrong outside of a handler (unknown routes, bodies that are too large or do not decode, defects)
 * into an envelope. Interruption is the client's leaving or the server's stopping and stays what it is.
 */
export const failureResponse = (request: HttpServerRequest.HttpServerRequest) => (cause: Cause.Cause<unknown>) =>
  Effect.gen(function* () {
    const requestId = yield* RequestId
    const reasons = cause.reasons.flatMap((reason) =>
      reason._tag === "Fail" ? [reason.error] : reason._tag === "Die" ? [reason.defect] : [],
    )
    if (reasons.length === 0) return yield* Effect.failCause(cause as Cause.Cause<never>)
    const ready = reasons.find(HttpServerResponse.isHttpServerResponse)
    if (ready !== undefined) return ready
    const response = requestFailure(reasons[0], request, requestId)
    if (response !== undefined) return response
    const wire = wireFailure(reasons[0], requestId)
    yield* logFailure(wire, cause)
    return envelopeResponse(wire)
  })

const requestFailure = (
  error: unknown,
  request: HttpServerRequest.HttpServerRequest,
  requestId: string,
): HttpServerResponse.HttpServerResponse | undefined => {
  if (HttpApiError.HttpApiSchemaError.is(error)) {
    // Encoding our own answer failed: a defect of ours, not of the request.
    if (error.kind === "Body" || error.kind === "ResponseHeaders") return undefined
    return envelopeResponse(
      wireError(400, schemaMessage(error.kind, error.cause.issue), { requestId, details: schemaDetails(error) }),
    )
  }
  if (Predicate.isTagged(error, "MultipartError"))
    return multipartFailure(error as unknown as MultipartFailure, requestId)
  if (!Predicate.isTagged(error, "HttpServerError")) return undefined
  const reason = (error as unknown as { reason: { _tag: string; reason?: string } }).reason
  if (reason._tag === "RouteNotFound") return unknownRoute(request, requestId)
  if (reason._tag !== "RequestParseError") return undefined
  return reason.reason === "BodyTooLarge"
    ? tooLarge(requestId)
    : envelopeResponse(wireError(400, "The request body could not be read.", { requestId }))
}

interface MultipartFailure {
  readonly reason: { readonly _tag: string; readonly cause?: unknown }
}

const multipartFailure = (error: MultipartFailure, requestId: string) => {
  switch (error.reason._tag) {
    case "FileTooLarge":
    case "FieldTooLarge":
    case "BodyTooLarge":
    case "TooManyParts":
      return tooLarge(requestId)
    case "Parse":
      return envelopeResponse(
        wireError(400, "The body is not valid multipart/form-data. Send the file as the field `file`.", { requestId }),
      )
    default:
      return JSON.stringify(error.reason.cause ?? null).includes("ENOSPC")
        ? envelopeResponse(wireError(503, "The server's disk is full: the upload was not stored.", { requestId }))
        : undefined
  }
}

/** 413, the connection being closed because the rest of the body is not read. */
export const tooLarge = (requestId: string, limitBytes?: number) =>
  HttpServerResponse.setHeader(
    envelopeResponse(
      wireError(
        413,
        limitBytes === undefined
          ? "The request body is larger than this server accepts."
          : `The request body is larger than ${limitBytes} bytes, the most that this server accepts here.`,
        limitBytes === undefined ? { requestId } : { requestId, details: { limit_bytes: limitBytes } },
      ),
    ),
    "connection",
    "close",
  )

const partNames: Readonly<Record<string, string>> = {
  Params: "path",
  Query: "query parameter",
  Headers: "header",
  Payload: "body",
}

const formatIssues = SchemaIssue.makeFormatterStandardSchemaV1()

interface FieldIssue {
  readonly field: string
  readonly message: string
}

const issuesOf = (issue: SchemaIssue.Issue): ReadonlyArray<FieldIssue> =>
  formatIssues(issue).issues.map(({ path, message }) => ({
    field: (path ?? []).map((key) => String(Predicate.isObject(key) ? (key as { key: unknown }).key : key)).join("."),
    message:
      message === "Missing key"
        ? "is required"
        : /^(Expected no excess property|Unexpected key)/.test(message)
          ? "is unknown here. Correct its name or leave it out"
          : message,
  }))

const schemaMessage = (kind: string, issue: SchemaIssue.Issue): string => {
  const place = partNames[kind] ?? kind
  const issues = issuesOf(issue)
  return issues
    .map(({ field, message }) => (field === "" ? `${place}: ${message}` : `${place} "${field}": ${message}`))
    .join("; ")
}

const schemaDetails = (error: HttpApiError.HttpApiSchemaError) => ({
  issues: issuesOf(error.cause.issue).map(({ field, message }) => ({ field, message })),
})

const unknownRoute = (request: HttpServerRequest.HttpServerRequest, requestId: string) => {
  const path = pathOf(request.url)
  const methods = methodsOf(path)
  if (methods.length === 0) {
    const text = `There is no route ${request.method} ${path}. /api/docs lists the routes.`
    return envelopeResponse(wireError(404, text, { requestId }))
  }
  if (methods.includes(request.method)) {
    const text = `This node does not have the role "api" and answers health checks only. Ask a node that has it; \`rat nodes\` lists them.`
    return envelopeResponse(wireError(404, text, { requestId }))
  }
  const allow = methods.join(", ")
  return refusal(405, `${request.method} is not possible on ${path}. Use ${allow}.`, {
    code: "METHOD_NOT_ALLOWED",
    requestId,
    headers: { allow },
  })
}

/** No name, path or text in an address holds a NUL, and Postgres knows none. */
export const holdsNul = (request: HttpServerRequest.HttpServerRequest): boolean => request.url.includes("%00")

export const nulRefused = (requestId: string) =>
  envelopeResponse(wireError(400, "The address holds a NUL character (%00), which no name has.", { requestId }))

/** HttpApi answers an unknown content type with plain text; clients expect the envelope everywhere. */
export const unsupportedMediaType = (request: HttpServerRequest.HttpServerRequest, requestId: string) =>
  refusal(
    415,
    `Content type "${request.headers["content-type"] ?? ""}" is not understood here. Send application/json, or multipart/form-data for uploads.`,
    { code: "UNSUPPORTED_MEDIA_TYPE", requestId },
  )
