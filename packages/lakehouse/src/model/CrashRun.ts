import { mainRef, RefName, TableKey } from "@rat/domain"
import { Effect } from "effect"
import { Catalog } from "../catalog/Catalog.ts"
import { Rebase } from "../catalog/Rebase.ts"
import { IcebergTable, type TableCommit } from "../iceberg/IcebergTable.ts"
import type { TableVersion } from "../iceberg/TableChange.ts"
import { prepareMerge, type TestMerge } from "../write/TestMerge.ts"

/** A run of a pipeline, as one process carries it out. */
export interface CrashRun {
  readonly runId: string
  /** Counted from 1; every attempt names its files anew. */
  readonly attempt: number
  readonly table: string
  readonly merge: Pick<TestMerge, "strategy" | "query" | "settings" | "partitionBy" | "formatVersion" | "folds">
  /** A query whose rows somebody else appends to the table on main before the run is published; null for nobody. */
  readonly others: string | null
}

export const crashNamespace = "crash"

export const crashKey = (table: string) =>
  new TableKey({ namespace: crashNamespace, layer: "silver", name: table } as never)

const pointerTo = (made: TableCommit) => ({
  metadataLocation: made.metadataLocation,
  snapshotId: made.snapshotId?.toString() ?? null,
  rowCount: made.totalRecords,
  sizeBytes: made.totalSizeBytes,
})

/** Merges a query into a table of a ref and commits that. */
const write = Effect.fnUntraced(function* (
  catalog: Catalog["Service"],
  ref: RefName,
  table: string,
  version: { readonly base: TableVersion | null; readonly expected: string | null },
  merge: CrashRun["merge"],
  names: { readonly filePrefix: string; readonly runId: string },
) {
  const tables = yield* IcebergTable
  const { filePrefix, runId } = names
  const prepared = yield* prepareMerge({ ...merge, name: table, base: version.base, filePrefix })
  const made = yield* tables.commit({
    base: version.base,
    location: prepared.location,
    runId,
    updates: prepared.merged.updates,
    snapshot: prepared.merged.snapshot,
  })
  yield* catalog.commit(ref, {
    message: runId,
    author: "test",
    runId,
    changes: [{ key: crashKey(table), expected: version.expected, next: pointerTo(made) }],
  })
})

const load = Effect.fnUntraced(function* (metadataLocation: string) {
  const tables = yield* IcebergTable
  return { metadataLocation, metadata: yield* tables.load(metadataLocation) } satisfies TableVersion as TableVersion
})

/** What somebody writes on main without a branch. */
export const writeMain = Effect.fnUntraced(function* (
  catalog: Catalog["Service"],
  table: string,
  merge: CrashRun["merge"],
  runId: string,
) {
  const pointer = yield* catalog.table(mainRef, crashKey(table))
  const base = pointer === null ? null : yield* load(pointer.metadataLocation)
  const version = { base, expected: pointer?.metadataLocation ?? null }
  yield* write(catalog, mainRef, table, version, merge, { filePrefix: runId, runId })
})

/** A branch of its own, the merge on it, and the branch's merge into main: the steps of a run. `others` work undisturbed. */
export const crashRun = Effect.fnUntraced(function* (run: CrashRun, undisturbed: Catalog["Service"]) {
  const catalog = yield* Catalog
  const rebase = yield* Rebase
  const key = crashKey(run.table)
  const branch = RefName.make(`run-${run.runId}`)
  yield* catalog.createBranch(branch, { from: mainRef, runId: run.runId })
  const pointer = yield* catalog.table(branch, key)
  let base = pointer === null ? null : yield* load(pointer.metadataLocation)
  // What an earlier attempt has committed goes: the run builds on what was there before.
  for (;;) {
    const { currentSnapshotId, metadataLog, snapshots } = base?.metadata ?? { snapshots: [], metadataLog: [] }
    const current = snapshots.find(({ snapshotId }) => snapshotId === currentSnapshotId)
    if (current?.summary["rat.run-id"] !== run.runId) break
    const before = metadataLog.at(-1)?.metadataFile
    base = before === undefined ? null : yield* load(before)
  }
  yield* write(catalog, branch, run.table, { base, expected: pointer?.metadataLocation ?? null }, run.merge, {
    filePrefix: `${run.runId}-${run.attempt}`,
    runId: run.runId,
  })
  if (run.others !== null) {
    const append = { strategy: "append_only", query: run.others, folds: false }
    yield* writeMain(undisturbed, run.table, append, `${run.runId}-others`)
  }
  const publish = catalog.merge(branch, { message: run.runId, author: "test", runId: run.runId }).pipe(
    Effect.as(true),
    Effect.catchTag("CatalogConflict", () => Effect.succeed(false)),
  )
  while (!(yield* publish)) {
    const reasons = yield* rebase.branch(branch, [key])
    if (reasons.length > 0) return yield* Effect.die(new Error(reasons.map(({ reason }) => reason).join("; ")))
  }
})
