import { createHash } from "node:crypto"
import type { DataFile } from "./DataFile.ts"
import { encodeManifest, type ManifestEntry } from "./Manifest.ts"
import { encodeManifestList, hasLiveFiles, type ManifestFile } from "./ManifestList.ts"
import { encodeMetadata } from "./MetadataJson.ts"
import type { Schema, Snapshot, TableMetadata } from "./TableMetadata.ts"

/** See `IcebergTable.commit`. */
export interface TableChange {
  readonly base: { readonly metadataLocation: string; readonly metadata: TableMetadata } | null
  readonly location: string
  readonly operation: "append" | "overwrite"
  readonly schema: Schema
  readonly lastColumnId: number
  readonly dataFiles: ReadonlyArray<DataFile>
  readonly runId: string
  readonly properties?: Readonly<Record<string, string>>
}

/** What the base's current snapshot holds. */
export interface BaseSnapshot {
  readonly manifests: ReadonlyArray<ManifestFile>
  /** Live data files, inherited values filled in. Read only for `overwrite`. */
  readonly entries: ReadonlyArray<ManifestEntry>
  readonly totals: Totals
}

export interface Totals {
  readonly files: number
  readonly records: number
  readonly sizeBytes: number
}

/** The files of a commit, not yet written. The metadata file is what makes the others part of the table. */
export interface CommitPlan {
  readonly metadataLocation: string
  readonly metadata: TableMetadata
  readonly snapshotId: bigint
  readonly totals: Totals
  readonly manifests: ReadonlyArray<{
    readonly location: string
    readonly bytes: Uint8Array
    readonly entries: ReadonlyArray<ManifestEntry>
  }>
  readonly manifestList: {
    readonly location: string
    readonly bytes: Uint8Array
    readonly manifests: ReadonlyArray<ManifestFile>
  }
  readonly metadataBytes: Uint8Array
}

/** The spec's default of `write.metadata.previous-versions-max`. */
const previousVersions = 100

/** Nobody but the catalog may delete files: other branches may need them. Iceberg's tools obey `gc.enabled`. */
const defaultProperties = { "gc.enabled": "false", "write.format.default": "parquet" }

export const totalsOf = (files: ReadonlyArray<DataFile>): Totals => ({
  files: files.length,
  records: files.reduce((sum, file) => sum + file.recordCount, 0),
  sizeBytes: files.reduce((sum, file) => sum + file.fileSizeBytes, 0),
})

/** Totals from a snapshot's summary; null when its writer left one out. */
export const totalsOfSummary = (summary: Snapshot["summary"]): Totals | null => {
  const [files, records, sizeBytes] = ["total-data-files", "total-records", "total-files-size"].map((key) =>
    summary[key] === undefined ? Number.NaN : Number(summary[key]),
  ) as [number, number, number]
  return Number.isNaN(files + records + sizeBytes) ? null : { files, records, sizeBytes }
}

/**
 * Plans a commit without any I/O (Iceberg spec v2, "Snapshots", "Manifest Lists", "Commit Conflict Resolution": our
 * catalog does the compare-and-set). The names and bytes of manifests and list depend only on the change, and the
 * metadata file's name too, so a repeated commit of a run writes the same files again.
 */
export const planCommit = (change: TableChange, base: BaseSnapshot, nowMs: number): CommitPlan => {
  const previous = change.base?.metadata ?? null
  const digest = digestOf(change)
  const name = `${change.runId}-${digest.toString("hex").slice(0, 8)}`
  // 15 digits: foreign tools that read ids into doubles stay exact, and our own JSON needs no slow path.
  const snapshotId = (digest.readBigUInt64BE(8) % 999_999_999_999_999n) + 1n
  const sequenceNumber = (previous?.lastSequenceNumber ?? 0n) + 1n
  const timestampMs = Math.max(nowMs, previous?.lastUpdatedMs ?? 0)
  const specId = previous?.defaultSpecId ?? 0
  const { currentSchemaId, schema, schemas } = schemasWith(previous, change.schema)
  const folder = `${change.location}/metadata`

  const added = change.dataFiles.map(
    (file): ManifestEntry => ({ status: "added", snapshotId, sequenceNumber: null, fileSequenceNumber: null, file }),
  )
  const removed =
    change.operation === "overwrite"
      ? base.entries.map((entry): ManifestEntry => ({ ...entry, status: "deleted", snapshotId }))
      : []
  const manifests = [
    { entries: added, schema, filesSchema: true },
    // The old files belong to the old schema; nothing is read from deleted entries.
    { entries: removed, schema: currentSchema(previous) ?? schema, filesSchema: false },
  ]
    .filter((manifest) => manifest.entries.length > 0)
    .map((manifest, index) => ({
      location: `${folder}/${name}-m${index}.avro`,
      bytes: encodeManifest({ ...manifest, specId }),
      entries: manifest.entries,
    }))
  const lines = manifests.map((manifest): ManifestFile => {
    const rows = (status: ManifestEntry["status"]) =>
      totalsOf(manifest.entries.filter((entry) => entry.status === status).map((entry) => entry.file))
    return {
      path: manifest.location,
      lengthBytes: manifest.bytes.length,
      partitionSpecId: specId,
      content: "data",
      sequenceNumber,
      minSequenceNumber: sequenceNumber, // of live files, and those are all new
      addedSnapshotId: snapshotId,
      addedFiles: rows("added").files,
      existingFiles: 0,
      deletedFiles: rows("deleted").files,
      addedRows: rows("added").records,
      existingRows: 0,
      deletedRows: rows("deleted").records,
      partitions: [],
      keyMetadata: null,
    }
  })
  // A manifest in which nothing lives any more told of its own snapshot's deletions only.
  const kept = change.operation === "append" ? base.manifests.filter(hasLiveFiles) : []
  const parentSnapshotId = previous?.currentSnapshotId ?? null
  const list = {
    location: `${folder}/snap-${snapshotId}-${name}.avro`,
    manifests: [...lines, ...kept],
  }

  const addedTotals = totalsOf(change.dataFiles)
  const removedTotals = totalsOf(removed.map((entry) => entry.file))
  const totals: Totals = {
    files: base.totals.files + addedTotals.files - removedTotals.files,
    records: base.totals.records + addedTotals.records - removedTotals.records,
    sizeBytes: base.totals.sizeBytes + addedTotals.sizeBytes - removedTotals.sizeBytes,
  }
  const snapshot: Snapshot = {
    snapshotId,
    parentSnapshotId,
    sequenceNumber,
    timestampMs,
    manifestList: list.location,
    summary: summaryOf(change, addedTotals, removedTotals, totals),
    schemaId: currentSchemaId,
  }
  const metadata: TableMetadata = {
    ...(previous ?? emptyTable(digest)),
    location: change.location,
    lastSequenceNumber: sequenceNumber,
    lastUpdatedMs: timestampMs,
    lastColumnId: Math.max(previous?.lastColumnId ?? 0, change.lastColumnId),
    schemas,
    currentSchemaId,
    properties: { ...(previous?.properties ?? defaultProperties), ...change.properties },
    currentSnapshotId: snapshotId,
    snapshots: [...(previous?.snapshots ?? []), snapshot],
    snapshotLog: [...(previous?.snapshotLog ?? []), { snapshotId, timestampMs }],
    metadataLog: metadataLogWith(change.base),
    refs: { ...previous?.refs, main: { ...previous?.refs.main, snapshotId, type: "branch" } },
  }
  return {
    metadataLocation: `${folder}/${nextVersion(change.base?.metadataLocation)}-${name}.metadata.json`,
    metadata,
    snapshotId,
    totals,
    manifests,
    manifestList: { ...list, bytes: encodeManifestList({ ...list, snapshotId, parentSnapshotId, sequenceNumber }) },
    metadataBytes: encodeMetadata(metadata),
  }
}

/** Everything that makes this commit different from another one of the same run. */
const digestOf = (change: TableChange): Buffer => {
  const hash = createHash("sha256").update(
    JSON.stringify([
      change.base?.metadataLocation ?? null,
      change.location,
      change.operation,
      change.schema.fields,
      change.lastColumnId,
      change.runId,
      change.properties ?? null,
      change.dataFiles.map((file) => [file.filePath, file.recordCount, file.fileSizeBytes]),
    ]),
  )
  for (const file of change.dataFiles) {
    for (const bounds of [file.lowerBounds, file.upperBounds]) for (const bound of bounds.values()) hash.update(bound)
  }
  return hash.digest()
}

/** `00012-<anything>` and `v12.metadata.json` are followed by 00013. */
const nextVersion = (metadataLocation: string | undefined): string => {
  const version = /\/v?(\d+)[^/]*$/.exec(metadataLocation ?? "")
  return String(version === null ? 0 : Number(version[1]) + 1).padStart(5, "0")
}

const currentSchema = (metadata: TableMetadata | null): Schema | null =>
  metadata?.schemas.find((schema) => schema.schemaId === metadata.currentSchemaId) ?? null

/** A schema that the table had before gets its id again ("Schema Evolution"); old ones stay for time travel. */
const schemasWith = (previous: TableMetadata | null, wanted: Schema) => {
  const schemas = previous?.schemas ?? []
  const text = JSON.stringify(wanted.fields)
  const known = schemas.find((schema) => JSON.stringify(schema.fields) === text)
  if (known !== undefined) return { schema: known, schemas, currentSchemaId: known.schemaId }
  const schemaId = schemas.reduce((highest, schema) => Math.max(highest, schema.schemaId), -1) + 1
  const schema = { ...wanted, schemaId }
  return { schema, schemas: [...schemas, schema], currentSchemaId: schemaId }
}

const metadataLogWith = (base: TableChange["base"]): TableMetadata["metadataLog"] => {
  if (base === null) return []
  const { lastUpdatedMs, metadataLog, properties } = base.metadata
  const limit = Math.max(1, Number(properties["write.metadata.previous-versions-max"]) || previousVersions)
  return [...metadataLog, { metadataFile: base.metadataLocation, timestampMs: lastUpdatedMs }].slice(-limit)
}

/** Iceberg spec v2, "Optional Snapshot Summary Fields"; numbers are strings there. */
const summaryOf = (change: TableChange, added: Totals, removed: Totals, totals: Totals): Snapshot["summary"] => ({
  operation: change.operation,
  "added-data-files": String(added.files),
  "added-records": String(added.records),
  "added-files-size": String(added.sizeBytes),
  ...(removed.files === 0
    ? {}
    : {
        "deleted-data-files": String(removed.files),
        "deleted-records": String(removed.records),
        "removed-files-size": String(removed.sizeBytes),
      }),
  "changed-partition-count": added.files + removed.files === 0 ? "0" : "1",
  "total-data-files": String(totals.files),
  "total-records": String(totals.records),
  "total-files-size": String(totals.sizeBytes),
  "total-delete-files": "0",
  "total-position-deletes": "0",
  "total-equality-deletes": "0",
  "rat.run-id": change.runId,
})

/** Unpartitioned (spec 0 without fields) and unsorted (order 0, reserved for that). */
const emptyTable = (digest: Buffer) =>
  ({
    formatVersion: 2,
    tableUuid: uuidOf(digest),
    partitionSpecs: [{ specId: 0, fields: [] }],
    defaultSpecId: 0,
    lastPartitionId: 999, // partition field ids begin at 1000
    sortOrders: [{ orderId: 0, fields: [] }],
    defaultSortOrderId: 0,
  }) as const

/** A version 8 UUID (RFC 9562: custom) from the digest: the same for a repeated commit, unlike a random one. */
const uuidOf = (digest: Buffer): string => {
  const bytes = Buffer.from(digest.subarray(16, 32))
  bytes[6] = (bytes[6]! & 0x0f) | 0x80
  bytes[8] = (bytes[8]! & 0x3f) | 0x80
  return bytes.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-")
}
