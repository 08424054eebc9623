import { Result } from "effect"
import type { MetadataUpdate } from "./MetadataUpdate.ts"
import type { SingleValue } from "./SingleValue.ts"
import { printSingleValue } from "./SingleValueText.ts"
import type { Field, IcebergType, PartitionSpec, Schema, TableMetadata } from "./TableMetadata.ts"
import { parseTransform, printTransform, resultType, type Transform } from "./Transform.ts"

/** A field of a partition spec, bound to the column that it is made from. */
export interface PartitionField {
  readonly fieldId: number
  readonly name: string
  readonly transform: Transform
  readonly sourceId: number
  /** Type of the source column; null when no schema of the table has it any more. */
  readonly sourceType: string | null
  /** Type of the partition's values. */
  readonly type: string
}

/** Every field of a schema, nested ones in structs included, by its id. */
export const fieldsById = (schema: Schema): ReadonlyMap<number, Field> => {
  const fields = new Map<number, Field>()
  const visit = (type: IcebergType): void => {
    if (typeof type === "string") return
    if (type.type === "struct") {
      for (const field of type.fields) {
        fields.set(field.id, field)
        visit(field.type)
      }
    } else if (type.type === "list") visit(type.element)
    else {
      visit(type.key)
      visit(type.value)
    }
  }
  visit({ type: "struct", fields: schema.fields })
  return fields
}

/** The spec's fields with their types; a column that the current schema has no more is looked up in older ones. */
export const partitionFields = (
  spec: PartitionSpec,
  schemas: ReadonlyArray<Schema>,
  currentSchemaId: number,
): ReadonlyArray<PartitionField> => {
  if (spec.fields.length === 0) return []
  const newestFirst = schemas.toSorted(
    (left, right) =>
      Number(right.schemaId === currentSchemaId) - Number(left.schemaId === currentSchemaId) ||
      right.schemaId - left.schemaId,
  )
  return spec.fields.map((field) => {
    const source = newestFirst
      .map((schema) => fieldsById(schema).get(field.sourceId))
      .find((each) => each !== undefined)
    const sourceType = typeof source?.type === "string" ? source.type : null
    const transform = parseTransform(field.transform)
    return {
      fieldId: field.fieldId,
      name: field.name,
      transform,
      sourceId: field.sourceId,
      sourceType,
      type: (sourceType === null ? null : resultType(transform, sourceType)) ?? "string",
    }
  })
}

export const specOf = (metadata: TableMetadata, specId: number): PartitionSpec | undefined =>
  metadata.partitionSpecs.find((spec) => spec.specId === specId)

/** What tells partitions apart, of one spec and over all of them. */
export const partitionKey = (specId: number, partition: ReadonlyArray<SingleValue | null>): string =>
  partition.length === 0
    ? `${specId}`
    : `${specId}:${JSON.stringify(
        partition.map((value) =>
          value === null
            ? null
            : value instanceof Uint8Array
              ? Buffer.from(value).toString("base64")
              : typeof value === "bigint"
                ? `${value}n`
                : value,
        ),
      )}`

/** `day=2024-01-01/region=eu`, as other writers name folders; for people, nothing reads it. */
export const partitionPath = (
  fields: ReadonlyArray<PartitionField>,
  partition: ReadonlyArray<SingleValue | null>,
): string =>
  fields
    .map((field, index) => `${encode(field.name)}=${encode(partitionText(field, partition[index] ?? null))}`)
    .join("/")

const encode = (text: string) => encodeURIComponent(text).replaceAll("%20", "+").replaceAll(".", "%2E")

const partitionText = ({ transform, type }: PartitionField, value: SingleValue | null): string => {
  if (value === null) return "null"
  const number = typeof value === "bigint" ? Number(value) : 0
  const two = (part: number) => String(part).padStart(2, "0")
  switch (transform.kind) {
    case "year":
      return String(1970 + number)
    case "month":
      return `${1970 + Math.floor(number / 12)}-${two((((number % 12) + 12) % 12) + 1)}`
    case "hour":
      return `${printSingleValue("date", BigInt(Math.floor(number / 24)))}-${two(((number % 24) + 24) % 24)}`
    default:
      return value instanceof Uint8Array ? Buffer.from(value).toString("base64url") : printSingleValue(type, value)
  }
}

/** One wanted partition field, as pipelines and people write it. */
export interface WantedPartition {
  readonly column: string
  /** `identity`, `bucket[16]`, … */
  readonly transform: string
}

/** Name of the partition field of a column, as all of Iceberg's writers choose it. */
const fieldName = (column: string, transform: Transform): string => {
  switch (transform.kind) {
    case "identity":
      return column
    case "bucket":
      return `${column}_bucket_${transform.width}`
    case "truncate":
      return `${column}_trunc_${transform.width}`
    case "void":
      return `${column}_null`
    default:
      return `${column}_${transform.kind}`
  }
}

/**
 * The updates that make the wanted fields a table's default spec: none when they are already, `set-default-spec` when an older
 * spec has them, otherwise a new one in which a field that any spec had keeps its id ("Partition Evolution"). A problem says,
 * in words for the person who wrote them, why they cannot be used.
 */
export const bindSpec = (
  metadata: TableMetadata | null,
  schema: Schema,
  wanted: ReadonlyArray<WantedPartition>,
): Result.Result<{ readonly spec: PartitionSpec; readonly updates: ReadonlyArray<MetadataUpdate> }, string> => {
  let lastId = metadata?.lastPartitionId ?? 999
  const known = (metadata?.partitionSpecs ?? []).flatMap((spec) => spec.fields)
  const fields: Array<PartitionSpec["fields"][number]> = []
  for (const { column, transform: text } of wanted) {
    const source = schema.fields.find((field) => field.name.toLowerCase() === column.toLowerCase())
    if (source === undefined) {
      return Result.fail(
        `partition_by: the table has no column "${column}". Its columns are: ${schema.fields.map(({ name }) => name).join(", ")}.`,
      )
    }
    const transform = parseTransform(text)
    if (transform.kind === "unknown") {
      return Result.fail(
        `partition_by: "${text}" is no transform. Use identity, year, month, day, hour, bucket[N], truncate[W] or void.`,
      )
    }
    if (typeof source.type !== "string" || resultType(transform, source.type) === null) {
      return Result.fail(
        `partition_by: ${printTransform(transform)} cannot be applied to "${source.name}", which is ${typeof source.type === "string" ? source.type : `a ${source.type.type}`}.`,
      )
    }
    const name = fieldName(source.name, transform)
    if (fields.some((field) => field.sourceId === source.id && field.transform === printTransform(transform))) {
      return Result.fail(`partition_by: ${printTransform(transform)} of "${source.name}" is given twice.`)
    }
    if (transform.kind !== "identity" && schema.fields.some((field) => field.name === name)) {
      return Result.fail(
        `partition_by: the partition field "${name}" would have the name of a column. Rename the column or use another transform.`,
      )
    }
    const same = known.find((field) => field.sourceId === source.id && field.transform === printTransform(transform))
    fields.push({
      sourceId: source.id,
      fieldId: same?.fieldId ?? ++lastId,
      name,
      transform: printTransform(transform),
    })
  }
  const isSame = (spec: PartitionSpec) =>
    spec.fields.length === fields.length &&
    spec.fields.every(
      (field, index) => field.sourceId === fields[index]!.sourceId && field.transform === fields[index]!.transform,
    )
  const specs = metadata?.partitionSpecs ?? []
  const current = specs.find((spec) => spec.specId === metadata?.defaultSpecId)
  if (current !== undefined && isSame(current)) return Result.succeed({ spec: current, updates: [] })
  const existing = specs.find(isSame)
  if (existing !== undefined) {
    return Result.succeed({ spec: existing, updates: [{ action: "set-default-spec", specId: existing.specId }] })
  }
  const spec = { specId: specs.reduce((highest, { specId }) => Math.max(highest, specId), -1) + 1, fields }
  return Result.succeed({
    spec,
    updates: [
      { action: "add-spec", spec },
      { action: "set-default-spec", specId: -1 },
    ],
  })
}
