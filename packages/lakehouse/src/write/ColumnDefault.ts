import { duckTypeOf } from "../engine/TypeMap.ts"
import { parseSingleValue, printSingleValue } from "../iceberg/SingleValueText.ts"
import { quoteText } from "../scan/SqlText.ts"

/** A default as a writer puts it into new rows, and as the metadata of a v3 table names it. */
export interface ColumnDefault {
  readonly sql: string
  /** JSON single value (Iceberg spec, "Appendix D: Single-value serialization"). */
  readonly json: unknown
}

/** The default of a column from the settings' JSON value; a sentence says why it does not fit the column's type. */
export const columnDefault = (
  column: string,
  type: string,
  value: unknown,
): { readonly default: ColumnDefault } | { readonly problem: string } => {
  const shown = typeof value === "string" ? `"${value}"` : JSON.stringify(value)
  const refused = { problem: `column_defaults: ${shown} is no ${duckTypeOf(type)}, the type of column "${column}"` }
  if (typeof value === "object" || value === undefined) return refused
  const isBinary = type === "binary" || type.startsWith("fixed")
  const parsed = /^(variant|geo|unknown)/.test(type) ? undefined : parseSingleValue(type, String(value))
  if (parsed === undefined || (type === "string" && typeof value !== "string")) return refused
  if (type === "int" && (Number(value) > 2 ** 31 - 1 || Number(value) < -(2 ** 31))) return refused
  const sql = isBinary
    ? `unhex(${quoteText(String(value))})`
    : `cast(${quoteText(printSingleValue(type, parsed))} as ${duckTypeOf(type)})`
  return { default: { sql, json: jsonOf(type, printSingleValue(type, parsed), value) } }
}

const jsonOf = (type: string, printed: string, value: unknown): unknown => {
  switch (type) {
    case "boolean":
      return printed === "true"
    case "int":
    case "float":
    case "double":
      return Number(value)
    case "long":
      return Number.isSafeInteger(Number(printed)) ? Number(printed) : BigInt(printed)
    case "timestamp":
    case "timestamp_ns":
      return printed.replace(" ", "T")
    case "timestamptz":
    case "timestamptz_ns":
      return `${printed.replace(" ", "T").replace(/\+00$/, "")}+00:00`
    default:
      return type === "binary" || type.startsWith("fixed") ? String(value).toLowerCase() : printed
  }
}
