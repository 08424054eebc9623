import type { DataFile } from "../iceberg/DataFile.ts"
import { compareSingleValues, decodeSingleValue, type SingleValue } from "../iceberg/SingleValue.ts"
import { printSingleValue } from "../iceberg/SingleValueText.ts"
import type { Schema } from "../iceberg/TableMetadata.ts"
import { fieldNamed } from "./Pruning.ts"

/** From this many characters or bytes on, a bound may have been shortened (and then raised). */
const exactBoundLength = 16

/**
 * Largest value of a column in the files, as DuckDB prints it; null when there is none but NULLs; undefined when the
 * statistics do not tell (no bound in one of the files, a bound that may be shortened, a possible NaN, a nested type).
 */
export const maximumOf = (
  schema: Schema,
  files: ReadonlyArray<DataFile>,
  column: string,
): string | null | undefined => {
  const field = fieldNamed(schema, column)
  if (field === undefined || typeof field.type !== "string") return undefined
  const { id, type } = field
  let largest: { readonly value: SingleValue; readonly isExact: boolean } | null = null
  for (const file of files) {
    const values = file.valueCounts.get(id)
    if (values !== undefined && file.nullValueCounts.get(id) === values) continue
    if ((type === "float" || type === "double") && file.nanValueCounts.get(id) !== 0) return undefined
    const bytes = file.upperBounds.get(id)
    const upper = bytes === undefined ? undefined : decodeSingleValue(type, bytes)
    if (upper === undefined) return undefined
    const isExact =
      typeof upper === "string" && type === "string"
        ? upper.length < exactBoundLength
        : !(upper instanceof Uint8Array) || upper.length < exactBoundLength
    const order: number = largest === null ? 1 : compareSingleValues(upper, largest.value)
    if (order > 0 || (order === 0 && isExact)) largest = { value: upper, isExact }
  }
  if (largest === null) return null
  return largest.isExact ? printSingleValue(type, largest.value) : undefined
}
