import { Catalog, IcebergTable, type TableMetadata } from "@rat/lakehouse"
import { Effect } from "effect"
import type { ActiveRun } from "./ActiveRun.ts"

/** The pipeline's table on the run's branch, before this run. */
export interface OwnTable {
  /** What the branch points to now: the guard of the commit. */
  readonly expected: string | null
  /** What the run builds on; null when the table does not exist yet. */
  readonly base: { readonly metadataLocation: string; readonly metadata: TableMetadata } | null
}

/** Key of a snapshot's summary that names the run that wrote it. */
const runIdKey = "rat.run-id"

const writtenBy = (metadata: TableMetadata): string | undefined =>
  metadata.snapshots.find((snapshot) => snapshot.snapshotId === metadata.currentSnapshotId)?.summary[runIdKey]

/**
 * Reads the table. When an earlier attempt of this very run has committed already, the run builds on what was there before
 * that commit and replaces it: rows are never doubled.
 */
export const readOwnTable = Effect.fn("OwnTable.read")(function* (run: ActiveRun) {
  const catalog = yield* Catalog
  const tables = yield* IcebergTable
  const pointer = yield* catalog.table(run.branch, run.key)
  if (pointer === null) return { expected: null, base: null } as OwnTable
  const expected = pointer.metadataLocation
  let base: OwnTable["base"] = { metadataLocation: expected, metadata: yield* tables.load(expected) }
  while (base !== null && writtenBy(base.metadata) === run.claimed.lease.runId) {
    const before: string | undefined = base.metadata.metadataLog.at(-1)?.metadataFile
    base = before === undefined ? null : { metadataLocation: before, metadata: yield* tables.load(before) }
  }
  return { expected, base } as OwnTable
})
