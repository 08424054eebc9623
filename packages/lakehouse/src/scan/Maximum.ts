import type { DataFile } from "../iceberg/DataFile.ts"
import { compareSingleValues, decodeSingleValue, type SingleValue } from "../iceberg/SingleValue.ts"
import { printSingleValue } from "../iceberg/SingleValueText.ts"
import type { Schema } from "../iceberg/TableMetadata.ts"
import { fieldNamed } from "./Pruning.ts"

/** From this many characters or bytes on, a bound may have been shortened (and then raised). */
const exactBoundLength = 16

/** The largest value as DuckDB prints it, null when there are none but NULLs; or what has to be asked for it. */
export type MaximumAnswer<Ask> =
  | { readonly kind: "value"; readonly value: string | null }
  | { readonly kind: "ask"; readonly plan: Ask }

interface Upper {
  readonly file: DataFile
  readonly value: SingleValue
  /** Whether a live row is certain to have the value. */
  readonly isExact: boolean
}

/**
 * Largest value of a column in the files; `touched` are those that lost rows to deletes, so that their bounds are only bounds.
 * Where the statistics do not tell, the answer names the files that may hold the maximum (undefined: any may).
 */
export const maximumOf = (
  schema: Schema,
  files: ReadonlyArray<DataFile>,
  touched: ReadonlySet<DataFile>,
  column: string,
):
  | { readonly kind: "value"; readonly value: string | null }
  | { readonly kind: "files"; readonly files: ReadonlySet<DataFile> | undefined } => {
  const unknown = { kind: "files", files: undefined } as const
  const field = fieldNamed(schema, column)
  if (field === undefined || typeof field.type !== "string") return unknown
  const { id, type } = field
  const uppers: Array<Upper> = []
  for (const file of files) {
    const values = file.valueCounts.get(id)
    if (values !== undefined && file.nullValueCounts.get(id) === values) continue
    if ((type === "float" || type === "double") && file.nanValueCounts.get(id) !== 0) return unknown
    const bytes = file.upperBounds.get(id)
    const value = bytes === undefined ? undefined : decodeSingleValue(type, bytes)
    if (value === undefined) return unknown
    // Other writers shorten to whatever length their settings say.
    const isShortenable = type === "string" || value instanceof Uint8Array
    const isWhole =
      !isShortenable || (file.schemaId !== undefined && (value as string | Uint8Array).length < exactBoundLength)
    uppers.push({ file, value, isExact: isWhole && !touched.has(file) })
  }
  if (uppers.length === 0) return { kind: "value", value: null }
  // The largest value that certainly exists; files whose bound is above it may hold a larger one.
  let largest: Upper | undefined
  for (const upper of uppers) {
    if (upper.isExact && (largest === undefined || compareSingleValues(upper.value, largest.value) > 0)) largest = upper
  }
  const rivals = uppers.filter(({ value }) => largest === undefined || compareSingleValues(value, largest.value) > 0)
  if (largest !== undefined && rivals.length === 0) {
    return { kind: "value", value: printSingleValue(type, largest.value) }
  }
  return {
    kind: "files",
    files: new Set([...rivals, ...(largest === undefined ? [] : [largest])].map(({ file }) => file)),
  }
}
