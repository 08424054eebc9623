import type { DataFile } from "../iceberg/DataFile.ts"
import { encodeSingleValue, type SingleValue, truncateLowerBound, truncateUpperBound } from "../iceberg/SingleValue.ts"
import { parseSingleValue } from "../iceberg/SingleValueText.ts"
import type { IcebergType, Schema } from "../iceberg/TableMetadata.ts"
import { quoteName } from "../scan/SqlText.ts"

/** A file that COPY wrote, and the entry of the manifest about it. */
export interface WrittenFile {
  /** Path as DuckDB wrote it. */
  readonly localPath: string
  readonly file: DataFile
}

/** DuckDB's MAP as the client gives it. */
type Entries<V> = ReadonlyArray<{ readonly key: string; readonly value: V }>

/**
 * One row of `copy … (return_stats)` as an object by column name; `getRowObjectsJS` and `getRowObjectsJson` of the client
 * both do (64-bit numbers as bigint or text).
 */
export type CopyRow = Readonly<Record<string, unknown>>

/**
 * What COPY returned (DuckDB 1.5.5) as data files of the table. `schema` is the one of the write plan, `locationOf`
 * gives the place in the store of the n-th file (0-based, counting files with rows only). Files without rows (an empty
 * result is one) are left out.
 */
export const writtenFiles = (
  rows: ReadonlyArray<CopyRow>,
  schema: Schema,
  locationOf: (index: number) => string,
): ReadonlyArray<WrittenFile> => {
  const leaves = leavesOf(schema)
  return rows
    .filter((row) => Number(row.count) > 0)
    .map((row, index) => ({ localPath: String(row.filename), file: dataFileOf(row, leaves, locationOf(index)) }))
}

interface Leaf {
  readonly id: number
  readonly type: string
  /** Below a list or map: min and max of elements bound no column, so they are not stored (nor does Iceberg's Java). */
  readonly isRepeated: boolean
}

const dataFileOf = (row: CopyRow, leaves: ReadonlyMap<string, Leaf>, filePath: string): DataFile => {
  const columnSizes = new Map<number, number>()
  const valueCounts = new Map<number, number>()
  const nullValueCounts = new Map<number, number>()
  const nanValueCounts = new Map<number, number>()
  const lowerBounds = new Map<number, Uint8Array>()
  const upperBounds = new Map<number, Uint8Array>()
  for (const { key, value } of (row.column_statistics ?? []) as Entries<Entries<string>>) {
    const leaf = leaves.get(key)
    if (leaf === undefined) continue
    const statistics = new Map(value.map((entry) => [entry.key, entry.value]))
    const keep = (map: Map<number, number>, name: string) => {
      const text = statistics.get(name)
      if (text !== undefined) map.set(leaf.id, Number(text))
    }
    keep(columnSizes, "column_size_bytes")
    keep(valueCounts, "num_values")
    keep(nullValueCounts, "null_count")
    const hasNan = statistics.get("has_nan")
    // DuckDB says whether there are NaNs, not how many. Where there are, readers disagree about their order: no bounds.
    if (hasNan === "false") nanValueCounts.set(leaf.id, 0)
    if (leaf.isRepeated || hasNan === "true") continue
    const [lower, upper] = [statistics.get("min"), statistics.get("max")].map((text) =>
      text === undefined ? undefined : parseSingleValue(leaf.type, text),
    )
    if (lower !== undefined)
      lowerBounds.set(leaf.id, encodeSingleValue(leaf.type, truncateLowerBound(leaf.type, signed(lower, -0))))
    const short = upper === undefined ? undefined : truncateUpperBound(leaf.type, signed(upper, 0))
    if (short !== undefined) upperBounds.set(leaf.id, encodeSingleValue(leaf.type, short))
  }
  return {
    content: "data",
    filePath,
    specId: 0,
    partition: [],
    recordCount: Number(row.count),
    fileSizeBytes: Number(row.file_size_bytes),
    columnSizes,
    valueCounts,
    nullValueCounts,
    nanValueCounts,
    lowerBounds,
    upperBounds,
  }
}

/** DuckDB takes -0.0 and 0.0 for equal and reports either; in Iceberg's bounds -0.0 comes first. */
const signed = (value: SingleValue, zero: number): SingleValue => (value === 0 ? zero : value)

/** Primitive fields by DuckDB's path of them: `"st"."a ""b"""`, `"l"."element"`, `"m"."key"`. */
const leavesOf = (schema: Schema): ReadonlyMap<string, Leaf> => {
  const leaves = new Map<string, Leaf>()
  const visit = (path: string, id: number, type: IcebergType, isRepeated: boolean): void => {
    if (typeof type === "string") leaves.set(path, { id, type, isRepeated })
    else if (type.type === "struct") {
      for (const field of type.fields) visit(`${path}.${quoteName(field.name)}`, field.id, field.type, isRepeated)
    } else if (type.type === "list") visit(`${path}."element"`, type.elementId, type.element, true)
    else {
      visit(`${path}."key"`, type.keyId, type.key, true)
      visit(`${path}."value"`, type.valueId, type.value, true)
    }
  }
  for (const field of schema.fields) visit(quoteName(field.name), field.id, field.type, false)
  return leaves
}
