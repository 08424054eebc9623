import type { RefName, TableKey } from "@rat/domain"
import { Effect } from "effect"
import type { Catalog } from "../catalog/Catalog.ts"
import type { TableCommit } from "../iceberg/IcebergTable.ts"

/** Where a table's version is kept, and how another one takes its place. */
export interface TableHead<E> {
  /** Null when there is no such table (any more). */
  readonly current: Effect.Effect<string | null, E>
  /** Whether `next` is the version now; false: somebody else's is, and nothing was changed. */
  readonly move: (from: string, next: TableCommit, what: string) => Effect.Effect<boolean, E>
}

const author = "maintenance"

/** A table on a ref of the catalog. `runId` makes a repeated commit answer with the first one's result. */
export const catalogHead = (catalog: Catalog["Service"], ref: RefName, key: TableKey, runId: string) =>
  ({
    current: Effect.map(catalog.table(ref, key), (pointer) => pointer?.metadataLocation ?? null),
    move: (from, next, what) =>
      catalog
        .commit(ref, {
          message: `${what} of ${key}`,
          author,
          runId,
          changes: [
            {
              key,
              expected: from,
              next: {
                metadataLocation: next.metadataLocation,
                snapshotId: next.snapshotId?.toString() ?? null,
                rowCount: next.totalRecords,
                sizeBytes: next.totalSizeBytes,
              },
            },
          ],
        })
        .pipe(
          Effect.as(true),
          Effect.catchTag("CatalogConflict", () => Effect.succeed(false)),
        ),
  }) satisfies TableHead<Effect.Error<ReturnType<Catalog["Service"]["commit" | "table"]>>>
