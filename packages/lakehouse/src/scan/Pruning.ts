import type { DataFile } from "../iceberg/DataFile.ts"
import { compareSingleValues, decodeSingleValue, type SingleValue } from "../iceberg/SingleValue.ts"
import { parseSingleValue } from "../iceberg/SingleValueText.ts"
import type { Field, Schema } from "../iceberg/TableMetadata.ts"
import type { ScanPredicate } from "./ScanPlanner.ts"

/**
 * Which files can be left out because no row of them satisfies all predicates, judged by the manifest's statistics
 * (Iceberg spec v2, "Scan Planning"). Invariant: a file with a matching row is never left out; whatever is not known
 * (no statistics, a value that is none of the column's type) keeps the file.
 *
 * Rows match as in DuckDB: a comparison with NULL never holds, NaN is greater than every other number and equal to
 * itself, -0 equals 0. Bounds of strings and binaries may be shortened, so they are bounds and not values: `=`, `<`, …
 * compare with them, nothing concludes that a bound occurs.
 */
export const pruneFiles = (
  schema: Schema,
  files: ReadonlyArray<DataFile>,
  predicates: ReadonlyArray<ScanPredicate>,
): ReadonlyArray<DataFile> => {
  const tests = predicates.flatMap((predicate) => {
    const field = fieldNamed(schema, predicate.column)
    return field === undefined ? [] : [(file: DataFile) => canMatch(field, file, predicate)]
  })
  return tests.length === 0 ? files : files.filter((file) => tests.every((test) => test(file)))
}

/** As DuckDB does: regardless of case. */
export const fieldNamed = (schema: Schema, name: string): Field | undefined =>
  schema.fields.find((field) => field.name.toLowerCase() === name.toLowerCase())

const canMatch = (field: Field, file: DataFile, predicate: ScanPredicate): boolean => {
  const { id, type } = field
  const values = file.valueCounts.get(id)
  const nulls = file.nullValueCounts.get(id)
  // Counts inside nested columns are of their leaves; a column that the file lacks has no counts at all.
  const hasNulls = typeof type !== "string" || nulls !== 0
  const isAllNull = typeof type === "string" && values !== undefined && nulls === values
  if (predicate.op === "is null") return hasNulls
  if (predicate.op === "is not null") return !isAllNull
  if (isAllNull) return false
  const value = typeof type === "string" ? valueOf(type, predicate.value) : undefined
  if (typeof type !== "string" || value === undefined) return true
  const bound = (bounds: ReadonlyMap<number, Uint8Array>): SingleValue | undefined => {
    const bytes = bounds.get(id)
    const decoded = bytes === undefined ? undefined : decodeSingleValue(type, bytes)
    return Number.isNaN(decoded) ? undefined : decoded
  }
  const lower = bound(file.lowerBounds)
  const upper = bound(file.upperBounds)
  const isFloating = type === "float" || type === "double"
  // Bounds speak of numbers only; a NaN among the values lies above them all.
  const mayHoldNan = isFloating && file.nanValueCounts.get(id) !== 0
  if (Number.isNaN(value))
    return predicate.op === "<" || predicate.op === "<=" ? true : predicate.op === ">" ? false : mayHoldNan
  const isBelow = (left: SingleValue | undefined, right: SingleValue) =>
    left === undefined || compareSingleValues(left, right) < 0
  const isAtMost = (left: SingleValue | undefined, right: SingleValue) =>
    left === undefined || compareSingleValues(left, right) <= 0
  const isAbove = (left: SingleValue | undefined, right: SingleValue) =>
    left === undefined || compareSingleValues(left, right) > 0
  const isAtLeast = (left: SingleValue | undefined, right: SingleValue) =>
    left === undefined || compareSingleValues(left, right) >= 0
  switch (predicate.op) {
    case "=":
      return isAtMost(lower, value) && isAtLeast(upper, value)
    case "<":
      return isBelow(lower, value)
    case "<=":
      return isAtMost(lower, value)
    case ">":
      return mayHoldNan || isAbove(upper, value)
    case ">=":
      return mayHoldNan || isAtLeast(upper, value)
  }
}

/**
 * A predicate's value as one of the column's type. Undefined when it is not exactly one (1.5 against an integer column, a
 * date against a number): then nothing is concluded.
 */
const valueOf = (type: string, value: ScanPredicate["value"]): SingleValue | undefined => {
  if (value === undefined) return undefined
  if (type === "float" || type === "double") return floatingValue(type, value)
  if (value instanceof Date) {
    const millis = value.getTime()
    if (Number.isNaN(millis)) return undefined
    if (type === "date") return millis % 86_400_000 === 0 ? BigInt(millis / 86_400_000) : undefined
    return type === "timestamp" || type === "timestamptz" ? BigInt(millis) * 1000n : undefined
  }
  if (typeof value === "boolean") return type === "boolean" ? value : undefined
  if (typeof value === "bigint" || typeof value === "number") {
    const isNumeric = type === "int" || type === "long" || type.startsWith("decimal")
    return isNumeric ? parseSingleValue(type, String(value)) : undefined
  }
  // Blobs have several texts in SQL; the one in statistics is none of them. A timestamptz without an offset depends on
  // the session's time zone.
  if (type === "binary" || type.startsWith("fixed")) return undefined
  if (type === "timestamptz" && !/(Z|[+-]\d{2}(:?\d{2}){0,2}|infinity)$/.test(value.slice(10))) return undefined
  return parseSingleValue(type, value)
}

const floatingValue = (type: string, value: string | number | bigint | boolean | Date): number | undefined => {
  const number =
    typeof value === "number"
      ? value
      : typeof value === "string"
        ? /^nan$/i.test(value)
          ? Number.NaN
          : parseSingleValue("double", value)
        : typeof value === "bigint" && BigInt(Number(value)) === value
          ? Number(value)
          : undefined
  // A comparison of FLOAT with a constant may be made in FLOAT or in DOUBLE: only values that are both are safe.
  if (typeof number !== "number") return undefined
  return type === "double" || Number.isNaN(number) || Math.fround(number) === number ? number : undefined
}
