import type { PredicateValue } from "./Predicate.ts"

/** A part of DuckDB's syntax tree; numbers are `{number: text}`. */
export type Node = { readonly [key: string]: unknown }

export const isNode = (value: unknown): value is Node =>
  typeof value === "object" && value !== null && !Array.isArray(value)
export const text = (value: unknown): string => (typeof value === "string" ? value : "")
export const nodes = (value: unknown): ReadonlyArray<Node> => (Array.isArray(value) ? value.filter(isNode) : [])

const integerTypes = new Set(["TINYINT", "SMALLINT", "INTEGER", "BIGINT", "INTEGER_LITERAL"])
const timeTypes = new Set(["DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "TIME"])
const isFloating = (type: string) => type === "FLOAT" || type === "DOUBLE"
/** More digits than a double holds are left to the engine. */
const exactDigits = 15

/**
 * A constant as a value to compare a column of this type with; undefined when the engine may see it otherwise. Numbers never
 * are texts here and the other way round, as the engine would convert the column and not the constant.
 */
export const constantOf = (node: unknown, columnType: string): PredicateValue | undefined => {
  if (!isNode(node)) return undefined
  if (node.type === "OPERATOR_CAST") return castConstant(node, columnType)
  if (node.type !== "VALUE_CONSTANT" || !isNode(node.value) || node.value.is_null === true) return undefined
  const { value } = node.value
  const type = isNode(node.value.type) ? node.value.type : {}
  const id = text(type.id)
  if (id === "VARCHAR" || id === "STRING_LITERAL") {
    return typeof value === "string" && fitsTime(value, columnType) ? value : undefined
  }
  if (id === "BOOLEAN") return typeof value === "boolean" ? value : undefined
  if (!isNode(value) || typeof value.number !== "string") return undefined
  if (integerTypes.has(id)) return /^-?\d+$/.test(value.number) ? BigInt(value.number) : undefined
  if (id === "DECIMAL" && isNode(type.type_info)) {
    const scale = isNode(type.type_info.scale) ? Number(type.type_info.scale.number) : Number.NaN
    if (!/^-?\d+$/.test(value.number) || value.number.length > exactDigits || Number.isNaN(scale)) return undefined
    return Number(`${value.number}e-${scale}`)
  }
  return isFloating(id) && isFloating(columnType) ? Number(value.number) : undefined
}

/** Texts of times that mean the same whatever the session's settings are, and lose nothing on the way to the type. */
const fitsTime = (value: string, type: string): boolean => {
  if (type === "DATE") return /^\d{4}-\d{2}-\d{2}$/.test(value)
  return type !== "TIMESTAMP" || /^\d{4}-\d{2}-\d{2}( \d{2}:\d{2}:\d{2}(\.\d{1,6})?)?$/.test(value)
}

const castConstant = (node: Node, columnType: string): PredicateValue | undefined => {
  const id = isNode(node.cast_type) ? text(node.cast_type.id) : ""
  const inner = constantOf(node.child, columnType)
  if (inner === undefined || node.try_cast === true) return undefined
  if (id === "BOOLEAN" && typeof inner === "string") {
    return inner === "t" || inner === "true" ? true : inner === "f" || inner === "false" ? false : undefined
  }
  if (timeTypes.has(id)) {
    // Between kinds of times the session's time zone may matter; a date is its midnight in any timestamp without one.
    const isSame = id === columnType || (id === "DATE" && columnType === "TIMESTAMP")
    return isSame && typeof inner === "string" && fitsTime(inner, id) ? inner : undefined
  }
  if (integerTypes.has(id)) return typeof inner === "bigint" ? inner : undefined
  return id === "VARCHAR" && typeof inner === "string" && columnType === "VARCHAR" ? inner : undefined
}
