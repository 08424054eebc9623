import type { AvroFieldSchema, AvroRecordSchema } from "./AvroFile.ts"
import { decimalBytes, partitionNames } from "./ManifestSchema.ts"
import type { PartitionField } from "./PartitionSpec.ts"
import { decodeSingleValue, encodeSingleValue, type SingleValue } from "./SingleValue.ts"

/*
 * Partition values as Avro has them in manifests (Iceberg spec, "Appendix A: Avro"): 32-bit integers as numbers, 64-bit ones
 * as bigints, decimals, UUIDs and fixed as big-endian bytes.
 */

const decimalType = /^decimal\((\d+),/

const toAvro = (type: string, value: SingleValue | null): unknown => {
  if (value === null) return null
  if (type === "int" || type === "date") return Number(value)
  const decimal = decimalType.exec(type)
  if (decimal !== null) {
    const bytes = encodeSingleValue(type, value)
    const padded = Buffer.alloc(decimalBytes(Number(decimal[1])), (value as bigint) < 0n ? 0xff : 0)
    padded.set(bytes, padded.length - bytes.length)
    return padded
  }
  if (type === "uuid") return Buffer.from(encodeSingleValue(type, value))
  return value instanceof Uint8Array ? Buffer.from(value) : value
}

/** A function that makes the partition record of a file. */
export const partitionEncoder = (fields: ReadonlyArray<PartitionField>) => {
  const names = partitionNames(fields)
  return (partition: ReadonlyArray<SingleValue | null>): Record<string, unknown> =>
    Object.fromEntries(fields.map((field, index) => [names[index]!, toAvro(field.type, partition[index] ?? null)]))
}

type ReadValue = (value: unknown) => SingleValue

/** By the writer's Avro type; the table's own type may be a wider one today, the value is the same. */
const valueReader = (field: AvroFieldSchema): ReadValue => {
  const branch = Array.isArray(field.type) ? field.type.find((type) => type !== "null") : field.type
  const { logicalType, type } = typeof branch === "string" ? { logicalType: undefined, type: branch } : branch
  switch (type) {
    case "int":
      return (value) => BigInt(value as number)
    case "bytes":
    case "fixed":
      if (logicalType === "decimal") return (value) => decodeSingleValue("decimal(38,0)", value as Uint8Array)!
      if (logicalType === "uuid") return (value) => decodeSingleValue("uuid", value as Uint8Array)!
      return (value) => new Uint8Array(value as Uint8Array)
    default:
      return (value) => value as SingleValue
  }
}

/**
 * A function that reads partition records of a writer's schema in the order of the spec's field ids: writers are free in names,
 * and leave out fields whose column is gone.
 */
export const partitionDecoder = (schema: AvroRecordSchema, fieldIds: ReadonlyArray<number>) => {
  const byId = new Map(schema.fields.map((field) => [field["field-id"], field]))
  const readers = fieldIds.map((id) => {
    const field = byId.get(id)
    return field === undefined ? null : { name: field.name, read: valueReader(field) }
  })
  return (record: object): ReadonlyArray<SingleValue | null> =>
    readers.map((reader) => {
      const value = reader === null ? null : (record as Record<string, unknown>)[reader.name]
      return value === null || value === undefined ? null : reader!.read(value)
    })
}
