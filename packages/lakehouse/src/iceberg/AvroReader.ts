import { type AvroCursor, truncated } from "./AvroCursor.ts"
import { byteStrings, numbers, StatisticsMap, type StatisticsValues } from "./StatisticsMap.ts"

/**
 * Decodes Avro binary data (Avro specification, "Binary encoding") by the writer's schema: records as objects, longs as
 * bigint, bytes as Uint8Array, enums as text, maps as Map. Every read is checked against the end of the data, so that a
 * damaged file ends in an Error and not in endless loops or huge arrays (avsc, which writes our files, looks only
 * at the very end whether it read too far).
 */
export type AvroRead = (cursor: AvroCursor) => unknown

const primitives: { readonly [name: string]: AvroRead } = {
  null: () => null,
  boolean: (cursor) => cursor.byte() !== 0,
  int: (cursor) => cursor.integer(),
  long: (cursor) => cursor.long(),
  float: (cursor) => cursor.float(),
  double: (cursor) => cursor.double(),
  bytes: (cursor) => cursor.take(cursor.integer()),
  string: (cursor) => cursor.text(),
}

/** Arrays and maps come in blocks; a negative count has the block's size in bytes behind it. */
const readBlocks = (cursor: AvroCursor, item: () => void): void => {
  for (;;) {
    let count = cursor.integer()
    if (count === 0) return
    if (count < 0) {
      count = -count
      cursor.integer()
    }
    // Items of Iceberg's arrays take a byte at least each; more than there are bytes cannot be true.
    if (count > cursor.bytes.length - cursor.offset) throw truncated()
    for (let index = 0; index < count; index++) item()
  }
}

/** Maps with integer keys, which Avro has as arrays of records: what their values are, if they are one of those of manifests. */
const statisticsValue = (items: unknown): "long" | "bytes" | null => {
  const { fields } = (items ?? {}) as {
    readonly fields?: ReadonlyArray<{ readonly name: string; readonly type: unknown }>
  }
  const [key, value] = fields ?? []
  if (fields?.length !== 2 || key?.name !== "key" || plainType(key.type) !== "int" || value?.name !== "value")
    return null
  const type = plainType(value.type)
  return type === "long" || type === "bytes" ? type : null
}

/** Some writers say `{"type": "int"}` for `"int"`. */
const plainType = (type: unknown): unknown =>
  typeof type === "object" && type !== null && "type" in type ? plainType(type.type) : type

/** Passes over the entries, checked as if they were read. */
const statisticsReader =
  <V extends number | Uint8Array>(values: StatisticsValues<V>): AvroRead =>
  (cursor) => {
    const start = cursor.offset
    readBlocks(cursor, () => {
      cursor.skipLong()
      values.skip(cursor)
    })
    return new StatisticsMap(cursor.bytes, start, values)
  }

/** Throws an Error when the schema (parsed JSON) is none. */
export const avroReader = (schema: unknown): AvroRead => compile(schema, new Map())

const compile = (schema: unknown, named: Map<string, AvroRead>): AvroRead => {
  if (typeof schema === "string") {
    const read = primitives[schema] ?? named.get(schema)
    if (read === undefined) throw new Error(`its schema uses the unknown type ${schema}`)
    return read
  }
  if (Array.isArray(schema)) {
    const branches = schema.map((branch) => compile(branch, named))
    return (cursor) => {
      const branch = branches[cursor.integer()]
      if (branch === undefined) throw new Error("a union in it has no such branch")
      return branch(cursor)
    }
  }
  const { fields, items, name, namespace, size, symbols, type, values } = (schema ?? {}) as Record<string, unknown>
  const register = (read: AvroRead): AvroRead => {
    named.set(String(name), read)
    if (namespace !== undefined) named.set(`${namespace}.${name}`, read)
    return read
  }
  switch (type) {
    case "record": {
      const readers: Array<readonly [string, AvroRead]> = []
      const read = register((cursor) => {
        const record: Record<string, unknown> = {}
        for (const [field, readField] of readers) record[field] = readField(cursor)
        return record
      })
      for (const field of fields as ReadonlyArray<{ readonly name: string; readonly type: unknown }>) {
        readers.push([field.name, compile(field.type, named)])
      }
      return read
    }
    case "array": {
      const value = statisticsValue(items)
      if (value !== null) return value === "long" ? statisticsReader(numbers) : statisticsReader(byteStrings)
      const readItem = compile(items, named)
      return (cursor) => {
        const array: Array<unknown> = []
        readBlocks(cursor, () => array.push(readItem(cursor)))
        return array
      }
    }
    case "map": {
      const readValue = compile(values, named)
      return (cursor) => {
        const map = new Map<string, unknown>()
        readBlocks(cursor, () => map.set(cursor.text(), readValue(cursor)))
        return map
      }
    }
    case "fixed":
      return register((cursor) => cursor.take(Number(size)))
    case "enum":
      return register((cursor) => (symbols as ReadonlyArray<string>)[cursor.integer()])
    default:
      return compile(type, named) // a primitive with attributes ({"type": "int", "logicalType": "date"})
  }
}
