import type { TableKey } from "@rat/domain"
import { DateTime, Effect } from "effect"
import type { SqlClient } from "effect/sql"
import type { TableChange, TablePointer } from "../catalog/Catalog.ts"
import type { IcebergTable } from "../iceberg/IcebergTable.ts"
import { liveRows, totalsOfSummary } from "../iceberg/SnapshotSummary.ts"
import type { Content } from "./NessieApi.ts"

interface VersionRow {
  readonly metadata_location: string
  readonly snapshot_id: string | null
  readonly row_count: bigint
  readonly size_bytes: bigint
  readonly written_at: Date
}

type Version = NonNullable<TableChange["next"]>

/** Table and content of Nessie that names its metadata file. */
export interface Placed {
  readonly key: TableKey
  readonly content: Content
}

/** Metadata files of others that are read at the same time. */
const readsAtOnce = 8

/** Rows and bytes of table versions: Nessie knows only where the metadata file is. */
export const makeNessieVersions = (sql: SqlClient.SqlClient, tables: IcebergTable["Service"]) => {
  /** Before the commit: a row that no commit followed is harmless, a missing one costs a read of the metadata file. */
  const remember = (versions: ReadonlyArray<Version>, writtenAt: DateTime.Utc) =>
    versions.length === 0
      ? Effect.void
      : Effect.asVoid(sql`
          insert into nessie_version (metadata_location, snapshot_id, row_count, size_bytes, written_at)
          select distinct on (v.location) v.location, v.snapshot_id, v.row_count, v.size_bytes, ${DateTime.toDateUtc(writtenAt)}::timestamptz
          from jsonb_to_recordset(${JSON.stringify(
            versions.map((version) => ({
              location: version.metadataLocation,
              snapshot_id: version.snapshotId,
              row_count: version.rowCount,
              size_bytes: version.sizeBytes,
            })),
          )}::jsonb) as v (location text, snapshot_id text, row_count bigint, size_bytes bigint)
          order by v.location
          on conflict (metadata_location) do nothing`)

  const fromMetadata = Effect.fnUntraced(function* ({ key, content }: Placed) {
    const metadataLocation = content.metadataLocation!
    const unread: TablePointer = {
      key,
      metadataLocation,
      snapshotId:
        content.snapshotId === undefined || Number(content.snapshotId) < 0 ? null : String(content.snapshotId),
      rowCount: 0,
      sizeBytes: 0,
      updatedAt: DateTime.makeUnsafe(0),
    }
    // Whoever reads the table is told what is wrong with its file; a list of tables must not break on one of them.
    const metadata = yield* tables.load(metadataLocation).pipe(Effect.catch(() => Effect.succeed(null)))
    if (metadata === null) return unread
    const snapshot = metadata.snapshots.find(({ snapshotId }) => snapshotId === metadata.currentSnapshotId)
    const totals = snapshot === undefined ? null : totalsOfSummary(snapshot.summary)
    return {
      ...unread,
      snapshotId: metadata.currentSnapshotId === null ? null : String(metadata.currentSnapshotId),
      rowCount: totals === null ? 0 : liveRows(totals),
      sizeBytes: totals?.sizeBytes ?? 0,
      updatedAt: DateTime.makeUnsafe(metadata.lastUpdatedMs),
    } satisfies TablePointer
  })

  const pointers = Effect.fnUntraced(function* (placed: ReadonlyArray<Placed>) {
    if (placed.length === 0) return []
    const locations = placed.map(({ content }) => content.metadataLocation!)
    const rows = yield* sql<VersionRow>`
      select metadata_location, snapshot_id, row_count, size_bytes, written_at
      from nessie_version
      where metadata_location = any(${locations})`
    const known = new Map(rows.map((row) => [row.metadata_location, row]))
    return yield* Effect.forEach(
      placed,
      ({ key, content }) => {
        const row = known.get(content.metadataLocation!)
        return row === undefined
          ? fromMetadata({ key, content })
          : Effect.succeed<TablePointer>({
              key,
              metadataLocation: row.metadata_location,
              snapshotId: row.snapshot_id,
              rowCount: Number(row.row_count),
              sizeBytes: Number(row.size_bytes),
              updatedAt: DateTime.fromDateUnsafe(row.written_at),
            })
      },
      { concurrency: readsAtOnce },
    )
  })

  /** Forgets what the metadata files say too. */
  const prune = sql`
    delete from nessie_version
    where metadata_location in (
      select metadata_location from nessie_version
      where written_at < now() - interval '90 days'
      order by written_at
      limit 10000
    )`

  return { remember, pointers, prune }
}

export type NessieVersions = ReturnType<typeof makeNessieVersions>
