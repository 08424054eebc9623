import { Result } from "effect"
import { applyUpdates, UpdateRefused } from "./ApplyUpdates.ts"
import { isLive, type Misfit, type ReadEntries, splitEntries } from "./CommitEntries.ts"
import { commitName } from "./CommitName.ts"
import type { ContentFile } from "./DataFile.ts"
import { encodeManifest, type ManifestEntry } from "./Manifest.ts"
import { encodeManifestList, type ManifestFile } from "./ManifestList.ts"
import { mergeGroups } from "./ManifestMerge.ts"
import { summarise } from "./ManifestSummary.ts"
import { encodeMetadata } from "./MetadataJson.ts"
import { partitionFields, specOf } from "./PartitionSpec.ts"
import { assignRowIds, rowsWithoutIds } from "./RowLineage.ts"
import { minus, noTotals, plus, summaryOf, type Totals, totalsOf, totalsOfSummary } from "./SnapshotSummary.ts"
import type { SnapshotChange, TableChange } from "./TableChange.ts"
import type { Snapshot, TableMetadata } from "./TableMetadata.ts"

/** What the base's current snapshot holds. */
export interface BaseSnapshot {
  readonly manifests: ReadonlyArray<ManifestFile>
  readonly entries: ReadEntries
  readonly totals: Totals
}

/** A manifest that the commit writes. */
export interface WrittenManifest {
  readonly location: string
  readonly bytes: Uint8Array
  readonly entries: ReadonlyArray<ManifestEntry>
  readonly line: ManifestFile
}

/** The files of a commit, not yet written. The metadata file is what makes the others part of the table. */
export interface CommitPlan {
  readonly metadataLocation: string
  readonly metadata: TableMetadata
  readonly metadataBytes: Uint8Array
  readonly snapshotId: bigint | null
  readonly totals: Totals
  readonly manifests: ReadonlyArray<WrittenManifest>
  readonly manifestList: {
    readonly location: string
    readonly bytes: Uint8Array
    readonly manifests: ReadonlyArray<ManifestFile>
  } | null
}

/**
 * Plans a commit without any I/O (Iceberg spec, "Snapshots", "Manifest Lists", "Commit Conflict Resolution": our catalog does
 * the compare-and-set). The names and bytes of manifests and list depend only on the change, and the metadata file's name too,
 * so a repeated commit of a run writes the same files again.
 */
export const planCommit = (
  change: TableChange,
  base: BaseSnapshot,
  nowMs: number,
): Result.Result<CommitPlan, UpdateRefused | Misfit> => {
  const previous = change.base?.metadata ?? null
  const { folder, metadataLocation, name, snapshotId, uuid } = commitName(change)
  const context = { nowMs, location: change.location, uuid, previousLocation: change.base?.metadataLocation ?? null }
  const prepared = applyUpdates(previous, change.updates, context)
  if (Result.isFailure(prepared)) return Result.fail(prepared.failure)
  const table = prepared.success
  if (change.snapshot === null) {
    // The updates may have made another snapshot the current one.
    const current = table.snapshots.find((snapshot) => snapshot.snapshotId === table.currentSnapshotId)
    const totals = current === undefined ? noTotals : (totalsOfSummary(current.summary) ?? noTotals)
    return Result.succeed({
      metadataLocation,
      metadata: table,
      metadataBytes: encodeMetadata(table),
      snapshotId: table.currentSnapshotId,
      totals,
      manifests: [],
      manifestList: null,
    })
  }
  const added = addedFiles(change.snapshot, table)
  const problem = added.map((file) => problemOf(file, table)).find((each) => each !== undefined)
  if (problem !== undefined) return Result.fail(new UpdateRefused({ action: "add-snapshot", reason: problem }))
  const split = splitEntries(change.snapshot, snapshotId, base.manifests, base.entries)
  if ("misfit" in split) return Result.fail(split)

  const snapshot = { id: snapshotId, sequenceNumber: table.lastSequenceNumber + 1n }
  // The properties as they were: by them it was decided what was read.
  const merged = mergeGroups(split.kept, previous?.properties ?? {})
  const mergedAway = new Set(merged.flat())
  const manifests = [
    ...byManifest(added.map((file) => addedEntry(file, snapshotId, change.snapshot!.operation === "replace"))),
    ...rewrittenGroups(split.rewritten),
    ...merged.flatMap((lines) => byManifest(lines.flatMap((line) => existingEntries(base.entries.get(line.path)!)))),
  ].map((entries, index) => writeManifest(entries, table, snapshot, `${folder}/${name}-m${index}.avro`))
  const lineage = assignRowIds(
    [...manifests.map(({ line }) => line), ...split.kept.filter((line) => !mergedAway.has(line))],
    new Map(manifests.map(({ entries, line }) => [line, rowsWithoutIds(entries)])),
    table,
  )
  const parentSnapshotId = table.currentSnapshotId
  const list = { location: `${folder}/snap-${snapshotId}-${name}.avro`, manifests: lineage.lines }
  const totals = plus(minus(base.totals, totalsOf(split.removed)), totalsOf(added))
  const made: Snapshot = {
    snapshotId,
    parentSnapshotId,
    sequenceNumber: snapshot.sequenceNumber,
    timestampMs: Math.max(nowMs, previous?.lastUpdatedMs ?? 0),
    manifestList: list.location,
    summary: {
      ...summaryOf({ operation: change.snapshot.operation, added, removed: split.removed, totals }),
      "rat.run-id": change.runId,
      ...change.snapshot.summary,
    },
    schemaId: table.currentSchemaId,
    ...lineage.snapshot,
  }
  const done = applyUpdates(
    previous,
    [
      ...change.updates,
      { action: "add-snapshot", snapshot: made },
      { action: "set-snapshot-ref", refName: "main", snapshotId, type: "branch" },
    ],
    context,
  )
  if (Result.isFailure(done)) return Result.fail(done.failure)
  const metadata = done.success
  const { formatVersion } = metadata
  return Result.succeed({
    metadataLocation,
    metadata,
    metadataBytes: encodeMetadata(metadata),
    snapshotId,
    totals,
    manifests: manifests.map((manifest, index) => ({ ...manifest, line: lineage.lines[index]! })),
    manifestList: {
      ...list,
      bytes: encodeManifestList({ ...list, ...made, formatVersion }),
    },
  })
}

/** What "the current schema" stands for is known now. */
const addedFiles = (change: SnapshotChange, table: TableMetadata): ReadonlyArray<ContentFile> => [
  ...change.added.map((file) => (file.schemaId === -1 ? { ...file, schemaId: table.currentSchemaId } : file)),
  ...change.addedDeletes,
]

/** Why a file cannot be added to the table; undefined when it can. */
const problemOf = (file: ContentFile, table: TableMetadata): string | undefined => {
  const spec = specOf(table, file.specId)
  if (spec === undefined) return `${file.filePath} is of partition spec ${file.specId}, which the table does not have`
  if (spec.fields.length !== file.partition.length) {
    return `${file.filePath} has ${file.partition.length} partition values, its partition spec has ${spec.fields.length} fields`
  }
  if (file.content === "data") {
    return file.schemaId === undefined || table.schemas.some(({ schemaId }) => schemaId === file.schemaId)
      ? undefined
      : `${file.filePath} has the columns of schema ${file.schemaId}, which the table does not have`
  }
  if (file.content === "equality-deletes") return undefined
  if (file.format === "puffin") {
    if (table.formatVersion < 3) return `${file.filePath} is a deletion vector, which needs format version 3`
    return file.referencedDataFile === undefined ||
      file.contentOffset === undefined ||
      file.contentSizeBytes === undefined
      ? `${file.filePath} does not say which data file its deletion vector is for and where it is`
      : undefined
  }
  return table.formatVersion < 3
    ? undefined
    : `${file.filePath} has position deletes; since format version 3 those are deletion vectors`
}

/** A rewrite keeps the sequence number of what it replaces, so that newer equality deletes still apply. */
const addedEntry = (file: ContentFile, snapshotId: bigint, isRewrite: boolean): ManifestEntry => ({
  status: "added",
  snapshotId,
  sequenceNumber: isRewrite ? (file.sequenceNumber ?? null) : null,
  fileSequenceNumber: null,
  file,
})

const existingEntries = (entries: ReadonlyArray<ManifestEntry>): ReadonlyArray<ManifestEntry> =>
  entries.filter(isLive).map((entry) => ({ ...entry, status: "existing" }))

/** Entries that may share a manifest: one content, one partition spec, and for reading fast one schema of the files. */
const byManifest = (entries: ReadonlyArray<ManifestEntry>): ReadonlyArray<ReadonlyArray<ManifestEntry>> => [
  ...Map.groupBy(entries, ({ file }) => `${bySpec(file)} ${file.content === "data" ? file.schemaId : ""}`).values(),
]
const bySpec = (file: ContentFile) => `${file.content === "data" ? "data" : "deletes"} ${file.specId}`

/** Manifests of which nothing is left tell of it together; those that keep files stay apart, so that they do not grow. */
const rewrittenGroups = (manifests: ReadonlyArray<ReadonlyArray<ManifestEntry>>) => {
  const isEmptied = (entries: ReadonlyArray<ManifestEntry>) => !entries.some(isLive)
  const emptied = Map.groupBy(manifests.filter(isEmptied).flat(), ({ file }) => bySpec(file))
  return [...emptied.values(), ...manifests.filter((entries) => !isEmptied(entries)).flatMap(byManifest)]
}

/** Encodes the entries of one manifest and makes its line; they are of one content and partition spec. */
export const writeManifest = (
  entries: ReadonlyArray<ManifestEntry>,
  table: TableMetadata,
  snapshot: { readonly id: bigint; readonly sequenceNumber: bigint },
  location: string,
): WrittenManifest => {
  const { file } = entries[0]!
  const content = file.content === "data" ? "data" : "deletes"
  const spec = specOf(table, file.specId)!
  const fields = partitionFields(spec, table.schemas, table.currentSchemaId)
  const schemaId = (file.content === "data" ? file.schemaId : undefined) ?? table.currentSchemaId
  const bytes = encodeManifest({
    schema: table.schemas.find((schema) => schema.schemaId === schemaId) ?? table.schemas[0]!,
    spec,
    partitionFields: fields,
    formatVersion: table.formatVersion,
    content,
    entries,
  })
  return {
    location,
    bytes,
    entries,
    line: {
      path: location,
      lengthBytes: bytes.length,
      partitionSpecId: file.specId,
      content,
      sequenceNumber: snapshot.sequenceNumber,
      addedSnapshotId: snapshot.id,
      ...summarise(entries, fields, snapshot.sequenceNumber),
      keyMetadata: null,
    },
  }
}
