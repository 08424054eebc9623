import type { IcebergType, Schema } from "../iceberg/TableMetadata.ts"
import { quoteName, quoteText } from "../scan/SqlText.ts"

/**
 * A file is closed when it exceeds this. Large enough for few files, small enough that a slot's disk, a multipart upload
 * and pruning by bounds gain from it.
 */
export const defaultFileSizeBytes = 256 * 1024 * 1024

/** v3's row lineage as columns of files whose rows come from other files (Iceberg spec, "Reserved Field IDs"). */
export const lineageColumns = [
  { name: "_row_id", id: 2_147_483_540 },
  { name: "_last_updated_sequence_number", id: 2_147_483_539 },
] as const

export interface Copy {
  /** One statement without a semicolon; its columns are the schema's in the schema's order and types, then those asked for here. */
  readonly query: string
  readonly schema: Schema
  /** A folder, which DuckDB makes (its parent must be there; one that holds anything is refused), or a `.parquet` file. */
  readonly target: string
  /** The query ends with `lineageColumns`. */
  readonly hasLineage?: boolean
  /** The last column of the query: each of its values gets files of its own, which do not have it. */
  readonly divideBy?: string
  /** For a folder, unless it is divided (DuckDB cannot do both): a file is closed when it exceeds this. */
  readonly fileSizeBytes?: number
}

/**
 * `copy (…) to … (format parquet, field_ids …, return_stats)`; the rows it returns are what `write/CopyStats` reads. Snappy: on 10 M
 * rows of six columns zstd costs 1.3 (level 1) to 1.6 times the whole COPY. Row groups are DuckDB's 122,880 rows: larger ones
 * cost 2.5 times on two cores.
 */
export const copySql = ({ divideBy, fileSizeBytes, hasLineage = false, query, schema, target }: Copy): string => {
  const ids = [
    ...schema.fields.map((field) => `${quoteName(field.name)}: ${fieldIds(field.id, field.type)}`),
    ...(hasLineage ? lineageColumns.map(({ id, name }) => `${name}: ${id}`) : []),
  ]
  const options = [
    "format parquet",
    "compression snappy",
    `field_ids {${ids.join(", ")}}`,
    "return_stats true",
    ...(divideBy === undefined ? [] : [`partition_by (${quoteName(divideBy)})`]),
    ...(divideBy !== undefined || target.endsWith(".parquet")
      ? []
      : [`file_size_bytes ${fileSizeBytes ?? defaultFileSizeBytes}`]),
  ]
  // Line breaks around the query: it may end in a comment.
  return `copy (\n${query}\n) to ${quoteText(target)} (${options.join(", ")})`
}

/** DuckDB's FIELD_IDS: a number, or `{__duckdb_field_id: n, child: …}` for nested types. */
const fieldIds = (id: number, type: IcebergType): string => {
  if (typeof type === "string") return String(id)
  const children =
    type.type === "struct"
      ? type.fields.map((field) => `${quoteName(field.name)}: ${fieldIds(field.id, field.type)}`)
      : type.type === "list"
        ? [`element: ${fieldIds(type.elementId, type.element)}`]
        : [`key: ${fieldIds(type.keyId, type.key)}`, `value: ${fieldIds(type.valueId, type.value)}`]
  return `{__duckdb_field_id: ${id}, ${children.join(", ")}}`
}
