import type { ContentFile } from "../iceberg/DataFile.ts"
import type { ManifestEntry } from "../iceberg/Manifest.ts"
import type { ManifestFile } from "../iceberg/ManifestList.ts"
import { partitionFields } from "../iceberg/PartitionSpec.ts"
import { decodeSingleValue, type SingleValue } from "../iceberg/SingleValue.ts"
import { printSingleValue } from "../iceberg/SingleValueText.ts"
import type { Field, IcebergType, TableMetadata } from "../iceberg/TableMetadata.ts"

export type Row = Readonly<Record<string, unknown>>

/** What a metadata table is made from. */
export interface MetadataSource {
  readonly metadata: TableMetadata
  readonly metadataLocation: string
  /** Of the snapshot that is looked at. */
  readonly manifests: ReadonlyArray<ManifestFile>
  /** Live entries; empty where the table does not need them. */
  readonly entries: ReadonlyArray<ManifestEntry>
  readonly snapshotId: bigint | null
}

const typeOfField = (metadata: TableMetadata): ReadonlyMap<number, string> => {
  const types = new Map<number, string>()
  const visit = (type: IcebergType): void => {
    if (typeof type === "string") return
    if (type.type === "struct") for (const field of type.fields) add(field)
    else if (type.type === "list") add({ id: type.elementId, type: type.element })
    else {
      add({ id: type.keyId, type: type.key })
      add({ id: type.valueId, type: type.value })
    }
  }
  const add = ({ id, type }: Pick<Field, "id" | "type">): void => {
    if (typeof type === "string") types.set(id, type)
    visit(type)
  }
  for (const schema of metadata.schemas) for (const field of schema.fields) add(field)
  types.set(2_147_483_546, "string")
  types.set(2_147_483_545, "long")
  return types
}

/** A value as text; null stays null. */
export const shown = (type: string, value: SingleValue | null | undefined): string | null =>
  value === null || value === undefined ? null : printSingleValue(type, value)

/** Partition values as texts, by the names of the spec's fields. */
export const partitionTexts = (metadata: TableMetadata) => {
  const specs = new Map(
    metadata.partitionSpecs.map((spec) => [
      spec.specId,
      partitionFields(spec, metadata.schemas, metadata.currentSchemaId),
    ]),
  )
  return (file: Pick<ContentFile, "specId" | "partition">) =>
    Object.fromEntries(
      (specs.get(file.specId) ?? []).map((field, index) => [field.name, shown(field.type, file.partition[index])]),
    )
}

/** What manifests say of a file's content. */
export const contents = { data: 0, "position-deletes": 1, "equality-deletes": 2 } as const

/** Columns of `$files`, with their DuckDB types. */
export const fileColumns = {
  content: "INTEGER",
  file_path: "VARCHAR",
  file_format: "VARCHAR",
  spec_id: "INTEGER",
  partition: "MAP(VARCHAR, VARCHAR)",
  record_count: "BIGINT",
  file_size_in_bytes: "BIGINT",
  column_sizes: "MAP(INTEGER, BIGINT)",
  value_counts: "MAP(INTEGER, BIGINT)",
  null_value_counts: "MAP(INTEGER, BIGINT)",
  nan_value_counts: "MAP(INTEGER, BIGINT)",
  lower_bounds: "MAP(INTEGER, VARCHAR)",
  upper_bounds: "MAP(INTEGER, VARCHAR)",
  equality_ids: "INTEGER[]",
  sort_order_id: "INTEGER",
  first_row_id: "BIGINT",
  referenced_data_file: "VARCHAR",
  content_offset: "BIGINT",
  content_size_in_bytes: "BIGINT",
}

/** A row for each live file. */
export const fileRows = ({ entries, metadata }: MetadataSource): ReadonlyArray<Row> => {
  const types = typeOfField(metadata)
  const partition = partitionTexts(metadata)
  const bounds = (map: ReadonlyMap<number, Uint8Array>) =>
    Object.fromEntries(
      Array.from(map, ([id, bytes]) => {
        const type = types.get(id)
        return [id, type === undefined ? null : shown(type, decodeSingleValue(type, bytes))]
      }),
    )
  return entries.map(({ file }) => ({
    content: contents[file.content],
    file_path: file.filePath,
    file_format: file.content !== "data" && file.format === "puffin" ? "PUFFIN" : "PARQUET",
    spec_id: file.specId,
    partition: partition(file),
    record_count: file.recordCount,
    file_size_in_bytes: file.fileSizeBytes,
    column_sizes: Object.fromEntries(file.columnSizes),
    value_counts: Object.fromEntries(file.valueCounts),
    null_value_counts: Object.fromEntries(file.nullValueCounts),
    nan_value_counts: Object.fromEntries(file.nanValueCounts),
    lower_bounds: bounds(file.lowerBounds),
    upper_bounds: bounds(file.upperBounds),
    equality_ids: file.content === "equality-deletes" ? file.equalityIds : null,
    sort_order_id: file.sortOrderId,
    first_row_id: file.content === "data" ? file.firstRowId : null,
    referenced_data_file: file.content === "data" ? null : file.referencedDataFile,
    content_offset: file.content === "data" ? null : file.contentOffset,
    content_size_in_bytes: file.content === "data" ? null : file.contentSizeBytes,
  }))
}
