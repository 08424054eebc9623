import {
  type ContentFile,
  decodeSingleValue,
  type Field,
  fieldsById,
  type PartitionSpec,
  partitionFields,
  printSingleValue,
  type SingleValue,
  type TableMetadata,
} from "@rat/lakehouse"

/** Files of a scan as they go over the wire (REST catalog, `ContentFile`; Iceberg spec, "Appendix D: JSON single-value serialization"). */

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex").toUpperCase()

const nanos = (value: bigint, type: string) => {
  const micros = value >= 0n ? value / 1000n : (value - 999n) / 1000n
  const rest = value - micros * 1000n
  const [day, clock = "00:00:00"] = printSingleValue("timestamp", micros).split(" ")
  const [whole, fraction = ""] = clock.split(".")
  const offset = type.startsWith("timestamptz") ? "+00:00" : ""
  return `${day}T${whole}.${fraction.padEnd(6, "0")}${String(rest).padStart(3, "0")}${offset}`
}

/** Undefined for what JSON or the format has no text for: NaN, infinities. */
export const valueJson = (type: string, value: SingleValue): unknown => {
  if (value instanceof Uint8Array) return hex(value)
  switch (type) {
    case "boolean":
      return value
    case "int":
    case "long": {
      const number = Number(value)
      return Number.isSafeInteger(number) ? number : value
    }
    case "float":
    case "double":
      return Number.isFinite(value) ? value : undefined
    case "timestamp_ns":
    case "timestamptz_ns":
      return nanos(value as bigint, type)
    case "timestamp":
    case "timestamptz": {
      const text = printSingleValue(type, value)
      if (!/^\d{4}-/.test(text)) return undefined
      return text.replace(" ", "T").replace(/\+00$/, "+00:00")
    }
    case "date": {
      const text = printSingleValue(type, value)
      return /^\d{4}-\d\d-\d\d$/.test(text) ? text : undefined
    }
    default:
      return printSingleValue(type, value)
  }
}

const countMap = (counts: ReadonlyMap<number, number>) =>
  counts.size === 0 ? undefined : { keys: [...counts.keys()], values: [...counts.values()] }

export interface FileJson {
  /** Ids of the columns whose statistics are sent; null: of all. */
  readonly statistics: ReadonlySet<number> | null
}

/** Prints files of a table; specs and types are looked up once. */
export const fileJson = (metadata: TableMetadata, { statistics }: FileJson) => {
  const types = new Map<number, Field["type"]>()
  for (const schema of metadata.schemas) for (const [id, field] of fieldsById(schema)) types.set(id, field.type)
  const specs = new Map(
    metadata.partitionSpecs.map((spec: PartitionSpec) => [
      spec.specId,
      partitionFields(spec, metadata.schemas, metadata.currentSchemaId),
    ]),
  )
  const only = <V>(values: ReadonlyMap<number, V>): ReadonlyMap<number, V> =>
    statistics === null ? values : new Map([...values].filter(([id]) => statistics.has(id)))
  const bounds = (values: ReadonlyMap<number, Uint8Array>) => {
    const found = [...only(values)].flatMap(([id, bytes]) => {
      const type = types.get(id)
      const value = typeof type === "string" ? decodeSingleValue(type, bytes) : undefined
      const json = typeof type === "string" && value !== undefined ? valueJson(type, value) : undefined
      return json === undefined ? [] : [[id, json] as const]
    })
    return found.length === 0 ? undefined : { keys: found.map(([id]) => id), values: found.map(([, value]) => value) }
  }
  return (file: ContentFile) => {
    const fields = specs.get(file.specId) ?? []
    const common = {
      content: file.content,
      "file-path": file.filePath,
      "file-format": file.content !== "data" && file.format === "puffin" ? "puffin" : "parquet",
      "spec-id": file.specId,
      partition: file.partition.map((value, index) =>
        value === null ? null : (valueJson(fields[index]?.type ?? "string", value) ?? null),
      ),
      "file-size-in-bytes": file.fileSizeBytes,
      "record-count": file.recordCount,
      "sort-order-id": file.sortOrderId,
    }
    switch (file.content) {
      case "data":
        return {
          ...common,
          "first-row-id": file.firstRowId,
          "column-sizes": countMap(only(file.columnSizes)),
          "value-counts": countMap(only(file.valueCounts)),
          "null-value-counts": countMap(only(file.nullValueCounts)),
          "nan-value-counts": countMap(only(file.nanValueCounts)),
          "lower-bounds": bounds(file.lowerBounds),
          "upper-bounds": bounds(file.upperBounds),
        }
      case "position-deletes":
        return {
          ...common,
          "referenced-data-file": file.referencedDataFile,
          "content-offset": file.contentOffset,
          "content-size-in-bytes": file.contentSizeBytes,
        }
      case "equality-deletes":
        return { ...common, "equality-ids": file.equalityIds ?? [] }
    }
  }
}
