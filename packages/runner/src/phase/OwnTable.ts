import type { CheckpointCommit, RunId } from "@rat/domain"
import { Catalog, IcebergTable, type TableMetadata } from "@rat/lakehouse"
import { Effect } from "effect"
import type { ActiveRun } from "./ActiveRun.ts"

/** The pipeline's table on the run's branch, before this run. */
export interface OwnTable {
  /** What the branch points to now: the guard of the commit. */
  readonly expected: string | null
  /** What the run builds on; null when the table does not exist yet. */
  readonly base: { readonly metadataLocation: string; readonly metadata: TableMetadata } | null
  /** What the branch points to when this run made it, or the one that it goes on with. */
  readonly own: TableMetadata | null
  /** It is this very run's. */
  readonly isThisRuns: boolean
}

/** Keys of a snapshot's summary: the run that wrote it (the lakehouse's), the inputs that it was made of, and the rows that are new. */
const runIdKey = "rat.run-id"
const inputsKey = "rat.inputs"
const rowsKey = "rat.rows-written"

/** What a run's snapshot says of itself, so that another attempt can tell whether it is the one that it would make. */
export const summaryOf = (digest: string, rowsWritten: number) => ({
  [inputsKey]: digest,
  [rowsKey]: String(rowsWritten),
})

const currentSummary = (metadata: TableMetadata) =>
  metadata.snapshots.find(({ snapshotId }) => snapshotId === metadata.currentSnapshotId)?.summary

/**
 * Reads the table. When an earlier attempt of this very run has committed already, the run builds on what was there before
 * that commit: it goes on from it, or replaces it; rows are never doubled.
 */
export const readOwnTable = Effect.fn("OwnTable.read")(function* (run: ActiveRun) {
  const catalog = yield* Catalog
  const tables = yield* IcebergTable
  const pointer = yield* catalog.table(run.branch, run.key)
  if (pointer === null) return { expected: null, base: null, own: null, isThisRuns: false } as OwnTable
  const expected = pointer.metadataLocation
  const own = yield* tables.load(expected)
  const { runId } = run.claimed.lease
  const writer = (metadata: TableMetadata) => currentSummary(metadata)?.[runIdKey]
  const isOwn = (metadata: TableMetadata) => [runId, run.progress.origin.runId].includes(writer(metadata) as RunId)
  let base: OwnTable["base"] = { metadataLocation: expected, metadata: own }
  while (base !== null && isOwn(base.metadata)) {
    const before: string | undefined = base.metadata.metadataLog.at(-1)?.metadataFile
    base = before === undefined ? null : { metadataLocation: before, metadata: yield* tables.load(before) }
  }
  return { expected, base, own: isOwn(own) ? own : null, isThisRuns: writer(own) === runId } as OwnTable
})

/**
 * The commit of an earlier attempt that stands on the branch and that is what this one would make: of the same inputs. Control has
 * heard of it (`committed`), or that attempt ended before it could tell. One of another run counts only where this one goes on
 * with it: who repeats a run wants it executed again.
 */
export const committedBefore = (
  { expected, isThisRuns, own }: OwnTable,
  digest: string,
  committed: CheckpointCommit | null,
): CheckpointCommit | null => {
  if (expected === null) return null
  const summary = own === null ? undefined : currentSummary(own)
  if (own !== null && summary?.[inputsKey] === digest && (isThisRuns || committed !== null)) {
    return {
      metadataLocation: expected,
      snapshotId: own.currentSnapshotId?.toString() ?? null,
      rowsWritten: Number(summary[rowsKey] ?? 0),
    }
  }
  return committed?.metadataLocation === expected ? committed : null
}
