import {
  didYouMean,
  nearest,
  QueryBusy,
  type QueryError,
  QueryForbidden,
  QueryInvalid,
  type QueryRequest,
  QueryResources,
} from "@rat/domain"
import type { Catalog, SlotDied, SlotOpFailed, SlotsBusy } from "@rat/lakehouse"
import { Effect } from "effect"
import { tablesInScope } from "./QueryPlan.ts"
import type { RewrittenSql } from "./TableNames.ts"

/** When a caller that was turned away may come again; the median query is far shorter. */
const retryAfterSeconds = 1

/** 1-based line and column of an offset. */
const placeAt = (sql: string, position: number) => {
  const before = sql.slice(0, position)
  return { line: before.split("\n").length, column: position - before.lastIndexOf("\n"), position }
}

const positionOf = (details: unknown): number | undefined =>
  typeof details === "object" && details !== null && "position" in details && typeof details.position === "number"
    ? details.position
    : undefined

/** A failure of a slot as the caller sees it, with places in the caller's own text. */
export const queryFailure = Effect.fnUntraced(function* (
  request: QueryRequest,
  text: RewrittenSql,
  failure: SlotOpFailed | SlotDied | SlotsBusy,
): Effect.fn.Return<never, QueryError, Catalog> {
  if (failure._tag === "SlotsBusy") return yield* new QueryBusy({ retryAfterSeconds })
  if (failure._tag === "SlotDied") {
    return yield* new QueryResources({
      reason: `The process that executed the query ended: ${failure.how}. Nothing else was touched. Ask again; if it happens again, ask for less at once.`,
    })
  }
  const position = positionOf(failure.details)
  const place = position === undefined ? undefined : placeAt(request.sql, text.originalOf(position))
  switch (failure.code) {
    case "sql.error":
      return yield* new QueryInvalid({ reason: yield* mended(request, failure.reason), ...place })
    case "sql.forbidden":
      return yield* new QueryForbidden({
        reason: place === undefined ? failure.reason : `${failure.reason} (line ${place.line}, column ${place.column})`,
      })
    default:
      return yield* new QueryResources({ reason: failure.reason })
  }
})

const missingTable = /^Catalog Error: Table with name (\S+) does not exist!/
const missingDatabase = /^Binder Error: Catalog "(.+)" does not exist!/

/** Where a name is missing, the engine knows only the tables of this query; people need those of their namespace. */
const mended = Effect.fnUntraced(function* (request: QueryRequest, reason: string) {
  const table = missingTable.exec(reason)?.[1]
  const database = missingDatabase.exec(reason)?.[1]
  if (database !== undefined && request.namespace !== null && database !== request.namespace)
    return `Binder Error: "${database}" is not the namespace of this query, which reads only tables of "${request.namespace}". Name them as \`layer.table\`.`
  if (table === undefined && database === undefined) return reason
  const tables = yield* tablesInScope(request).pipe(Effect.orElseSucceed(() => []))
  const names = tables.map(({ key }) => ({ text: `${key.layer}.${key.name}`, key }))
  if (database !== undefined) {
    const near = didYouMean(database, new Set(names.map(({ key }) => key.namespace)))
    return `Binder Error: Namespace "${database}" has no tables on ${request.ref}.${near}`
  }
  const near = nearest(table!, new Set(names.map(({ key }) => key.name)))
  const found = names.filter(({ key }) => key.name === near).map(({ text: name }) => `"${name}"`)
  return `Catalog Error: Table with name ${table} does not exist on ${request.ref}!${found.length === 0 ? " `SHOW TABLES` lists the tables there are." : `\nDid you mean ${found.join(" or ")}?`}`
})
