import { Catalog, IcebergTable, type Merged, ObjectStore, type TableCommit } from "@rat/lakehouse"
import { Effect } from "effect"
import type { ActiveRun } from "./ActiveRun.ts"
import { type OwnTable, readOwnTable } from "./OwnTable.ts"
import { RunFailed } from "./RunFailed.ts"

/** The table on the branch after the run. */
export interface Committed {
  readonly metadataLocation: string
  readonly snapshotId: string | null
}

const author = "runner"

/** How often a commit on the run's own branch meets an older attempt of the run that is still at work. */
const maxOvertaken = 3

const nothingNew = (own: OwnTable): Committed | null =>
  own.base === null
    ? null
    : {
        metadataLocation: own.base.metadataLocation,
        snapshotId: own.base.metadata.currentSnapshotId?.toString() ?? null,
      }

/** Makes the merge a snapshot of the table and points the run's branch to it. */
export const commit = Effect.fn("Commit.commit")(function* (run: ActiveRun, merged: Merged, first: OwnTable) {
  const catalog = yield* Catalog
  const tables = yield* IcebergTable
  const store = yield* ObjectStore
  const { lease } = run.claimed
  let own = first
  for (let overtaken = 0; ; overtaken++) {
    // The table stays as it is; but what an older attempt of the run has put on the branch goes.
    if (merged.snapshot === null && merged.updates.length === 0 && own.expected === own.base?.metadataLocation) {
      const there = nothingNew(own)
      if (there !== null) return there
    }
    const made: TableCommit = yield* tables.commit({
      base: own.base,
      location: store.locationOf(`${run.key.namespace}/${run.key.layer}/${run.key.name}`),
      runId: lease.runId,
      updates: merged.updates,
      snapshot: merged.snapshot,
    })
    const snapshotId = made.snapshotId?.toString() ?? null
    const conflict = yield* catalog
      .commit(run.branch, {
        message: `Run ${lease.runId}`,
        author,
        runId: lease.runId,
        changes: [
          {
            key: run.key,
            expected: own.expected,
            next: {
              metadataLocation: made.metadataLocation,
              snapshotId,
              rowCount: made.totalRecords,
              sizeBytes: made.totalSizeBytes,
            },
          },
        ],
      })
      .pipe(
        Effect.as(false),
        Effect.catchTag("CatalogConflict", () => Effect.succeed(true)),
      )
    if (!conflict) return { metadataLocation: made.metadataLocation, snapshotId } satisfies Committed as Committed
    // Only attempts of this run write to its branch: an older one that does not know yet that its lease is gone.
    if (overtaken >= maxOvertaken) {
      return yield* new RunFailed({
        code: "commit.conflict",
        reason: `Table ${run.key} keeps changing on the run's own branch ${run.branch}. Nothing was published; run it again.`,
      })
    }
    own = yield* readOwnTable(run)
    // The merge is one of the table that the run began with: of another one its positions would be wrong.
    if (own.base?.metadataLocation !== first.base?.metadataLocation) {
      return yield* new RunFailed({
        code: "commit.conflict",
        reason: `Table ${run.key} was changed on the run's own branch ${run.branch} while the run was at work. Nothing was published; run it again.`,
      })
    }
  }
})
