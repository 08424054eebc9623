import { Effect } from "effect"
import { fieldReader, readAvroFile, writeAvroFile } from "./AvroFile.ts"
import { manifestFileSchema } from "./ManifestSchema.ts"
import { TableCorrupt } from "./TableCorrupt.ts"

/** One line of a manifest list (Iceberg spec v2, "Manifest Lists", `manifest_file`). */
export interface ManifestFile {
  readonly path: string
  readonly lengthBytes: number
  readonly partitionSpecId: number
  readonly content: "data" | "deletes"
  readonly sequenceNumber: bigint
  readonly minSequenceNumber: bigint
  readonly addedSnapshotId: bigint
  readonly addedFiles: number
  readonly existingFiles: number
  readonly deletedFiles: number
  readonly addedRows: number
  readonly existingRows: number
  readonly deletedRows: number
  /** Summaries of partition values and encryption key: carried over as they are. */
  readonly partitions: unknown
  readonly keyMetadata: unknown
}

export const hasLiveFiles = (manifest: ManifestFile): boolean => manifest.addedFiles + manifest.existingFiles > 0

export const encodeManifestList = (list: {
  readonly snapshotId: bigint
  readonly parentSnapshotId: bigint | null
  readonly sequenceNumber: bigint
  readonly manifests: ReadonlyArray<ManifestFile>
}): Buffer =>
  writeAvroFile({
    schema: manifestFileSchema,
    metadata: {
      "snapshot-id": String(list.snapshotId),
      "parent-snapshot-id": list.parentSnapshotId === null ? "null" : String(list.parentSnapshotId),
      "sequence-number": String(list.sequenceNumber),
      "format-version": "2",
    },
    records: list.manifests.map((manifest) => ({
      manifest_path: manifest.path,
      manifest_length: BigInt(manifest.lengthBytes),
      partition_spec_id: manifest.partitionSpecId,
      content: manifest.content === "data" ? 0 : 1,
      sequence_number: manifest.sequenceNumber,
      min_sequence_number: manifest.minSequenceNumber,
      added_snapshot_id: manifest.addedSnapshotId,
      added_files_count: manifest.addedFiles,
      existing_files_count: manifest.existingFiles,
      deleted_files_count: manifest.deletedFiles,
      added_rows_count: BigInt(manifest.addedRows),
      existing_rows_count: BigInt(manifest.existingRows),
      deleted_rows_count: BigInt(manifest.deletedRows),
      partitions: manifest.partitions,
      key_metadata: manifest.keyMetadata,
    })),
  })

export const decodeManifestList = (
  location: string,
  bytes: Uint8Array,
): Effect.Effect<ReadonlyArray<ManifestFile>, TableCorrupt> =>
  Effect.try({
    try: () => {
      const { records, schema } = readAvroFile(bytes)
      const field = fieldReader(schema)
      return records.map((record): ManifestFile => {
        const bigint = (fieldId: number) => (field(record, fieldId) ?? 0n) as bigint
        // Counts are optional in lists of v1 writers; unknown must not pass for "no live files".
        const count = (fieldId: number, unknown: number) => Number(field(record, fieldId) ?? unknown)
        const path = field(record, 500)
        if (typeof path !== "string") throw new Error("a line has no manifest path")
        return {
          path,
          lengthBytes: Number(bigint(501)),
          partitionSpecId: Number(field(record, 502) ?? 0),
          content: (field(record, 517) ?? 0) === 0 ? "data" : "deletes",
          sequenceNumber: bigint(515),
          minSequenceNumber: bigint(516),
          addedSnapshotId: bigint(503),
          addedFiles: count(504, 1),
          existingFiles: count(505, 0),
          deletedFiles: count(506, 0),
          addedRows: count(512, 0),
          existingRows: count(513, 0),
          deletedRows: count(514, 0),
          partitions: field(record, 507) ?? null,
          keyMetadata: field(record, 519) ?? null,
        }
      })
    },
    catch: (error) => new TableCorrupt({ location, reason: (error as Error).message }),
  })
