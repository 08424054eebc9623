import type { SingleValue } from "../iceberg/SingleValue.ts"
import { parseSingleValue } from "../iceberg/SingleValueText.ts"
import type { Comparison, PredicateValue } from "./Predicate.ts"
import type { TypedComparison } from "./ValueRange.ts"

/** The comparison in values of the column's type; undefined when nothing can be concluded from it. */
export const typedComparison = (type: string, comparison: Comparison): TypedComparison | undefined => {
  const { op } = comparison
  if (op === "is null" || op === "is not null") return { op }
  if (op === "starts with") return type === "string" ? { op, value: comparison.value } : undefined
  if (op === "in") {
    const values = comparison.values.map((value) => valueOf(type, value))
    return values.includes(undefined) ? undefined : { op, values: values.filter((value) => value !== undefined) }
  }
  const value = comparison.value === undefined ? undefined : valueOf(type, comparison.value)
  return value === undefined ? undefined : { op, value }
}

/**
 * A predicate's value as one of the column's type. Undefined when it is not exactly one (1.5 against an integer column, a
 * date against a number): then nothing is concluded.
 */
export const valueOf = (type: string, value: PredicateValue): SingleValue | undefined => {
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

const floatingValue = (type: string, value: PredicateValue): number | undefined => {
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
