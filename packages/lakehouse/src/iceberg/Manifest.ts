import { Effect } from "effect"
import { type AvroRecordSchema, fieldReader, readAvroFile, writeAvroFile } from "./AvroFile.ts"
import type { ContentFile, DataFile, FileFacts } from "./DataFile.ts"
import { manifestEntrySchema } from "./ManifestSchema.ts"
import { encodeSpecFields } from "./MetadataJson.ts"
import { partitionDecoder, partitionEncoder } from "./PartitionRecord.ts"
import type { PartitionField } from "./PartitionSpec.ts"
import { encodeSchema } from "./SchemaJson.ts"
import { TableCorrupt } from "./TableCorrupt.ts"
import type { PartitionSpec, Schema } from "./TableMetadata.ts"

/**
 * One line of a manifest (Iceberg spec, "Manifests", `manifest_entry`). Null: inherited from the manifest list's line
 * about the manifest, see `RowLineage.inheritAll`.
 */
export interface ManifestEntry {
  readonly status: "existing" | "added" | "deleted"
  readonly snapshotId: bigint | null
  /** Data sequence number. */
  readonly sequenceNumber: bigint | null
  readonly fileSequenceNumber: bigint | null
  readonly file: ContentFile
}

const statuses = ["existing", "added", "deleted"] as const
const contents = ["data", "position-deletes", "equality-deletes"] as const

/**
 * Our own key in the header: every data file that the manifest lists holds exactly the columns of this schema. Readers that
 * do not know it ignore it; a writer that rewrites the manifest drops it, and then nothing is promised any more.
 */
const filesSchemaKey = "rat.files-schema-id"

const mapEntries = <V>(map: ReadonlyMap<number, V>, value: (item: V) => unknown) =>
  map.size === 0 ? null : Array.from(map, ([key, item]) => ({ key, value: value(item) }))

const bigintOrNull = (value: number | undefined) => (value === undefined ? null : BigInt(value))

/** The schema that all the data files share, as far as it is known. */
const sharedSchema = (entries: ReadonlyArray<ManifestEntry>): number | undefined => {
  let shared: number | undefined
  for (const { file, status } of entries) {
    if (status === "deleted") continue
    if (file.content !== "data" || file.schemaId === undefined) return undefined
    if (shared !== undefined && shared !== file.schemaId) return undefined
    shared = file.schemaId
  }
  return shared
}

/**
 * A manifest of data files or of delete files, all of one partition spec. Added entries have no sequence numbers of their own:
 * they inherit those that the commit gets.
 */
export const encodeManifest = (manifest: {
  readonly schema: Schema
  readonly spec: PartitionSpec
  readonly partitionFields: ReadonlyArray<PartitionField>
  readonly formatVersion: 2 | 3
  readonly content: "data" | "deletes"
  readonly entries: ReadonlyArray<ManifestEntry>
}): Buffer => {
  const { entries, formatVersion, spec } = manifest
  const filesSchema = sharedSchema(entries)
  const encodePartition = partitionEncoder(manifest.partitionFields)
  return writeAvroFile({
    schema: manifestEntrySchema(manifest.partitionFields, formatVersion),
    metadata: {
      schema: encodeSchema(manifest.schema),
      "schema-id": String(manifest.schema.schemaId),
      "partition-spec": encodeSpecFields(spec),
      "partition-spec-id": String(spec.specId),
      "format-version": String(formatVersion),
      content: manifest.content,
      ...(filesSchema === undefined ? {} : { [filesSchemaKey]: String(filesSchema) }),
    },
    records: entries.map(({ file, ...entry }) => ({
      status: statuses.indexOf(entry.status),
      snapshot_id: entry.snapshotId,
      sequence_number: entry.sequenceNumber,
      file_sequence_number: entry.fileSequenceNumber,
      data_file: {
        content: contents.indexOf(file.content),
        file_path: file.filePath,
        file_format: file.content !== "data" && file.format === "puffin" ? "PUFFIN" : "PARQUET",
        partition: encodePartition(file.partition),
        record_count: BigInt(file.recordCount),
        file_size_in_bytes: BigInt(file.fileSizeBytes),
        column_sizes: mapEntries(file.columnSizes, BigInt),
        value_counts: mapEntries(file.valueCounts, BigInt),
        null_value_counts: mapEntries(file.nullValueCounts, BigInt),
        nan_value_counts: mapEntries(file.nanValueCounts, BigInt),
        lower_bounds: mapEntries(file.lowerBounds, Buffer.from),
        upper_bounds: mapEntries(file.upperBounds, Buffer.from),
        key_metadata: null,
        split_offsets: file.splitOffsets?.map(BigInt) ?? null,
        equality_ids: (file.content !== "data" ? file.equalityIds : undefined) ?? null,
        sort_order_id: file.sortOrderId ?? null,
        referenced_data_file: (file.content !== "data" ? file.referencedDataFile : undefined) ?? null,
        ...(formatVersion < 3
          ? {}
          : {
              first_row_id: (file.content === "data" ? file.firstRowId : undefined) ?? null,
              content_offset: bigintOrNull(file.content !== "data" ? file.contentOffset : undefined),
              content_size_in_bytes: bigintOrNull(file.content !== "data" ? file.contentSizeBytes : undefined),
            }),
      },
    })),
  })
}

const nested = (schema: AvroRecordSchema, fieldId: number): AvroRecordSchema => {
  const type = schema.fields.find((field) => field["field-id"] === fieldId)?.type
  const record = (Array.isArray(type) ? type : [type]).find((branch) => branch?.type === "record")
  if (record === undefined) throw new Error(`its records have no field ${fieldId}`)
  return record
}

const none = new Map<number, never>()

/** A map as the reader knows it, or the records that it makes of one which it does not recognise. */
const mapOf = <V extends number | Uint8Array>(value: unknown): ReadonlyMap<number, V> => {
  if (value === null || value === undefined) return none
  if (value instanceof Map) return value as ReadonlyMap<number, V>
  const records = value as ReadonlyArray<{ readonly key: number; readonly value: V | bigint }>
  return new Map(records.map(({ key, value: item }) => [key, (typeof item === "bigint" ? Number(item) : item) as V]))
}

/** What a reader has to know to make sense of partition values. */
export interface ManifestTable {
  readonly partitionSpecs: ReadonlyArray<PartitionSpec>
}

/**
 * Reads a manifest of any writer, version and partition spec (`specId` is what the manifest list says). What is wrong with it is
 * a `TableCorrupt` that names it.
 */
export const decodeManifest = (
  location: string,
  bytes: Uint8Array,
  specId: number,
  table: ManifestTable,
): Effect.Effect<ReadonlyArray<ManifestEntry>, TableCorrupt> =>
  Effect.try({
    try: () => {
      const { metadata, records, schema } = readAvroFile(bytes)
      const fileSchema = nested(schema, 2)
      const entryField = fieldReader(schema)
      const fileField = fieldReader(fileSchema)
      const spec = table.partitionSpecs.find((candidate) => candidate.specId === specId)
      if (spec === undefined) throw new Error(`it is of partition spec ${specId}, which the table does not have`)
      const fieldIds = spec.fields.map((field) => field.fieldId)
      const decodePartition = partitionDecoder(nested(fileSchema, 102), fieldIds)
      const writtenSchema = metadata[filesSchemaKey]
      return records.map((record): ManifestEntry => {
        const status = statuses[entryField(record, 0) as number]
        if (status === undefined) throw new Error(`an entry has the status ${entryField(record, 0)}`)
        const file = entryField(record, 2) as object
        const optional = (fieldId: number) => fileField(file, fieldId) ?? undefined
        const filePath = fileField(file, 100) as string
        const content = contents[Number(fileField(file, 134) ?? 0)]
        if (content === undefined) throw new Error(`${filePath} has the content ${fileField(file, 134)}`)
        const format = String(fileField(file, 101)).toUpperCase()
        if (format !== "PARQUET" && (format !== "PUFFIN" || content !== "position-deletes")) {
          throw new Error(`${filePath} is a file of format ${format}, not Parquet`)
        }
        const [splitOffsets, equalityIds, sortOrderId, firstRowId, referenced, offset, size] = [
          132, 135, 140, 142, 143, 144, 145,
        ].map(optional)
        const facts: FileFacts = {
          filePath,
          specId,
          partition: decodePartition(fileField(file, 102) as object),
          recordCount: Number(fileField(file, 103)),
          fileSizeBytes: Number(fileField(file, 104)),
          columnSizes: mapOf<number>(fileField(file, 108)),
          valueCounts: mapOf<number>(fileField(file, 109)),
          nullValueCounts: mapOf<number>(fileField(file, 110)),
          nanValueCounts: mapOf<number>(fileField(file, 137)),
          lowerBounds: mapOf<Uint8Array>(fileField(file, 125)),
          upperBounds: mapOf<Uint8Array>(fileField(file, 128)),
          ...(splitOffsets === undefined ? {} : { splitOffsets: (splitOffsets as ReadonlyArray<bigint>).map(Number) }),
          ...(sortOrderId === undefined ? {} : { sortOrderId: Number(sortOrderId) }),
        }
        return {
          status,
          snapshotId: (entryField(record, 1) ?? null) as bigint | null,
          sequenceNumber: (entryField(record, 3) ?? null) as bigint | null,
          fileSequenceNumber: (entryField(record, 4) ?? null) as bigint | null,
          file:
            content === "data"
              ? ({
                  ...facts,
                  content,
                  ...(writtenSchema === undefined ? {} : { schemaId: Number(writtenSchema) }),
                  ...(firstRowId === undefined ? {} : { firstRowId: firstRowId as bigint }),
                } satisfies DataFile)
              : {
                  ...facts,
                  content,
                  format: format === "PUFFIN" ? "puffin" : "parquet",
                  ...(equalityIds === undefined ? {} : { equalityIds: equalityIds as ReadonlyArray<number> }),
                  ...(referenced === undefined ? {} : { referencedDataFile: referenced as string }),
                  ...(offset === undefined ? {} : { contentOffset: Number(offset) }),
                  ...(size === undefined ? {} : { contentSizeBytes: Number(size) }),
                },
        }
      })
    },
    catch: (error) => new TableCorrupt({ location, reason: (error as Error).message }),
  })
