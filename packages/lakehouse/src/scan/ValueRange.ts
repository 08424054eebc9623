import { compareSingleValues, decodeSingleValue, type SingleValue } from "../iceberg/SingleValue.ts"

/**
 * What is known of a column's (or a partition field's) values in some rows. Rows match as in DuckDB: a comparison with NULL
 * never holds, NaN is greater than every other number and equal to itself, -0 equals 0.
 */
export interface ValueRange {
  /** Bounds may be shortened, so they are bounds and not values. Undefined: unknown. */
  readonly lower: SingleValue | undefined
  readonly upper: SingleValue | undefined
  readonly hasNulls: boolean
  readonly isAllNull: boolean
  /** Bounds speak of numbers only; a NaN among the values lies above them all. */
  readonly mayHoldNan: boolean
}

/** A comparison with values of the column's type. */
export type TypedComparison =
  | { readonly op: "is null" }
  | { readonly op: "is not null" }
  | { readonly op: "=" | "<" | "<=" | ">" | ">="; readonly value: SingleValue }
  | { readonly op: "in"; readonly values: ReadonlyArray<SingleValue> }
  | { readonly op: "starts with"; readonly value: string }

/** Undefined when there is none or it cannot be used. */
export const decodeBound = (type: string, bytes: Uint8Array | undefined): SingleValue | undefined => {
  const decoded = bytes === undefined ? undefined : decodeSingleValue(type, bytes)
  return Number.isNaN(decoded) ? undefined : decoded
}

/** Invariant: true when any value in the range could satisfy the comparison; what is unknown could. */
export const rangeCanMatch = (range: ValueRange, comparison: TypedComparison): boolean => {
  switch (comparison.op) {
    case "is null":
      return range.hasNulls
    case "is not null":
      return !range.isAllNull
    case "in":
      return !range.isAllNull && comparison.values.some((value) => compares(range, "=", value))
    case "starts with":
      return !range.isAllNull && startsWith(range, comparison.value)
    default:
      return !range.isAllNull && compares(range, comparison.op, comparison.value)
  }
}

const compares = (
  { lower, mayHoldNan, upper }: ValueRange,
  op: "=" | "<" | "<=" | ">" | ">=",
  value: SingleValue,
): boolean => {
  if (Number.isNaN(value)) return op === "<" || op === "<=" ? true : op === ">" ? false : mayHoldNan
  const below = lower === undefined ? -1 : compareSingleValues(lower, value)
  const above = upper === undefined ? 1 : compareSingleValues(upper, value)
  switch (op) {
    case "=":
      return below <= 0 && above >= 0
    case "<":
      return below < 0
    case "<=":
      return below <= 0
    case ">":
      return mayHoldNan || above > 0
    case ">=":
      return mayHoldNan || above >= 0
  }
}

/** Texts with a prefix lie between the prefix and the prefix followed by anything; compared by UTF-8 bytes. */
const startsWith = ({ lower, upper }: ValueRange, prefix: string): boolean => {
  const bytes = Buffer.from(prefix)
  if (typeof upper === "string" && Buffer.compare(Buffer.from(upper), bytes) < 0) return false
  if (typeof lower !== "string") return true
  return Buffer.compare(Buffer.from(lower).subarray(0, bytes.length), bytes) <= 0
}
