import { Schema } from "effect"

/** The ancestor's error envelope: `{"error": {"code", "type", "message"}}`, with additions beside them. */
const ErrorBody = Schema.Struct({
  code: Schema.String,
  type: Schema.String,
  message: Schema.String,
  /** More about it, by code: SQL position, list of problems, limits. */
  details: Schema.optional(Schema.Json),
  request_id: Schema.optional(Schema.String),
})

const fields = { error: ErrorBody }

export class BadRequest extends Schema.Error<BadRequest>("rat/api/BadRequest")(fields, { httpApiStatus: 400 }) {}
export class Unauthenticated extends Schema.Error<Unauthenticated>("rat/api/Unauthenticated")(fields, {
  httpApiStatus: 401,
}) {}
export class Forbidden extends Schema.Error<Forbidden>("rat/api/Forbidden")(fields, { httpApiStatus: 403 }) {}
export class NotFound extends Schema.Error<NotFound>("rat/api/NotFound")(fields, { httpApiStatus: 404 }) {}
export class Conflict extends Schema.Error<Conflict>("rat/api/Conflict")(fields, { httpApiStatus: 409 }) {}
export class PayloadTooLarge extends Schema.Error<PayloadTooLarge>("rat/api/PayloadTooLarge")(fields, {
  httpApiStatus: 413,
}) {}
export class Unprocessable extends Schema.Error<Unprocessable>("rat/api/Unprocessable")(fields, {
  httpApiStatus: 422,
}) {}
export class TooManyRequests extends Schema.Error<TooManyRequests>("rat/api/TooManyRequests")(fields, {
  httpApiStatus: 429,
}) {}
export class Internal extends Schema.Error<Internal>("rat/api/Internal")(fields, { httpApiStatus: 500 }) {}
export class NotImplemented extends Schema.Error<NotImplemented>("rat/api/NotImplemented")(fields, {
  httpApiStatus: 501,
}) {}
export class Unavailable extends Schema.Error<Unavailable>("rat/api/Unavailable")(fields, {
  httpApiStatus: 503,
}) {}
export class DeadlineExceeded extends Schema.Error<DeadlineExceeded>("rat/api/DeadlineExceeded")(fields, {
  httpApiStatus: 504,
}) {}

/** Every wire error by its status, with the ancestor's `type` and default `code`. */
export const wireErrors = {
  400: { Class: BadRequest, type: "VALIDATION", code: "INVALID_ARGUMENT" },
  401: { Class: Unauthenticated, type: "AUTHENTICATION", code: "UNAUTHENTICATED" },
  403: { Class: Forbidden, type: "AUTHORIZATION", code: "FORBIDDEN" },
  404: { Class: NotFound, type: "NOT_FOUND", code: "NOT_FOUND" },
  409: { Class: Conflict, type: "CONFLICT", code: "ALREADY_EXISTS" },
  413: { Class: PayloadTooLarge, type: "VALIDATION", code: "INVALID_ARGUMENT" },
  422: { Class: Unprocessable, type: "VALIDATION", code: "INVALID_ARGUMENT" },
  429: { Class: TooManyRequests, type: "RATE_LIMIT", code: "RESOURCE_EXHAUSTED" },
  500: { Class: Internal, type: "INTERNAL", code: "INTERNAL" },
  501: { Class: NotImplemented, type: "INTERNAL", code: "NOT_IMPLEMENTED" },
  503: { Class: Unavailable, type: "UNAVAILABLE", code: "UNAVAILABLE" },
  504: { Class: DeadlineExceeded, type: "INTERNAL", code: "DEADLINE_EXCEEDED" },
} as const

/** What any endpoint may answer with, whatever it does. */
export const commonErrors = [BadRequest, Forbidden, NotFound, Conflict, TooManyRequests, Internal, Unavailable] as const
