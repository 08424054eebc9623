/** What every error of the client tells. */
export interface RatErrorFields {
  /** HTTP status of the answer; 0 when there was none. */
  readonly status: number
  /** Stable code of the server's error envelope, such as `NOT_FOUND` or `RESOURCE_EXHAUSTED`. */
  readonly code: string
  readonly message: string
  /** More by code: the list of problems of a push, the position of an SQL error, limits. */
  readonly details?: unknown
  /** Id to look for in the server's logs. */
  readonly requestId?: string | undefined
  readonly cause?: unknown
}

/** Base of all errors that a client method rejects with; tell them apart by class or by `_tag`. */
export class RatError extends Error {
  readonly _tag: string = "RatError"
  readonly status: number
  readonly code: string
  readonly details: unknown
  readonly requestId: string | undefined

  constructor(fields: RatErrorFields) {
    super(fields.message, fields.cause === undefined ? undefined : { cause: fields.cause })
    this.name = new.target.name
    this.status = fields.status
    this.code = fields.code
    this.details = fields.details
    this.requestId = fields.requestId
  }
}

/** 401: log in. */
export class AuthenticationError extends RatError {
  override readonly _tag = "AuthenticationError"
}

/** 403: this caller may not, or nobody may. */
export class AuthorizationError extends RatError {
  override readonly _tag = "AuthorizationError"
}

/** 404: no such thing. */
export class NotFoundError extends RatError {
  override readonly _tag = "NotFoundError"
}

/** 409: it exists already, or its state does not allow this. */
export class ConflictError extends RatError {
  override readonly _tag = "ConflictError"
}

/** 400, 413 and 422: mend the request. A push lists its problems in `details.issues`. */
export class ValidationError extends RatError {
  override readonly _tag = "ValidationError"
}

/** 429: nothing was accepted; try again after `retryAfter` seconds. */
export class RateLimitError extends RatError {
  override readonly _tag = "RateLimitError"
  /** Seconds; null when the server named none. */
  readonly retryAfter: number | null

  constructor(fields: RatErrorFields & { readonly retryAfter: number | null }) {
    super(fields)
    this.retryAfter = fields.retryAfter
  }
}

/** 5xx, and answers that are not the contract's. */
export class ServerError extends RatError {
  override readonly _tag = "ServerError"
}

/** No answer: refused, reset, name not found. */
export class ConnectionError extends RatError {
  override readonly _tag = "ConnectionError"
}

/** No answer within the client's time limit (status 0), or the server's own limit was reached (504). */
export class TimeoutError extends RatError {
  override readonly _tag = "TimeoutError"
}

const classOf = (status: number) => {
  switch (status) {
    case 400:
    case 413:
    case 422:
      return ValidationError
    case 401:
      return AuthenticationError
    case 403:
      return AuthorizationError
    case 404:
      return NotFoundError
    case 409:
      return ConflictError
    case 504:
      return TimeoutError
    default:
      return status >= 500 ? ServerError : RatError
  }
}

/** Seconds of a `Retry-After` header, which holds seconds or a date. */
export const retryAfterOf = (headers: Headers): number | null => {
  const value = headers.get("retry-after")
  if (value === null) return null
  const seconds = Number(value)
  if (!Number.isNaN(seconds)) return Math.max(0, seconds)
  const date = Date.parse(value)
  return Number.isNaN(date) ? null : Math.max(0, Math.ceil((date - Date.now()) / 1000))
}

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null

/** The error of an answer whose status is not 2xx. Reads the envelope; copes with proxies that answer in HTML. */
export const errorOfResponse = async (response: Response, request: string): Promise<RatError> => {
  const text = await response.text().catch(() => "")
  let body: unknown
  try {
    body = JSON.parse(text)
  } catch {
    body = undefined
  }
  const envelope = isRecord(body) && isRecord(body.error) ? body.error : undefined
  const requestId = envelope?.request_id ?? response.headers.get("x-request-id") ?? undefined
  const fields: RatErrorFields = {
    status: response.status,
    code: typeof envelope?.code === "string" ? envelope.code : `HTTP_${response.status}`,
    message:
      typeof envelope?.message === "string"
        ? envelope.message
        : `${request} answered ${response.status} ${response.statusText}`.trimEnd(),
    details: envelope === undefined ? body : envelope.details,
    requestId: typeof requestId === "string" ? requestId : undefined,
  }
  if (response.status === 429) return new RateLimitError({ ...fields, retryAfter: retryAfterOf(response.headers) })
  return new (classOf(response.status))(fields)
}
