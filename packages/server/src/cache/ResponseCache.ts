import { hash } from "node:crypto"
import { byteSize, Catalog } from "@rat/lakehouse"
import { Context, Effect, Layer } from "effect"
import type { HttpServerRequest, HttpServerResponse } from "effect/http"
import { ChangeWatch } from "./ChangeWatch.ts"
import { type Concern, concernsOf } from "./Concern.ts"

/** Larger answers are not kept, and get no tag: hashing them costs more than it saves. */
export const maxKeptBytes = 2 ** 20

/** What an entry costs beside its body. */
const entryBytes = 1024

interface Entry {
  readonly response: HttpServerResponse.HttpServerResponse
  readonly tag: string
  readonly concerns: ReadonlyArray<Concern>
  /** Holds everything up to this offset. */
  readonly position: bigint
  readonly sizeBytes: number
}

/** What is known of a request before it is answered. */
export interface Ahead {
  readonly key: string
  readonly concerns: ReadonlyArray<Concern>
  readonly position: bigint
}

/** Strong: the same tag means the same bytes, on every node. */
export const tagOf = (bytes: Uint8Array): string => `"${hash("sha1", bytes, "base64url")}"`

/** RFC 9110, 13.1.2: tags are compared weakly. */
export const matchesTag = (ifNoneMatch: string | undefined, tag: string): boolean =>
  ifNoneMatch !== undefined &&
  (ifNoneMatch.trim() === "*" || ifNoneMatch.split(",").some((each) => each.trim().replace(/^W\//, "") === tag))

const cacheBytes = byteSize("RAT_RESPONSE_CACHE", 32 * 2 ** 20)

/**
 * Answers to GETs of things that change seldom, as they were sent. An answer is used only when nothing that it depends on
 * has changed since before it was read (`ChangeWatch`), so a node never answers with less than what was committed when it was
 * asked; which node is asked makes no difference. Answers do not depend on who asks: where they come to, the key must say so.
 */
export class ResponseCache extends Context.Service<
  ResponseCache,
  {
    /** Null: the answer to this request is not kept. */
    readonly ahead: (request: HttpServerRequest.HttpServerRequest) => Ahead | null
    /** The answer that is kept, when it still holds. */
    readonly find: (
      ahead: Ahead,
    ) => Effect.Effect<{ readonly response: HttpServerResponse.HttpServerResponse; readonly tag: string } | null>
    readonly keep: (
      ahead: Ahead,
      response: HttpServerResponse.HttpServerResponse,
      tag: string,
      sizeBytes: number,
    ) => void
  }
>()("rat/server/cache/ResponseCache") {
  static readonly layer = Layer.effect(
    ResponseCache,
    Effect.gen(function* () {
      const watch = yield* ChangeWatch
      const { joinsTransactions } = yield* Catalog
      const maxBytes = yield* cacheBytes
      /** Least recently used first. */
      const entries = new Map<string, Entry>()
      let bytes = 0

      const remove = (key: string) => {
        const entry = entries.get(key)
        if (entry === undefined) return
        entries.delete(key)
        bytes -= entry.sizeBytes
      }

      return ResponseCache.of({
        ahead: (request) => {
          if (request.method !== "GET") return null
          const concerns = concernsOf(request.url, joinsTransactions)
          if (concerns === null) return null
          // One entry may be asked for as JSON in several ways; none of them is another kind of answer.
          const accept = request.headers.accept ?? ""
          return { key: `${accept} ${request.url}`, concerns, position: watch.position() }
        },
        find: Effect.fnUntraced(function* ({ key }) {
          const entry = entries.get(key)
          if (entry === undefined) return null
          if (watch.hasHeard(entry.position, entry.concerns)) {
            remove(key)
            return null
          }
          // What cannot be asked about is not used.
          const holds = yield* watch
            .isUnchanged(entry.position, entry.concerns)
            .pipe(Effect.catch(() => Effect.succeed(false)))
          if (!holds) return null
          entries.delete(key)
          entries.set(key, entry)
          return entry
        }),
        keep: ({ concerns, key, position }, response, tag, bodyBytes) => {
          const sizeBytes = bodyBytes + key.length * 2 + entryBytes
          if (sizeBytes > maxBytes) return
          remove(key)
          entries.set(key, { response, tag, concerns, position, sizeBytes })
          bytes += sizeBytes
          for (const oldest of entries.keys()) {
            if (bytes <= maxBytes) break
            remove(oldest)
          }
        },
      })
    }),
  ).pipe(Layer.provide(ChangeWatch.layer))
}
