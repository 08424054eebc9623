import { didYouMean, type PartitionBy, type SortBy } from "@rat/domain"
import { parseTransform, printTransform } from "@rat/lakehouse"
import { columnName, mappingOf, show } from "./SettingValue.ts"

type Parsed<A> = { readonly value: A } | { readonly problem: string }

const transforms = ["identity", "year", "month", "day", "hour", "bucket[16]", "truncate[4]", "void"]

const call = /^([A-Za-z]+)\s*(?:\[\s*(\d+)\s*\])?\s*\((.*)\)$/s

const transformOf = (text: string): string | null => {
  const transform = parseTransform(text.toLowerCase().replaceAll(" ", ""))
  return transform.kind === "unknown" ? null : printTransform(transform)
}

const unknownTransform = (key: string, text: string): { readonly problem: string } => ({
  problem: `${key}: "${text}" is no transform.${didYouMean(text, transforms)} Use identity, year, month, day, hour, bucket[N], truncate[N] or void.`,
})

/** `{column, transform}`, `column`, `day(column)` or `bucket[16](column)`; also `bucket(16, column)`. */
export const partitionBy = (key: string, item: unknown): Parsed<PartitionBy> => {
  if (typeof item === "object" && item !== null) {
    const mapping = mappingOf(item)
    const strange = Object.keys(mapping ?? {}).find((name) => name !== "column" && name !== "transform")
    if (strange !== undefined) {
      return { problem: `${key}: unknown key "${strange}". Each field has column and transform.` }
    }
    const column = columnName(mapping?.column)
    if (column === null) return { problem: `${key}: each field needs a column, not ${show(item)}.` }
    const given = mapping?.transform ?? "identity"
    const transform = typeof given === "string" ? transformOf(given) : null
    return transform === null ? unknownTransform(key, String(given)) : { value: { column, transform } }
  }
  if (typeof item !== "string") {
    return { problem: `${key} must list columns such as \`day(created_at)\`, not ${show(item)}.` }
  }
  const [, name, width, inside = ""] = call.exec(item.trim()) ?? []
  if (name === undefined) {
    const column = columnName(item)
    return column === null || /[()[\]]/.test(column.startsWith('"') ? "" : item)
      ? { problem: `${key}: ${show(item)} is neither a column nor a transform such as day(created_at).` }
      : { value: { column, transform: "identity" } }
  }
  // As Spark and other engines write it: the width comes first inside the brackets.
  const [, spelled, rest] = width === undefined ? (/^\s*(\d+)\s*,(.*)$/s.exec(inside) ?? []) : []
  const size = width ?? spelled
  const text = size === undefined ? name : `${name}[${size}]`
  const transform = transformOf(text)
  if (transform === null) return unknownTransform(key, text)
  const column = columnName(rest ?? inside)
  return column === null ? { problem: `${key}: ${show(item)} names no column.` } : { value: { column, transform } }
}

const order = /^(.*?)(?:\s+(asc|desc))?(?:\s+nulls\s+(first|last))?$/is

/** `{column, direction, nulls}` or `column [asc|desc] [nulls first|last]`; NULLs are last unless it says otherwise. */
export const sortBy = (key: string, item: unknown): Parsed<SortBy> => {
  const mapping = typeof item === "object" && item !== null ? mappingOf(item) : null
  if (mapping === null && typeof item !== "string") {
    return { problem: `${key} must list columns such as \`created_at desc\`, not ${show(item)}.` }
  }
  const strange = Object.keys(mapping ?? {}).find((name) => !["column", "direction", "nulls"].includes(name))
  if (strange !== undefined) {
    return { problem: `${key}: unknown key "${strange}". Each column has column, direction and nulls.` }
  }
  const [, name, written = "asc", place = "last"] = mapping === null ? (order.exec(String(item).trim()) ?? []) : []
  const column = columnName(mapping === null ? name : mapping.column)
  const direction = String(mapping?.direction ?? written).toLowerCase()
  const nulls = String(mapping?.nulls ?? place).toLowerCase()
  if (column === null) return { problem: `${key}: ${show(item)} names no column.` }
  if (direction !== "asc" && direction !== "desc") {
    return { problem: `${key}: direction must be asc or desc, not "${direction}".` }
  }
  if (nulls !== "first" && nulls !== "last") return { problem: `${key}: nulls must be first or last, not "${nulls}".` }
  return { value: { column, direction, nulls } }
}
