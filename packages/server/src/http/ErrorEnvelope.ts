import {
  type BadRequest,
  type Conflict,
  type DeadlineExceeded,
  type Forbidden,
  type Internal,
  type NotFound,
  type PayloadTooLarge,
  type TooManyRequests,
  type Unauthenticated,
  type Unavailable,
  type Unprocessable,
  wireErrors,
} from "@rat/domain"
import { isMomentary, isPostgresOutage, withoutServerPaths } from "@rat/lakehouse"
import { Cause, Effect, Predicate, type Schema, SchemaAST } from "effect"
import { HttpServerResponse } from "effect/http"
import { SqlError } from "effect/sql"
import { RequestId } from "./RequestId.ts"

/**
 * The one place where errors of the domain become HTTP answers: `{"error": {code, type, message, details?, request_id?}}`.
 * The status is the error's own `httpApiStatus`; what carries none and is not an outage is a defect: 500 with a generic
 * message, the details go to the log only.
 */

export type WireError =
  | BadRequest
  | Unauthenticated
  | Forbidden
  | NotFound
  | Conflict
  | PayloadTooLarge
  | Unprocessable
  | TooManyRequests
  | Internal
  | Unavailable
  | DeadlineExceeded

export type WireStatus = keyof typeof wireErrors

/** Codes that say more than the default code of their status. */
const codeOf: Readonly<Record<string, string>> = {
  RunFinished: "ALREADY_FINISHED",
  RunNotRepeatable: "NOT_REPEATABLE",
  NamespaceNotEmpty: "NOT_EMPTY",
  QueryTimedOut: "DEADLINE_EXCEEDED",
  QueryResources: "RESOURCE_LIMIT",
}

/** Errors without a status of their own that mean "not now": the caller may try again. */
const outages = new Set([
  "StoreUnavailable",
  "CircuitBreakerError",
  "RpcClientError",
  "SlotDied",
  "EntityNotAssignedToRunner",
  "PersistenceError",
])
const overloads = new Set(["SlotsBusy", "MailboxFull", "AlreadyProcessingMessage"])

/** Seconds to wait that an overloaded answer names when the error itself names none. */
const defaultRetryAfterSeconds = 1

const statusOf = (error: object): WireStatus => {
  const ast = (error.constructor as { ast?: SchemaAST.AST }).ast
  const own = ast === undefined ? undefined : SchemaAST.resolve(ast)?.httpApiStatus
  if (typeof own === "number" && own in wireErrors) return own as WireStatus
  if (SqlError.isSqlError(error)) return isMomentary(error) ? 503 : 500
  const tag = Predicate.hasProperty(error, "_tag") ? String(error._tag) : ""
  return overloads.has(tag) ? 429 : outages.has(tag) ? 503 : 500
}

/** Of something that stands behind the SQL: a foreign catalog speaks through the same error. */
const awayText = (error: SqlError.SqlError): string => {
  if (!isPostgresOutage(error)) return "The database is too busy at the moment. Try again in a few seconds."
  const what = error.reason.operation === "nessie" ? "catalog" : "database"
  return `The ${what} cannot be reached at the moment. Try again in a few seconds.`
}

const messageOf = (status: WireStatus, error: object): string => {
  if (status === 500) return "Something went wrong on the server. Its log has the details under this request id."
  if (SqlError.isSqlError(error)) return awayText(error)
  const text = Predicate.hasProperty(error, "message") ? String(error.message) : ""
  if (text === "") return "The request failed."
  return status === 503 ? withoutServerPaths(text) : text
}

/** Fields of errors that clients act upon. Keys are those of the wire. */
const detailsOf = (error: object): Record<string, Schema.Json> | undefined => {
  if (!Predicate.hasProperty(error, "_tag")) return undefined
  const fields = error as unknown as Record<string, Schema.Json | undefined>
  const pick = (names: Readonly<Record<string, string>>) =>
    Object.fromEntries(
      Object.entries(names).flatMap(([wire, own]) => {
        const value = fields[own]
        return value === undefined ? [] : [[wire, value]]
      }),
    )
  switch (error._tag) {
    case "ProjectInvalid":
      return {
        issues: (fields.issues as ReadonlyArray<Record<string, Schema.Json>>).map((issue) => ({ ...issue })),
      }
    case "QueryInvalid":
      return pick({ line: "line", column: "column", position: "position" })
    case "QueueFull":
      return pick({ scope: "scope", name: "name", limit: "limit", retry_after_seconds: "retryAfterSeconds" })
    case "DependencyUnavailable":
    case "QueryBusy":
      return pick({ retry_after_seconds: "retryAfterSeconds" })
    case "RunNotRepeatable":
      return pick({ reason: "reason" })
    case "PublishConflict":
      return pick({ tables: "tables" })
    case "BranchConflict":
      return {
        conflicts: (fields.conflicts as ReadonlyArray<Record<string, Schema.Json>>).map((each) => ({ ...each })),
      }
    default:
      return undefined
  }
}

/** Builds a wire error by hand, for what has no domain error: bad bodies, unknown routes. */
export const wireError = (
  status: WireStatus,
  message: string,
  options: { readonly code?: string; readonly details?: Schema.Json; readonly requestId?: string } = {},
): WireError => {
  const { Class, type, code } = wireErrors[status]
  return new Class({
    error: {
      code: options.code ?? code,
      type,
      message,
      ...(options.details === undefined ? {} : { details: options.details }),
      ...(options.requestId ? { request_id: options.requestId } : {}),
    },
  }) as WireError
}

/** Status of a wire error. */
export const wireStatus = (error: WireError): WireStatus => statusOf(error)

/** The wire form of any error. Shape and status as the head of this file says. */
export const wireFailure = (error: unknown, requestId = ""): WireError => {
  if (isWireError(error)) {
    const { code, message, details, request_id = requestId } = error.error
    return wireError(statusOf(error), message, {
      code,
      requestId: request_id,
      ...(details === undefined ? {} : { details }),
    })
  }
  const thrown = Predicate.isObject(error) ? error : new Error(String(error))
  const status = statusOf(thrown)
  const tag = Predicate.hasProperty(thrown, "_tag") ? String(thrown._tag) : ""
  const details = detailsOf(thrown)
  return wireError(status, messageOf(status, thrown), {
    requestId,
    ...(codeOf[tag] === undefined ? {} : { code: codeOf[tag] }),
    ...(details === undefined || Object.keys(details).length === 0 ? {} : { details }),
  })
}

const isWireError = (error: unknown): error is WireError =>
  Object.values(wireErrors).some(({ Class }) => error instanceof Class)

/** The HTTP answer of a wire error, `Retry-After` included where the status asks for one. */
export const envelopeResponse = (error: WireError): HttpServerResponse.HttpServerResponse => {
  const status = statusOf(error)
  const details = error.error.details
  const named = Predicate.hasProperty(details, "retry_after_seconds") ? details.retry_after_seconds : undefined
  const retryAfter = status === 429 || status === 503 ? String(named ?? defaultRetryAfterSeconds) : undefined
  return HttpServerResponse.jsonUnsafe(
    { error: error.error },
    { status, headers: retryAfter === undefined ? {} : { "retry-after": retryAfter } },
  )
}

/** Answers with the envelope for statuses that no wire class has, because nobody fails with them: 405, 406, 415. */
export const refusal = (
  status: 405 | 406 | 415,
  message: string,
  options: { readonly code: string; readonly requestId: string; readonly headers?: Readonly<Record<string, string>> },
): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.jsonUnsafe(
    { error: { code: options.code, type: "VALIDATION", message, request_id: options.requestId } },
    { status, headers: options.headers ?? {} },
  )

/** Defects are ours to mend, outages are worth knowing; whatever else went wrong is the caller's and in the answer. */
export const logFailure = (wire: WireError, cause: Cause.Cause<unknown>): Effect.Effect<void> => {
  switch (wireStatus(wire)) {
    case 500:
      return Effect.logError("request failed", cause)
    case 503:
      return Effect.logWarning("request could not be served", cause)
    default:
      return Effect.void
  }
}

/**
 * Ends the error channel of a handler: every failure becomes its HTTP answer, with the request's id. Defects and interruption pass through to `http/Server`, which treats them alike.
 */
export const wired = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
): Effect.Effect<A | HttpServerResponse.HttpServerResponse, never, R> =>
  Effect.catch(effect, (error) =>
    Effect.gen(function* () {
      const wire = wireFailure(error, yield* RequestId)
      yield* logFailure(wire, Cause.fail(error))
      return envelopeResponse(wire)
    }),
  )
