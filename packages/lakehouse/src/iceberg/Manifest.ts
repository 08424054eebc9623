import { Effect } from "effect"
import { type AvroRecordSchema, fieldReader, readAvroFile, writeAvroFile } from "./AvroFile.ts"
import type { DataFile } from "./DataFile.ts"
import { manifestEntrySchema } from "./ManifestSchema.ts"
import { encodeSchema } from "./SchemaJson.ts"
import { TableCorrupt } from "./TableCorrupt.ts"
import type { Schema } from "./TableMetadata.ts"

/**
 * One line of a manifest (Iceberg spec v2, "Manifests", `manifest_entry`). Null: inherited from the manifest list's line
 * about the manifest, see {@link inherit}.
 */
export interface ManifestEntry {
  readonly status: "existing" | "added" | "deleted"
  readonly snapshotId: bigint | null
  /** Data sequence number. */
  readonly sequenceNumber: bigint | null
  readonly fileSequenceNumber: bigint | null
  readonly file: DataFile
}

/** Fills in what the entry inherits ("Sequence Number Inheritance"). */
export const inherit = (
  entry: ManifestEntry,
  manifest: { readonly addedSnapshotId: bigint; readonly sequenceNumber: bigint },
): ManifestEntry => ({
  ...entry,
  snapshotId: entry.snapshotId ?? manifest.addedSnapshotId,
  sequenceNumber: entry.sequenceNumber ?? manifest.sequenceNumber,
  fileSequenceNumber: entry.fileSequenceNumber ?? manifest.sequenceNumber,
})

const statuses = ["existing", "added", "deleted"] as const

/**
 * Our own key in the header: every file that the manifest lists holds exactly the columns of this schema. Readers that
 * do not know it ignore it; a writer that rewrites the manifest drops it, and then nothing is promised any more.
 */
const filesSchemaKey = "rat.files-schema-id"

const mapEntries = <V>(map: ReadonlyMap<number, V>, value: (item: V) => unknown) =>
  map.size === 0 ? null : Array.from(map, ([key, item]) => ({ key, value: value(item) }))

/**
 * A data manifest of an unpartitioned spec. Added entries have no sequence numbers of their own: they inherit those that
 * the commit gets. `filesSchema: true` promises that all files have been written with `schema`.
 */
export const encodeManifest = (manifest: {
  readonly schema: Schema
  readonly specId: number
  readonly filesSchema: boolean
  readonly entries: ReadonlyArray<ManifestEntry>
}): Buffer =>
  writeAvroFile({
    schema: manifestEntrySchema,
    metadata: {
      schema: encodeSchema(manifest.schema),
      "schema-id": String(manifest.schema.schemaId),
      "partition-spec": "[]",
      "partition-spec-id": String(manifest.specId),
      "format-version": "2",
      content: "data",
      ...(manifest.filesSchema ? { [filesSchemaKey]: String(manifest.schema.schemaId) } : {}),
    },
    records: manifest.entries.map((entry) => ({
      status: statuses.indexOf(entry.status),
      snapshot_id: entry.snapshotId,
      sequence_number: entry.sequenceNumber,
      file_sequence_number: entry.fileSequenceNumber,
      data_file: {
        content: 0,
        file_path: entry.file.filePath,
        file_format: "PARQUET",
        partition: {},
        record_count: BigInt(entry.file.recordCount),
        file_size_in_bytes: BigInt(entry.file.fileSizeBytes),
        column_sizes: mapEntries(entry.file.columnSizes, BigInt),
        value_counts: mapEntries(entry.file.valueCounts, BigInt),
        null_value_counts: mapEntries(entry.file.nullValueCounts, BigInt),
        nan_value_counts: mapEntries(entry.file.nanValueCounts, BigInt),
        lower_bounds: mapEntries(entry.file.lowerBounds, Buffer.from),
        upper_bounds: mapEntries(entry.file.upperBounds, Buffer.from),
        key_metadata: null,
        split_offsets: null,
        equality_ids: null,
        sort_order_id: 0,
      },
    })),
  })

const nested = (schema: AvroRecordSchema, fieldId: number): AvroRecordSchema => {
  const type = schema.fields.find((field) => field["field-id"] === fieldId)?.type
  const record = (Array.isArray(type) ? type : [type]).find((branch) => branch?.type === "record")
  if (record === undefined) throw new Error(`its records have no field ${fieldId}`)
  return record
}

const numberMap = (value: unknown): ReadonlyMap<number, number> =>
  new Map(((value ?? []) as Array<{ key: number; value: bigint }>).map((item) => [item.key, Number(item.value)]))
const bytesMap = (value: unknown): ReadonlyMap<number, Uint8Array> =>
  new Map(((value ?? []) as Array<{ key: number; value: Uint8Array }>).map((item) => [item.key, item.value]))

/** Reads a data manifest of any writer and partition spec. What is wrong with it is a `TableCorrupt` that names it. */
export const decodeManifest = (
  location: string,
  bytes: Uint8Array,
): Effect.Effect<ReadonlyArray<ManifestEntry>, TableCorrupt> =>
  Effect.try({
    try: () => {
      const { metadata, records, schema } = readAvroFile(bytes)
      const entryField = fieldReader(schema)
      const fileField = fieldReader(nested(schema, 2))
      const writtenSchema = metadata[filesSchemaKey]
      return records.map((record): ManifestEntry => {
        const status = statuses[entryField(record, 0) as number]
        if (status === undefined) throw new Error(`an entry has the status ${entryField(record, 0)}`)
        const file = entryField(record, 2) as object
        const filePath = fileField(file, 100) as string
        const format = String(fileField(file, 101))
        if (format.toUpperCase() !== "PARQUET")
          throw new Error(`${filePath} is a file of format ${format}, not Parquet`)
        if ((fileField(file, 134) ?? 0) !== 0) throw new Error(`${filePath} is a delete file among data files`)
        return {
          status,
          snapshotId: (entryField(record, 1) ?? null) as bigint | null,
          sequenceNumber: (entryField(record, 3) ?? null) as bigint | null,
          fileSequenceNumber: (entryField(record, 4) ?? null) as bigint | null,
          file: {
            filePath,
            recordCount: Number(fileField(file, 103)),
            fileSizeBytes: Number(fileField(file, 104)),
            columnSizes: numberMap(fileField(file, 108)),
            valueCounts: numberMap(fileField(file, 109)),
            nullValueCounts: numberMap(fileField(file, 110)),
            nanValueCounts: numberMap(fileField(file, 137)),
            lowerBounds: bytesMap(fileField(file, 125)),
            upperBounds: bytesMap(fileField(file, 128)),
            ...(writtenSchema === undefined ? {} : { schemaId: Number(writtenSchema) }),
          },
        }
      })
    },
    catch: (error) => new TableCorrupt({ location, reason: (error as Error).message }),
  })
