import { duckTypeOf } from "../engine/TypeMap.ts"
import type { DataFile } from "../iceberg/DataFile.ts"
import { printSingleValue } from "../iceberg/SingleValueText.ts"
import type { Field, Schema } from "../iceberg/TableMetadata.ts"
import { parseTransform } from "../iceberg/Transform.ts"
import { type ColumnSource, columnsOfSchema } from "./FileColumns.ts"
import type { RelationExtras, ScannedFiles } from "./Relation.ts"
import { quotePath, quoteText } from "./SqlText.ts"

/** Files that are read by one call of `read_parquet`. */
export interface FileGroup {
  readonly files: ReadonlyArray<DataFile>
  readonly columns: ColumnSource
  /**
   * DuckDB's `schema = MAP{…}` by field ids, where it is needed; null reads the files' own columns. The plain way matters: with a
   * map DuckDB 1.5.5 reads each file with one thread, which on one file of 10 M rows and two threads takes 1.9 times as long.
   */
  readonly map: string | null
  /** What columns that the files lack have in all their rows, as text literals; the map knows it already where there is one. */
  readonly constants: ReadonlyMap<number, string>
}

/** Names of virtual columns that relations use: a file's own column of the name would hide it. */
const virtualNames = new Set(["file_row_number", "file_index"])

const lineageFields: ReadonlyArray<Field> = [
  { id: 2_147_483_540, name: "_row_id", required: false, type: "long" },
  { id: 2_147_483_539, name: "_last_updated_sequence_number", required: false, type: "long" },
]

const mappedName = (fieldId: number) => `f${fieldId}`

const mapOf = (fields: ReadonlyArray<Field>, constants: ReadonlyMap<number, string>): string =>
  fields
    .map(
      (field) =>
        `${field.id}: {name: ${quoteText(mappedName(field.id))}, type: ${quoteText(duckTypeOf(field.type))}, default_value: ${
          constants.get(field.id) ?? "null::varchar"
        }}`,
    )
    .join(", ")

const mapped = (
  files: ReadonlyArray<DataFile>,
  fields: ReadonlyArray<Field>,
  constants: ReadonlyMap<number, string>,
): FileGroup => ({
  files,
  map: mapOf(fields, constants),
  constants: new Map(),
  columns: (fieldId) => {
    const field = fields.find(({ id }) => id === fieldId)
    return field === undefined ? undefined : { name: mappedName(field.id), type: field.type }
  },
})

/** Every top-level field that any schema of the table has, each as the newest schema (the wanted one first) has it. */
export const allFields = (scan: Pick<ScannedFiles, "schema" | "schemas">): ReadonlyArray<Field> => {
  const fields = new Map<number, Field>()
  for (const schema of [scan.schema, ...scan.schemas.toReversed()]) {
    for (const field of schema.fields) if (!fields.has(field.id)) fields.set(field.id, field)
  }
  return [...fields.values()]
}

/** What a column of a foreign file has where the file lacks it, as a text literal; only what is not NULL. */
const constantsOf = (scan: ScannedFiles, file: DataFile): ReadonlyMap<number, string> => {
  const constants = new Map<number, string>()
  for (const { id, initialDefault, type } of scan.schema.fields) {
    if (initialDefault !== undefined && initialDefault !== null && typeof type === "string")
      constants.set(id, quoteText(type === "binary" ? hexText(String(initialDefault)) : String(initialDefault)))
  }
  const spec = scan.specs.find(({ specId }) => specId === file.specId)
  for (const [index, { sourceId, transform }] of (spec?.fields ?? []).entries()) {
    const field = scan.schema.fields.find(({ id }) => id === sourceId)
    const value = file.partition[index]
    if (value === undefined || value === null || field === undefined || typeof field.type !== "string") continue
    if (parseTransform(transform).kind !== "identity") continue
    // Statistics of the column prove that the file has it; then its value need not be said, and files stay in one group.
    if (file.valueCounts.has(sourceId) || file.columnSizes.has(sourceId)) continue
    constants.set(sourceId, quoteText(printSingleValue(field.type, value)))
  }
  return constants
}

const missingConstants = (scan: ScannedFiles, file: DataFile, inspected: Schema): ReadonlyMap<number, string> =>
  new Map([...constantsOf(scan, file)].filter(([fieldId]) => !inspected.fields.some(({ id }) => id === fieldId)))

const hexText = (hex: string): string => hex.replace(/../g, (byte) => `\\x${byte}`)

/** Files that can be read together, in the order of the first of each. */
export const fileGroups = (scan: ScannedFiles, { lineage, positions }: RelationExtras): ReadonlyArray<FileGroup> => {
  const keyed = Map.groupBy(scan.files, (file) => {
    const inspected = scan.inspected.get(file.filePath)
    if (inspected !== undefined)
      return `i${JSON.stringify([inspected.fields, [...missingConstants(scan, file, inspected)]])}`
    const known = scan.schemas.some(({ schemaId }) => schemaId === file.schemaId)
    return known ? `s${file.schemaId}` : `f${[...constantsOf(scan, file)].join("|")}`
  })
  return Array.from(keyed.values(), (files) => {
    const [first] = files as [DataFile]
    const inspected = scan.inspected.get(first.filePath)
    const written = inspected ?? scan.schemas.find(({ schemaId }) => schemaId === first.schemaId)
    if (written === undefined) {
      return mapped(files, [...allFields(scan), ...(lineage ? lineageFields : [])], constantsOf(scan, first))
    }
    const hides = written.fields.some(({ name }) => virtualNames.has(name.toLowerCase()))
    const needsVirtual = lineage || positions || files.some((file) => scan.applied.has(file))
    if (inspected === undefined && (lineage || (hides && needsVirtual))) {
      return mapped(files, [...written.fields, ...(lineage ? lineageFields : [])], new Map())
    }
    const constants = inspected === undefined ? new Map<number, string>() : missingConstants(scan, first, inspected)
    return { files, map: null, columns: columnsOfSchema(written), constants }
  })
}

/** Folders named `key=value` would add columns. */
export const readFiles = ({ files, map }: FileGroup, pathOf: (location: string) => string): string =>
  `read_parquet([${files.map(({ filePath }) => quotePath(pathOf(filePath))).join(", ")}], hive_partitioning = false${
    map === null ? "" : `, schema = MAP{${map}}`
  })`

/** A value that each file has for all its rows, as SQL; `file_index` is the file's place in its group. */
export const perFile = (files: ReadonlyArray<DataFile>, valueOf: (file: DataFile) => string, type: string): string => {
  const values = files.map(valueOf)
  if (new Set(values).size === 1) return `${values[0]}::${type}`
  return `([${values.join(", ")}]::${type}[])[file_index::bigint + 1]`
}
