import { Schema } from "effect"

/** Query parameters of every list. As with the ancestor, values out of range become the nearest allowed one. */
export const pageQuery = {
  limit: Schema.optional(Schema.String),
  offset: Schema.optional(Schema.String),
  sort: Schema.optional(Schema.String),
}

/** Behind the end of every list, and within what Postgres can count. */
const maxOffset = 2 ** 31 - 1

/** Limit (default 50, 1..200) and offset (default 0) of a list request. */
export const pageOf = (query: { readonly limit?: string | undefined; readonly offset?: string | undefined }) => {
  const limit = Number.parseInt(query.limit ?? "", 10)
  const offset = Number.parseInt(query.offset ?? "", 10)
  return {
    limit: Number.isNaN(limit) ? 50 : Math.min(200, Math.max(1, limit)),
    offset: Number.isNaN(offset) ? 0 : Math.min(maxOffset, Math.max(0, offset)),
  }
}
