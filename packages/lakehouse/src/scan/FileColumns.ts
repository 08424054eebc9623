import { duckTypeOf } from "../engine/TypeMap.ts"
import type { Field, IcebergType, Schema } from "../iceberg/TableMetadata.ts"
import { quoteName, quoteText } from "./SqlText.ts"

/** How SQL names a top-level column of a file, by its field id; undefined when the file lacks it. */
export type ColumnSource = (fieldId: number) => { readonly name: string; readonly type: IcebergType } | undefined

/** A typed NULL. */
export const nullOf = (type: IcebergType): string => `cast(null as ${duckTypeOf(type)})`

/**
 * What rows of files that lack the field have there: its v3 initial default (a JSON single value, "Appendix D"), otherwise
 * NULL. A struct's own default is `{}` or NULL; that of its fields stands at them.
 */
export const initialValue = (field: Field): string => {
  const { initialDefault, type } = field
  if (initialDefault === undefined || initialDefault === null) return nullOf(type)
  if (typeof type !== "string") {
    if (type.type !== "struct") return nullOf(type)
    return `struct_pack(${type.fields.map((inner) => `${quoteName(inner.name)} := ${initialValue(inner)}`).join(", ")})`
  }
  const text = String(initialDefault)
  if (type === "binary" || type.startsWith("fixed")) return `from_hex(${quoteText(text)})`
  return `cast(${quoteText(text)} as ${duckTypeOf(type)})`
}

/** A field of the table from a file's columns, by field ids (Iceberg spec, "Column Projection"); `constants`: where it lacks them. */
export const columnOf = (
  field: Field,
  sourceOf: ColumnSource,
  constants: ReadonlyMap<number, string> = new Map(),
): string => {
  const source = sourceOf(field.id)
  if (source === undefined) {
    const constant = constants.get(field.id)
    return constant === undefined ? initialValue(field) : `cast(${constant} as ${duckTypeOf(field.type)})`
  }
  return converted(quoteName(source.name), source.type, field.type)
}

/** Files that hold exactly the columns of a schema under its names. */
export const columnsOfSchema =
  (written: Schema): ColumnSource =>
  (fieldId) =>
    written.fields.find(({ id }) => id === fieldId)

/** SQL for a value of a file's type as the table's type, nested fields by their ids. */
const converted = (value: string, from: IcebergType, to: IcebergType, depth = 0): string => {
  if (hasSameNames(from, to)) {
    return duckTypeOf(from) === duckTypeOf(to) ? value : `cast(${value} as ${duckTypeOf(to)})`
  }
  const item = `x${depth}`
  if (typeof from !== "string" && typeof to !== "string") {
    if (from.type === "struct" && to.type === "struct") {
      const fields = to.fields.map((field) => {
        const source = from.fields.find((candidate) => candidate.id === field.id)
        return `${quoteName(field.name)} := ${
          source === undefined
            ? initialValue(field)
            : converted(`struct_extract(${value}, ${quoteText(source.name)})`, source.type, field.type, depth)
        }`
      })
      return `case when ${value} is not null then struct_pack(${fields.join(", ")}) end`
    }
    if (from.type === "list" && to.type === "list") {
      return `list_transform(${value}, lambda ${item}: ${converted(item, from.element, to.element, depth + 1)})`
    }
    if (from.type === "map" && to.type === "map") {
      const key = converted(`${item}.key`, from.key, to.key, depth + 1)
      const entry = converted(`${item}.value`, from.value, to.value, depth + 1)
      return `map_from_entries(list_transform(map_entries(${value}), lambda ${item}: {key: ${key}, value: ${entry}}))`
    }
  }
  return `cast(${value} as ${duckTypeOf(to)})`
}

/** Whether both types have the same nested fields under the same names in the same order: then a cast is enough. */
export const hasSameNames = (left: IcebergType, right: IcebergType): boolean => {
  if (typeof left === "string" || typeof right === "string") return typeof left === typeof right
  if (left.type === "struct" && right.type === "struct") {
    const same = (field: Field, index: number) => {
      const other = right.fields[index]
      return other?.id === field.id && other.name === field.name && hasSameNames(field.type, other.type)
    }
    return left.fields.length === right.fields.length && left.fields.every(same)
  }
  if (left.type === "list" && right.type === "list") return hasSameNames(left.element, right.element)
  return (
    left.type === "map" &&
    right.type === "map" &&
    hasSameNames(left.key, right.key) &&
    hasSameNames(left.value, right.value)
  )
}
