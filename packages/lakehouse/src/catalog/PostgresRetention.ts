import { DateTime, Effect } from "effect"
import type { SqlClient } from "effect/sql"

/** The version that a pass came to. */
interface Cursor {
  readonly namespace: string
  readonly layer: string
  readonly name: string
  readonly commit: bigint
}

const start: Cursor = { namespace: "", layer: "", name: "", commit: 0n }

/**
 * What the catalog in Postgres forgets. Each call looks at the next versions and the next commits, so that its work is bounded
 * however many there are that must stay; at the end a pass begins anew.
 */
export const makePostgresRetention = (sql: SqlClient.SqlClient) => {
  let cursor = start
  let commit = 0n

  const versions = Effect.fnUntraced(function* (before: Date, limit: number) {
    const { commit, layer, name, namespace } = cursor
    const [row] = yield* sql<{
      o_namespace: string
      o_layer: string
      o_name: string
      o_commit: bigint
      o_deleted: number
    }>`
      select * from catalog_prune_versions(${before}, ${namespace}, ${layer}, ${name}, ${commit}, ${limit})`
    cursor =
      row === undefined
        ? start
        : { namespace: row.o_namespace, layer: row.o_layer, name: row.o_name, commit: row.o_commit }
    return row?.o_deleted ?? 0
  })

  const commits = Effect.fnUntraced(function* (before: Date, limit: number) {
    const [row] = yield* sql<{ o_commit: bigint; o_deleted: number }>`
      select * from catalog_prune_commits(${before}, ${commit}, ${limit})`
    commit = row?.o_commit ?? 0n
  })

  const prune = Effect.fn("Catalog.prune")(function* (before: DateTime.Utc, limit: number) {
    const time = DateTime.toDateUtc(before)
    const removed = yield* versions(time, limit)
    yield* commits(time, limit)
    return removed
  })

  return { prune }
}
