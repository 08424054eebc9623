import { duckTypeOf } from "../engine/TypeMap.ts"
import type { DataFile } from "../iceberg/DataFile.ts"
import type { Field, IcebergType, Schema } from "../iceberg/TableMetadata.ts"
import { quoteName, quotePath, quoteText } from "./SqlText.ts"

/**
 * The SQL query that reads data files as rows of a schema (Iceberg spec v2, "Column Projection": by field id, missing
 * columns are NULL, promoted types are widened).
 *
 * Files whose schema is known (`schemaId`, all of ours) are read plainly, column by column; others with DuckDB's
 * `schema = MAP{field id: …}`. The plain way matters: with `schema` DuckDB 1.5.5 reads each file with one thread, which
 * on one file of 10 M rows and two threads takes 1.9 times as long (with a file for each thread both are equal).
 */
export const relationOf = (
  schema: Schema,
  schemas: ReadonlyArray<Schema>,
  files: ReadonlyArray<DataFile>,
  pathOf: (location: string) => string,
): string => {
  if (files.length === 0) {
    return `select ${schema.fields.map((field) => `${nullOf(field.type)} as ${quoteName(field.name)}`).join(", ")} where false`
  }
  const groups = new Map<number | undefined, Array<string>>()
  for (const file of files) {
    const known = schemas.some((candidate) => candidate.schemaId === file.schemaId) ? file.schemaId : undefined
    const paths = groups.get(known)
    const path = quotePath(pathOf(file.filePath))
    if (paths === undefined) groups.set(known, [path])
    else paths.push(path)
  }
  return Array.from(groups, ([schemaId, paths]) =>
    schemaId === undefined
      ? mappedRead(schema, paths)
      : plainRead(schema, schemas.find((candidate) => candidate.schemaId === schemaId)!, paths),
  ).join(" union all ")
}

/** Folders named `key=value` would add columns. */
const readParquet = (paths: ReadonlyArray<string>, more = ""): string =>
  `read_parquet([${paths.join(", ")}], hive_partitioning = false${more})`

const nullOf = (type: IcebergType): string => `cast(null as ${duckTypeOf(type)})`

const plainRead = (schema: Schema, written: Schema, paths: ReadonlyArray<string>): string => {
  const columns = schema.fields.map((field) => {
    const source = written.fields.find((candidate) => candidate.id === field.id)
    const value = source === undefined ? nullOf(field.type) : converted(quoteName(source.name), source.type, field.type)
    return `${value} as ${quoteName(field.name)}`
  })
  return `select ${columns.join(", ")} from ${readParquet(paths)}`
}

const mappedRead = (schema: Schema, paths: ReadonlyArray<string>): string => {
  const columns = schema.fields.map(
    (field) =>
      `${field.id}: {name: ${quoteText(field.name)}, type: ${quoteText(duckTypeOf(field.type))}, default_value: NULL}`,
  )
  const names = schema.fields.map((field) => quoteName(field.name))
  return `select ${names.join(", ")} from ${readParquet(paths, `, schema = MAP{${columns.join(", ")}}`)}`
}

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
            ? nullOf(field.type)
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
const hasSameNames = (left: IcebergType, right: IcebergType): boolean => {
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

/**
 * Why files whose schema is not known cannot be read as this schema; null when they can. DuckDB's `schema` matches
 * columns by id but fields inside them by name, and takes files without ids for files without columns.
 */
export const unreadableForeignFiles = (
  schema: Schema,
  schemas: ReadonlyArray<Schema>,
  properties: Readonly<Record<string, string>>,
): string | null => {
  if (properties["schema.name-mapping.default"] !== undefined) {
    return "the table maps columns of imported files by name (schema.name-mapping.default), which is not supported"
  }
  for (const field of schema.fields) {
    if (typeof field.type === "string") continue
    const isChanged = schemas.some((other) => {
      const before = other.fields.find((candidate) => candidate.id === field.id)
      return before !== undefined && !hasSameNames(before.type, field.type)
    })
    if (isChanged) {
      return `fields inside column "${field.name}" were renamed, added or removed by another writer, which is not supported`
    }
  }
  return null
}
