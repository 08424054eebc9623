import { TableKey } from "@rat/domain"
import { Context, DateTime, Effect, Layer } from "effect"
import { SqlClient, type SqlError } from "effect/sql"

/** How far a pass over the versions came. */
export interface PruneCursor {
  readonly key: TableKey
  readonly commit: bigint
}

type Sql = SqlError.SqlError

/** What the catalog may forget, and what it points to. Postgres only: other catalogs have a retention of their own. */
export class CatalogRetention extends Context.Service<
  CatalogRetention,
  {
    /**
     * Forgets versions of main that were replaced before `before` (dropped before `droppedBefore`) and that no ref sees, among the
     * `limit` versions after the cursor. Answers with the next cursor; null at the end.
     */
    readonly pruneVersions: (options: {
      readonly before: DateTime.Utc
      readonly droppedBefore: DateTime.Utc
      readonly after: PruneCursor | null
      readonly limit: number
    }) => Effect.Effect<{ readonly next: PruneCursor | null; readonly removed: number }, Sql>
    /** Forgets old commits of main of which no version is left, among the `limit` commits after `after`. */
    readonly pruneCommits: (options: {
      readonly before: DateTime.Utc
      readonly after: bigint
      readonly limit: number
    }) => Effect.Effect<{ readonly next: bigint | null; readonly removed: number }, Sql>
    /** Metadata files that anything here points to: refs, versions within retention, dropped tables. Sorted; a page of them. */
    readonly reachable: (after: string, limit: number) => Effect.Effect<ReadonlyArray<string>, Sql>
  }
>()("rat/lakehouse/catalog/CatalogRetention") {
  static readonly layer = Layer.effect(
    CatalogRetention,
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const pruneVersions: CatalogRetention["Service"]["pruneVersions"] = Effect.fn("CatalogRetention.pruneVersions")(
        function* ({ after, before, droppedBefore, limit }) {
          const [row] = yield* sql<{
            o_namespace: string
            o_layer: string
            o_name: string
            o_commit: bigint
            o_deleted: number
          }>`
            select *
            from catalog_prune_versions(
              ${DateTime.toDateUtc(before)}, ${DateTime.toDateUtc(droppedBefore)},
              ${after?.key.namespace ?? ""}, ${after?.key.layer ?? ""}, ${after?.key.name ?? ""}, ${after?.commit ?? 0n},
              ${limit}
            )`
          if (row === undefined) return { next: null, removed: 0 }
          // Keys were checked when they were written.
          const key = new TableKey({ namespace: row.o_namespace, layer: row.o_layer, name: row.o_name } as never, {
            disableChecks: true,
          })
          return { next: { key, commit: row.o_commit }, removed: row.o_deleted }
        },
      )

      const pruneCommits: CatalogRetention["Service"]["pruneCommits"] = Effect.fn("CatalogRetention.pruneCommits")(
        function* ({ after, before, limit }) {
          const [row] = yield* sql<{ o_commit: bigint; o_deleted: number }>`
            select * from catalog_prune_commits(${DateTime.toDateUtc(before)}, ${after}, ${limit})`
          return { next: row?.o_commit ?? null, removed: row?.o_deleted ?? 0 }
        },
      )

      const reachable = Effect.fn("CatalogRetention.reachable")(function* (after: string, limit: number) {
        const rows = yield* sql<{
          location: string
        }>`select location from catalog_reachable(${after}, ${limit}) as location`
        return rows.map(({ location }) => location)
      })

      return CatalogRetention.of({ pruneVersions, pruneCommits, reachable })
    }),
  )
}
