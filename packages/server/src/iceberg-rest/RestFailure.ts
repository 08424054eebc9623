import type {
  NamespaceExists,
  NamespaceNotEmpty,
  NamespaceNotFound,
  NamespaceProtected,
  RefExists,
  RefNotFound,
} from "@rat/domain"
import {
  isMomentary,
  type ObjectNotFound,
  type StoreUnavailable,
  type TableCorrupt,
  withoutServerPaths,
} from "@rat/lakehouse"
import { Schema } from "effect"
import { HttpServerResponse } from "effect/http"
import type { SqlError } from "effect/sql"

/** Names of the specification's errors, with the status that each has there. Clients choose their exception by them. */
export const statusOfType = {
  BadRequestException: 400,
  NotAuthorizedException: 401,
  ForbiddenException: 403,
  NoSuchNamespaceException: 404,
  NoSuchTableException: 404,
  NoSuchViewException: 404,
  NoSuchWarehouseException: 404,
  NoSuchPlanIdException: 404,
  NoSuchPlanTaskException: 404,
  NotFoundException: 404,
  UnsupportedOperationException: 406,
  AlreadyExistsException: 409,
  CommitFailedException: 409,
  NamespaceNotEmptyException: 409,
  PayloadTooLargeException: 413,
  UnprocessableEntityException: 422,
  CommitStateUnknownException: 500,
  InternalServerError: 500,
  SlowDownException: 503,
} as const

export type RestFailureType = keyof typeof statusOfType

/** What a client of the Iceberg REST protocol is told. `reason` is a sentence for people. */
export class RestFailure extends Schema.TaggedError<RestFailure>()("RestFailure", {
  type: Schema.Literals(Object.keys(statusOfType) as [RestFailureType, ...Array<RestFailureType>]),
  reason: Schema.String,
}) {
  override get message() {
    return this.reason
  }
}

export const refuse = (type: RestFailureType, reason: string) => new RestFailure({ type, reason })

/** Failures of other rooms that an operation may end with; each has its place in the error model. */
export type RestProblem =
  | RestFailure
  | RefNotFound
  | RefExists
  | NamespaceNotFound
  | NamespaceExists
  | NamespaceProtected
  | NamespaceNotEmpty
  | ObjectNotFound
  | StoreUnavailable
  | TableCorrupt
  | SqlError.SqlError

/** A failure of any room in the words of the protocol. */
export const restFailure = (problem: RestProblem): RestFailure => {
  switch (problem._tag) {
    case "RestFailure":
      return problem
    case "RefNotFound":
      return refuse("NoSuchWarehouseException", problem.message)
    case "RefExists":
    case "NamespaceExists":
      return refuse("AlreadyExistsException", problem.message)
    case "NamespaceNotFound":
      return refuse("NoSuchNamespaceException", problem.message)
    case "NamespaceProtected":
      return refuse("ForbiddenException", problem.message)
    case "NamespaceNotEmpty":
      return refuse("NamespaceNotEmptyException", problem.message)
    case "StoreUnavailable":
      return refuse("SlowDownException", withoutServerPaths(problem.message))
    case "ObjectNotFound":
    case "TableCorrupt":
      // The table's own files are at fault, not the request: whoever runs the server has to look at them.
      return refuse("InternalServerError", problem.message)
    case "SqlError":
      return isMomentary(problem)
        ? refuse("SlowDownException", "The database cannot be reached at the moment. Try again in a few seconds.")
        : refuse("InternalServerError", "Something went wrong on the server. Its log has the details.")
  }
}

/** `{"error": {message, type, code}}`; a HEAD request gets the status alone. */
export const failureAnswer = (failure: RestFailure, isHead: boolean): HttpServerResponse.HttpServerResponse => {
  const status = statusOfType[failure.type]
  const headers: Record<string, string> = {
    ...(status === 503 ? { "retry-after": "1" } : {}),
    ...(status === 401 ? { "www-authenticate": "Bearer" } : {}),
    ...(status === 413 ? { connection: "close" } : {}),
  }
  return isHead
    ? HttpServerResponse.empty({ status, headers })
    : HttpServerResponse.jsonUnsafe(
        { error: { message: failure.reason, type: failure.type, code: status } },
        { status, headers },
      )
}
