import type { HttpServerRequest, HttpServerResponse } from "effect/http"
import { failureAnswer, type RestFailureType, refuse } from "./RestFailure.ts"

const typeOf: Readonly<Record<number, RestFailureType>> = {
  400: "BadRequestException",
  404: "NotFoundException",
  405: "UnsupportedOperationException",
  413: "PayloadTooLargeException",
  429: "SlowDownException",
  503: "SlowDownException",
}

/**
 * What the server refuses before a request reaches the protocol (addresses with NUL, bodies that are too large) in the protocol's
 * error model instead of the API's: its clients read no other.
 */
export const inRestModel = (
  request: HttpServerRequest.HttpServerRequest,
  response: HttpServerResponse.HttpServerResponse,
): HttpServerResponse.HttpServerResponse => {
  const { body, status } = response
  if (status < 400 || !request.url.startsWith("/iceberg/") || body._tag !== "Uint8Array") return response
  const { error } = JSON.parse(Buffer.from(body.body).toString("utf8")) as {
    readonly error?: { readonly message?: string; readonly code?: unknown } | string
  }
  if (typeof error !== "object" || typeof error.code !== "string") return response
  const failure = refuse(typeOf[status] ?? "InternalServerError", error.message ?? "The request failed.")
  return failureAnswer(failure, request.method === "HEAD")
}
