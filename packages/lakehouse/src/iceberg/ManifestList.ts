import { Effect } from "effect"
import { type AvroRecordSchema, fieldReader, readAvroFile, writeAvroFile } from "./AvroFile.ts"
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
  /** What the partition values of the listed files are, by field of the spec; null when the writer does not say. */
  readonly partitions: ReadonlyArray<FieldSummary> | null
  /** Encryption key: carried over as it is. */
  readonly keyMetadata: unknown
  /** v3: `_row_id` of the first row of the added data files that have none of their own. */
  readonly firstRowId?: bigint
}

/** Partition values of one field in all files of a manifest (`field_summary`). */
export interface FieldSummary {
  readonly containsNull: boolean
  readonly containsNan?: boolean
  readonly lowerBound?: Uint8Array
  readonly upperBound?: Uint8Array
}

export const hasLiveFiles = (manifest: ManifestFile): boolean => manifest.addedFiles + manifest.existingFiles > 0

export const encodeManifestList = (list: {
  readonly snapshotId: bigint
  readonly parentSnapshotId: bigint | null
  readonly sequenceNumber: bigint
  readonly formatVersion: 2 | 3
  readonly manifests: ReadonlyArray<ManifestFile>
}): Buffer =>
  writeAvroFile({
    schema: manifestFileSchema(list.formatVersion),
    metadata: {
      "snapshot-id": String(list.snapshotId),
      "parent-snapshot-id": list.parentSnapshotId === null ? "null" : String(list.parentSnapshotId),
      "sequence-number": String(list.sequenceNumber),
      "format-version": String(list.formatVersion),
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
      partitions:
        manifest.partitions?.map((field) => ({
          contains_null: field.containsNull,
          contains_nan: field.containsNan ?? null,
          lower_bound: field.lowerBound === undefined ? null : Buffer.from(field.lowerBound),
          upper_bound: field.upperBound === undefined ? null : Buffer.from(field.upperBound),
        })) ?? null,
      key_metadata: manifest.keyMetadata,
      ...(list.formatVersion < 3 ? {} : { first_row_id: manifest.firstRowId ?? null }),
    })),
  })

/** Reads field summaries by their ids, whatever their names. */
const summaryReader = (schema: AvroRecordSchema) => {
  const type = schema.fields.find((each) => each["field-id"] === 507)?.type
  const array = (Array.isArray(type) ? type : [type]).find((branch) => branch?.type === "array")
  if (array === undefined) return () => null
  const read = fieldReader(array.items)
  return (value: unknown): ReadonlyArray<FieldSummary> | null =>
    Array.isArray(value)
      ? value.map((record: object) => {
          const [nan, lower, upper] = [518, 510, 511].map((id) => read(record, id) ?? undefined)
          return {
            containsNull: read(record, 509) === true,
            ...(nan === undefined ? {} : { containsNan: nan as boolean }),
            ...(lower === undefined ? {} : { lowerBound: lower as Uint8Array }),
            ...(upper === undefined ? {} : { upperBound: upper as Uint8Array }),
          }
        })
      : null
}

export const decodeManifestList = (
  location: string,
  bytes: Uint8Array,
): Effect.Effect<ReadonlyArray<ManifestFile>, TableCorrupt> =>
  Effect.try({
    try: () => {
      const { records, schema } = readAvroFile(bytes)
      const field = fieldReader(schema)
      const summaries = summaryReader(schema)
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
          partitions: summaries(field(record, 507)),
          keyMetadata: field(record, 519) ?? null,
          ...(typeof field(record, 520) === "bigint" ? { firstRowId: field(record, 520) as bigint } : {}),
        }
      })
    },
    catch: (error) => new TableCorrupt({ location, reason: (error as Error).message }),
  })
