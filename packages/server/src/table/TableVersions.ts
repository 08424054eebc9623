import {
  DroppedTableInfo,
  mainRef,
  type NamespaceName,
  type RefName,
  SnapshotInfo,
  SnapshotNotFound,
  TableExists,
  TableKey,
  TableMoved,
  TableNotFound,
} from "@rat/domain"
import { Catalog, IcebergTable, type TableChange, type TableMetadata } from "@rat/lakehouse"
import { DateTime, Effect, Random } from "effect"
import { SqlClient } from "effect/sql"
import { makeBranchMerge } from "../branch/BranchMerge.ts"
import { retryContention } from "../sql/SqlRetry.ts"

type Key = Pick<TableKey, "namespace" | "layer" | "name">

/** In the history of the catalog. */
const author = "api"

const numberIn = (summary: Readonly<Record<string, string>>, ...names: ReadonlyArray<string>) =>
  names.reduce((sum, name) => sum + (Number(summary[name] ?? 0) || 0), 0)

const snapshotInfos = (metadata: TableMetadata): ReadonlyArray<SnapshotInfo> =>
  metadata.snapshots
    .map(
      ({ parentSnapshotId, sequenceNumber, snapshotId, summary, timestampMs }) =>
        new SnapshotInfo({
          snapshot_id: snapshotId.toString(),
          parent_snapshot_id: parentSnapshotId?.toString() ?? null,
          sequence_number: Number(sequenceNumber),
          created_at: DateTime.makeUnsafe(timestampMs),
          operation: summary.operation ?? "",
          run_id: summary["rat.run-id"] ?? null,
          rows_added: numberIn(summary, "added-records"),
          rows_removed: numberIn(summary, "deleted-records", "added-position-deletes"),
          total_rows: Math.max(0, numberIn(summary, "total-records") - numberIn(summary, "total-position-deletes")),
          total_files: numberIn(summary, "total-data-files"),
          size_bytes: numberIn(summary, "total-files-size"),
          is_current: snapshotId === metadata.currentSnapshotId,
          summary,
        }),
    )
    .toReversed()

/** Older states of tables: to look at, to go back to, to bring back. Every move is a commit of the catalog. */
export const makeTableVersions = Effect.gen(function* () {
  const catalog = yield* Catalog
  const tables = yield* IcebergTable
  const sql = yield* SqlClient.SqlClient
  const { announce } = yield* makeBranchMerge

  const pointerOf = Effect.fnUntraced(function* (key: TableKey, ref: RefName) {
    const pointer = yield* catalog.table(ref, key)
    return pointer ?? (yield* new TableNotFound({ table: key.toString(), ref }))
  })

  const move = (ref: RefName, message: string, change: TableChange) =>
    Effect.gen(function* () {
      const commit = yield* catalog.commit(ref, { message, author, runId: null, changes: [change] })
      if (ref === mainRef) yield* announce(commit)
    }).pipe(
      sql.withTransaction,
      retryContention,
      Effect.catchTag("CatalogConflict", () => Effect.fail(new TableMoved({ table: change.key.toString(), ref }))),
    )

  return {
    snapshots: Effect.fn("TableVersions.snapshots")(function* (at: Key, ref: RefName = mainRef) {
      const { metadataLocation } = yield* pointerOf(new TableKey(at), ref)
      return snapshotInfos(yield* tables.load(metadataLocation))
    }),

    /** The table's current snapshot becomes an older one; what came after it stays in the list of snapshots. */
    rollback: Effect.fn("TableVersions.rollback")(function* (
      at: Key,
      wanted: { readonly snapshotId: string | undefined; readonly at: DateTime.Utc | undefined },
      ref: RefName = mainRef,
    ) {
      const key = new TableKey(at)
      const { metadataLocation } = yield* pointerOf(key, ref)
      const metadata = yield* tables.load(metadataLocation)
      const missing = (what: string) => new SnapshotNotFound({ table: key.toString(), wanted: what })
      const time = wanted.at === undefined ? null : DateTime.toEpochMillis(wanted.at)
      const id =
        time === null
          ? metadata.snapshots.find(({ snapshotId }) => snapshotId.toString() === wanted.snapshotId)?.snapshotId
          : metadata.snapshotLog.findLast(({ timestampMs }) => timestampMs <= time)?.snapshotId
      if (id === undefined) {
        return yield* missing(
          time === null ? (wanted.snapshotId ?? "(none given)") : `at ${new Date(time).toISOString()}`,
        )
      }
      if (id === metadata.currentSnapshotId) return
      const suffix = Math.floor((yield* Random.next) * 2 ** 32).toString(16)
      const made = yield* tables.commit({
        base: { metadataLocation, metadata },
        location: metadata.location,
        runId: `rollback-${suffix}`,
        updates: [{ action: "set-snapshot-ref", refName: "main", snapshotId: id, type: "branch" }],
        snapshot: null,
      })
      yield* move(ref, `roll ${key} back to snapshot ${id}`, {
        key,
        expected: metadataLocation,
        next: {
          metadataLocation: made.metadataLocation,
          snapshotId: id.toString(),
          rowCount: made.totalRecords,
          sizeBytes: made.totalSizeBytes,
        },
      })
    }),

    drop: Effect.fn("TableVersions.drop")(function* (at: Key, ref: RefName = mainRef) {
      const key = new TableKey(at)
      const { metadataLocation } = yield* pointerOf(key, ref)
      yield* move(ref, `drop ${key}`, { key, expected: metadataLocation, next: null })
    }),

    dropped: Effect.fn("TableVersions.dropped")(function* (
      namespace: NamespaceName | undefined,
      ref: RefName = mainRef,
    ) {
      const found = yield* catalog.dropped(namespace === undefined ? { ref } : { namespace, ref })
      return found.map(
        ({ droppedAt, pointer }) =>
          new DroppedTableInfo({
            table: pointer.key.toString(),
            row_count: pointer.rowCount,
            size_bytes: pointer.sizeBytes,
            dropped_at: droppedAt,
          }),
      )
    }),

    undrop: Effect.fn("TableVersions.undrop")(function* (at: Key, ref: RefName = mainRef) {
      const key = new TableKey(at)
      if ((yield* catalog.table(ref, key)) !== null) return yield* new TableExists({ table: key.toString(), ref })
      const found = (yield* catalog.dropped({ namespace: key.namespace, ref })).find(
        ({ pointer }) => pointer.key.toString() === key.toString(),
      )
      if (found === undefined) return yield* new TableNotFound({ table: key.toString(), ref })
      const { metadataLocation, rowCount, sizeBytes, snapshotId } = found.pointer
      yield* move(ref, `undrop ${key}`, {
        key,
        expected: null,
        next: { metadataLocation, rowCount, sizeBytes, snapshotId },
      })
    }),
  }
})
