import type { RefName, TableKey } from "@rat/domain"
import { parseLosslessJson, printLosslessJson } from "@rat/lakehouse"
import { Effect, Schema } from "effect"
import type { HttpServerRequest } from "effect/http"
import { type RestFailure, refuse } from "./RestFailure.ts"

/** One request of the protocol, taken apart. */
export interface RestCall {
  /** Branch or tag that it is about. */
  readonly ref: RefName
  /** Decoded `{namespace}`, `{table}`, `{view}`, `{plan-id}` of the address. */
  readonly names: Readonly<Record<string, string>>
  readonly query: URLSearchParams
  readonly headers: Readonly<Record<string, string | undefined>>
  /** The body as JSON with its 64-bit integers; null when there is none. */
  readonly body: unknown
  /** Author of catalog commits: `iceberg-rest` and the client's own name. */
  readonly author: string
  /** Set while the request runs under this key: whatever commits marks the key as done in the same transaction. */
  readonly idempotencyKey: string | null
}

/** A table that the answer shows: its metadata file goes into the body as it is in the store. */
export interface TableAnswer {
  readonly ref: RefName
  readonly key: Pick<TableKey, "namespace" | "layer" | "name">
  readonly metadataLocation: string
  readonly snapshots: "all" | "refs"
  /** Ways of access to the files that the client asked for. */
  readonly access: ReadonlyArray<string>
}

/** What a request is answered with. It can be stored as JSON, so that a repeated request gets the same. */
export type RestAnswer =
  | { readonly kind: "empty"; readonly status: 204 }
  | { readonly kind: "json"; readonly value: unknown }
  | { readonly kind: "table"; readonly table: TableAnswer }

export const noContent: RestAnswer = { kind: "empty", status: 204 }
export const jsonAnswer = (value: unknown): RestAnswer => ({ kind: "json", value })

export const encodeAnswer = (answer: RestAnswer): string => printLosslessJson(answer)
export const decodeAnswer = (text: string): RestAnswer => parseLosslessJson(text) as RestAnswer

/** Levels of a body's JSON. Types, expressions and the like nest; a stack does not nest without end. */
const maxDepth = 100

const isTooDeep = (text: string): boolean => {
  let depth = 0
  let isInString = false
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index)
    if (isInString) {
      if (code === 0x5c) index++
      else if (code === 0x22) isInString = false
    } else if (code === 0x22) isInString = true
    else if (code === 0x7b || code === 0x5b) {
      if (++depth > maxDepth) return true
    } else if (code === 0x7d || code === 0x5d) depth--
  }
  return false
}

/** The text of a body, refused above the server's limit. */
export const bodyText = (request: HttpServerRequest.HttpServerRequest): Effect.Effect<string, RestFailure> =>
  Effect.mapError(request.text, (error) =>
    (error.reason as { readonly reason?: string }).reason === "BodyTooLarge"
      ? refuse("PayloadTooLargeException", "The request body is larger than this server accepts.")
      : refuse("BadRequestException", "The request body could not be read."),
  )

/** Null for an empty body. */
export const parseBody = Effect.fnUntraced(function* (text: string) {
  if (text.trim() === "") return null
  if (isTooDeep(text)) {
    return yield* refuse("BadRequestException", `The request body nests deeper than ${maxDepth} levels.`)
  }
  return yield* Effect.try({
    try: () => parseLosslessJson(text),
    catch: (error) => refuse("BadRequestException", `The request body is no JSON: ${(error as Error).message}`),
  })
})

/** The body as what the endpoint expects; 400 names the first thing that is wrong with it. */
export const bodyAs = <A>(codec: Schema.Codec<A, unknown>, what: string) => {
  const decode = Schema.decodeUnknownEffect(codec)
  return (body: unknown): Effect.Effect<A, RestFailure> =>
    Effect.mapError(decode(body ?? {}), (error) =>
      refuse("BadRequestException", `This is no ${what}: ${error.message.replace(/\s+/g, " ").slice(0, 500)}`),
    )
}
