import type { CheckpointCommit } from "@rat/domain"
import { Catalog, IcebergTable, type Merged, ObjectStore, type TableCommit } from "@rat/lakehouse"
import { Effect } from "effect"
import type { ActiveRun } from "./ActiveRun.ts"
import { asLeaseLost } from "./Branch.ts"
import { type OwnTable, readOwnTable, summaryOf } from "./OwnTable.ts"
import type { Resolved } from "./Resolve.ts"
import { RunFailed } from "./RunFailed.ts"

const author = "runner"

/** How often a commit on the run's own branch meets somebody else who is still at work there. */
const maxOvertaken = 3

const nothingNew = (own: OwnTable, rowsWritten: number): CheckpointCommit | null =>
  own.base === null
    ? null
    : {
        metadataLocation: own.base.metadataLocation,
        snapshotId: own.base.metadata.currentSnapshotId?.toString() ?? null,
        rowsWritten,
      }

/**
 * Makes the merge a snapshot of the table and points the run's branch to it. Repeating it, also by a later attempt with the same merge,
 * finds the commit that is there.
 */
export const commit = Effect.fn("Commit.commit")(function* (run: ActiveRun, merged: Merged, resolved: Resolved) {
  const catalog = yield* Catalog
  const tables = yield* IcebergTable
  const store = yield* ObjectStore
  const { lease } = run.claimed
  const rowsWritten = merged.rows.added
  const first = resolved.own
  const snapshot =
    merged.snapshot === null
      ? null
      : {
          ...merged.snapshot,
          summary: { ...merged.snapshot.summary, ...summaryOf(resolved.digest, rowsWritten) },
        }
  let own = first
  for (let overtaken = 0; ; overtaken++) {
    // The table stays as it is; but what an older attempt of the run has put on the branch goes.
    if (snapshot === null && merged.updates.length === 0 && own.expected === own.base?.metadataLocation) {
      const there = nothingNew(own, rowsWritten)
      if (there !== null) return there
    }
    const made: TableCommit = yield* tables.commit({
      base: own.base,
      location: store.locationOf(`${run.key.namespace}/${run.key.layer}/${run.key.name}`),
      runId: lease.runId,
      updates: merged.updates,
      snapshot,
    })
    const snapshotId = made.snapshotId?.toString() ?? null
    const conflict = yield* catalog
      .commitHeld(run.branch, {
        message: `Run ${lease.runId}`,
        author,
        runId: lease.runId,
        fence: lease.fencingToken,
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
        asLeaseLost(run),
      )
    if (!conflict) {
      return {
        metadataLocation: made.metadataLocation,
        snapshotId,
        rowsWritten,
      } satisfies CheckpointCommit as CheckpointCommit
    }
    // People may write to a run's branch; and with a catalog outside of Postgres, what an older attempt had on its way.
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
