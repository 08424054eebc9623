import { Effect } from "effect"
import { refuse } from "./RestFailure.ts"

const defaultSize = 1000
const maxSize = 10_000

/**
 * A page of a sorted list (REST catalog, `PageToken`): everything when no `pageToken` is sent, otherwise what comes after it. Tokens
 * are names, so a list that changes meanwhile neither skips nor repeats what was there all the time.
 */
export const page = Effect.fnUntraced(function* <A>(
  query: URLSearchParams,
  all: ReadonlyArray<A>,
  nameOf: (item: A) => string,
) {
  const token = query.get("pageToken")
  if (token === null) return { items: all, next: null }
  const text = query.get("pageSize") ?? String(defaultSize)
  const size = Number(text)
  if (!/^\d+$/.test(text) || size < 1) {
    return yield* refuse("BadRequestException", `pageSize is "${text.slice(0, 20)}"; it has to be a number above 0.`)
  }
  const after = Buffer.from(token, "base64url").toString("utf8")
  const rest = token === "" ? all : all.filter((item) => nameOf(item) > after)
  const items = rest.slice(0, Math.min(size, maxSize))
  const last = items.at(-1)
  return {
    items,
    next: last !== undefined && items.length < rest.length ? Buffer.from(nameOf(last)).toString("base64url") : null,
  }
})
