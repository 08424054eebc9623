import { Effect } from "effect"
import { HttpServerRequest } from "effect/http"

const prefix = "/api/v1/files/"

/**
 * `/api/v1/files/a/b/c.sql` -> `/api/v1/files/a%2Fb%2Fc.sql`. In the contract a file's path is one parameter, which is
 * what generated clients send; people and the ancestor's clients write the slashes as they are.
 */
export const encodeFilePath = (url: string): string => {
  if (!url.startsWith(prefix)) return url
  const end = url.search(/[?#]/)
  const path = url.slice(prefix.length, end === -1 ? undefined : end)
  return `${prefix}${path.replaceAll("/", "%2F")}${end === -1 ? "" : url.slice(end)}`
}

/** Path of a request target, without query and fragment. */
export const pathOf = (url: string): string => url.split(/[?#]/)[0] ?? "/"

export const withFilePaths = <A, E, R>(app: Effect.Effect<A, E, R>) =>
  Effect.updateService(app, HttpServerRequest.HttpServerRequest, (request) =>
    request.url.startsWith(prefix) ? request.modify({ url: encodeFilePath(request.url) }) : request,
  )
