import type { AvroFieldSchema, AvroRecordSchema } from "./AvroFile.ts"
import type { PartitionField } from "./PartitionSpec.ts"

/*
 * Avro schemas of manifests and manifest lists (Iceberg spec, "Manifests" and "Manifest Lists"; types by "Appendix A: Avro").
 * Readers find fields by `field-id`.
 */

const required = (id: number, name: string, type: unknown): AvroFieldSchema => ({ name, type, "field-id": id })
const optional = (id: number, name: string, type: unknown): AvroFieldSchema => ({
  name,
  type: ["null", type],
  default: null,
  "field-id": id,
})

/** A map with integer keys is an array of key-value records in Avro. */
const mapOf = (keyId: number, valueId: number, value: string) => ({
  type: "array",
  logicalType: "map",
  items: {
    type: "record",
    name: `k${keyId}_v${valueId}`,
    fields: [required(keyId, "key", "int"), required(valueId, "value", value)],
  },
})
const listOf = (elementId: number, element: string) => ({ type: "array", items: element, "element-id": elementId })

/** Bytes that hold the unscaled value of a decimal with so many digits. */
export const decimalBytes = (precision: number): number => {
  let bytes = 1
  while (2n ** BigInt(bytes * 8 - 1) - 1n < 10n ** BigInt(precision) - 1n) bytes++
  return bytes
}

/** The Avro type of a partition value; names of fixed types are made unique by the field's id. */
const avroType = (type: string, fieldId: number): unknown => {
  switch (type) {
    case "boolean":
    case "int":
    case "long":
    case "float":
    case "double":
    case "string":
      return type
    case "date":
      return { type: "int", logicalType: "date" }
    case "time":
      return { type: "long", logicalType: "time-micros" }
    case "timestamp":
      return { type: "long", logicalType: "timestamp-micros", "adjust-to-utc": false }
    case "timestamptz":
      return { type: "long", logicalType: "timestamp-micros", "adjust-to-utc": true }
    case "timestamp_ns":
      return { type: "long", logicalType: "timestamp-nanos", "adjust-to-utc": false }
    case "timestamptz_ns":
      return { type: "long", logicalType: "timestamp-nanos", "adjust-to-utc": true }
    case "uuid":
      return { type: "fixed", name: `uuid_${fieldId}`, size: 16, logicalType: "uuid" }
    default: {
      const decimal = /^decimal\((\d+),\s*(\d+)\)$/.exec(type)
      if (decimal !== null) {
        const [precision, scale] = [Number(decimal[1]), Number(decimal[2])]
        const size = decimalBytes(precision)
        return { type: "fixed", name: `decimal_${fieldId}`, size, logicalType: "decimal", precision, scale }
      }
      const fixed = /^fixed\[(\d+)\]$/.exec(type)
      return fixed === null ? "bytes" : { type: "fixed", name: `fixed_${fieldId}`, size: Number(fixed[1]) }
    }
  }
}

/** Avro names are letters, digits and `_`; others are escaped as Iceberg's Java does. */
const avroName = (name: string): string =>
  Array.from(name, (character, index) =>
    /[A-Za-z_]/.test(character) || (index > 0 && /[0-9]/.test(character))
      ? character
      : /[0-9]/.test(character)
        ? `_${character}`
        : `_x${character.codePointAt(0)!.toString(16).toUpperCase()}`,
  ).join("")

/** Names of the partition record's Avro fields, in the spec's order. */
export const partitionNames = (fields: ReadonlyArray<PartitionField>): ReadonlyArray<string> =>
  fields.map((field) => avroName(field.name))

const dataFileSchema = (fields: ReadonlyArray<PartitionField>, formatVersion: 2 | 3): AvroRecordSchema => ({
  type: "record",
  name: "r2",
  fields: [
    required(134, "content", "int"),
    required(100, "file_path", "string"),
    required(101, "file_format", "string"),
    required(102, "partition", {
      type: "record",
      name: "r102",
      fields: fields.map((field) => optional(field.fieldId, avroName(field.name), avroType(field.type, field.fieldId))),
    }),
    required(103, "record_count", "long"),
    required(104, "file_size_in_bytes", "long"),
    optional(108, "column_sizes", mapOf(117, 118, "long")),
    optional(109, "value_counts", mapOf(119, 120, "long")),
    optional(110, "null_value_counts", mapOf(121, 122, "long")),
    optional(137, "nan_value_counts", mapOf(138, 139, "long")),
    optional(125, "lower_bounds", mapOf(126, 127, "bytes")),
    optional(128, "upper_bounds", mapOf(129, 130, "bytes")),
    optional(131, "key_metadata", "bytes"),
    optional(132, "split_offsets", listOf(133, "long")),
    optional(135, "equality_ids", listOf(136, "int")),
    optional(140, "sort_order_id", "int"),
    ...(formatVersion < 3 ? [] : [optional(142, "first_row_id", "long")]),
    // Of v2 too since deletes may name the one file that they concern; readers that do not know it pass over it.
    optional(143, "referenced_data_file", "string"),
    ...(formatVersion < 3
      ? []
      : [optional(144, "content_offset", "long"), optional(145, "content_size_in_bytes", "long")]),
  ],
})

export const manifestEntrySchema = (fields: ReadonlyArray<PartitionField>, formatVersion: 2 | 3): AvroRecordSchema => ({
  type: "record",
  name: "manifest_entry",
  fields: [
    required(0, "status", "int"),
    optional(1, "snapshot_id", "long"),
    optional(3, "sequence_number", "long"),
    optional(4, "file_sequence_number", "long"),
    required(2, "data_file", dataFileSchema(fields, formatVersion)),
  ],
})

export const manifestFileSchema = (formatVersion: 2 | 3): AvroRecordSchema => ({
  type: "record",
  name: "manifest_file",
  fields: [
    required(500, "manifest_path", "string"),
    required(501, "manifest_length", "long"),
    required(502, "partition_spec_id", "int"),
    required(517, "content", "int"),
    required(515, "sequence_number", "long"),
    required(516, "min_sequence_number", "long"),
    required(503, "added_snapshot_id", "long"),
    required(504, "added_files_count", "int"),
    required(505, "existing_files_count", "int"),
    required(506, "deleted_files_count", "int"),
    required(512, "added_rows_count", "long"),
    required(513, "existing_rows_count", "long"),
    required(514, "deleted_rows_count", "long"),
    optional(507, "partitions", {
      type: "array",
      "element-id": 508,
      items: {
        type: "record",
        name: "r508",
        fields: [
          required(509, "contains_null", "boolean"),
          optional(518, "contains_nan", "boolean"),
          optional(510, "lower_bound", "bytes"),
          optional(511, "upper_bound", "bytes"),
        ],
      },
    }),
    optional(519, "key_metadata", "bytes"),
    ...(formatVersion < 3 ? [] : [optional(520, "first_row_id", "long")]),
  ],
})
