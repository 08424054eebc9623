import { Effect, type Scope } from "effect"
import { asyncBufferFromFile, parquetMetadataAsync, parquetSchema, type SchemaTree } from "hyparquet"
import type { DataFile } from "../iceberg/DataFile.ts"
import { TableCorrupt } from "../iceberg/TableCorrupt.ts"
import type { Field, IcebergType, Schema, TableMetadata } from "../iceberg/TableMetadata.ts"
import { hasSameNames } from "./FileColumns.ts"

/*
 * Files of other engines are read by the field ids in them, which DuckDB does for top-level columns. Where that is not enough
 * (nested fields changed since, columns mapped by name) the file's own footer says what it holds.
 */

const nameMappingProperty = "schema.name-mapping.default"
/** Footers are small; this many are kept, the oldest go first. */
const keptFooters = 16_384
const readsAtOnce = 16
/** For columns whose type does not matter: what they hold is cast to the table's type. */
const anyType = "parquet"

interface NameMapping {
  readonly "field-id"?: number
  readonly names: ReadonlyArray<string>
  readonly fields?: ReadonlyArray<NameMapping>
}

/** Whether files without a promised schema cannot be read by top-level field ids alone. */
const needsFooters = (metadata: TableMetadata, schema: Schema): boolean =>
  metadata.properties[nameMappingProperty] !== undefined ||
  schema.fields.some(
    (field) =>
      typeof field.type !== "string" &&
      metadata.schemas.some((other) => {
        const before = other.fields.find((candidate) => candidate.id === field.id)
        return before !== undefined && !hasSameNames(before.type, field.type)
      }),
  )

/**
 * Columns of foreign files, by location: a schema with the names in the file and the table's field ids. Only files that cannot be
 * read without it are in the answer.
 */
export const makeForeignFiles = <E>(
  localPath: (location: string) => Effect.Effect<string, E, Scope.Scope>,
): ((
  metadata: TableMetadata,
  schema: Schema,
  files: ReadonlyArray<DataFile>,
) => Effect.Effect<ReadonlyMap<string, Schema>, E | TableCorrupt>) => {
  const footers = new Map<string, SchemaTree>()

  const footerOf = Effect.fnUntraced(function* (location: string) {
    const known = footers.get(location)
    if (known !== undefined) return known
    const path = yield* localPath(location)
    const tree = yield* Effect.tryPromise({
      try: async () => parquetSchema(await parquetMetadataAsync(await asyncBufferFromFile(path))),
      catch: (error) =>
        new TableCorrupt({ location, reason: `its footer cannot be read: ${(error as Error).message}` }),
    })
    footers.set(location, tree)
    if (footers.size > keptFooters) footers.delete(footers.keys().next().value!)
    return tree
  }, Effect.scoped)

  return Effect.fnUntraced(function* (metadata, schema, files) {
    const foreign = files.filter((file) => !metadata.schemas.some(({ schemaId }) => schemaId === file.schemaId))
    if (foreign.length === 0 || !needsFooters(metadata, schema)) return new Map<string, Schema>()
    const mapping = yield* nameMappingOf(metadata)
    const read = Effect.fnUntraced(function* ({ filePath }: DataFile) {
      const tree = yield* footerOf(filePath)
      const fields = fieldsOf(tree.children, hasIds(tree) ? undefined : mapping)
      return [filePath, { schemaId: -1, fields, identifierFieldIds: [] } satisfies Schema] as const
    })
    return new Map(yield* Effect.forEach(foreign, read, { concurrency: readsAtOnce }))
  })
}

const nameMappingOf = (metadata: TableMetadata) =>
  Effect.try({
    try: () => JSON.parse(metadata.properties[nameMappingProperty] ?? "[]") as ReadonlyArray<NameMapping>,
    catch: () =>
      new TableCorrupt({ location: metadata.location, reason: `its property ${nameMappingProperty} is no JSON` }),
  })

const hasIds = (tree: SchemaTree): boolean =>
  tree.children.some((child) => child.element.field_id !== undefined || hasIds(child))

/** Fields that nothing maps keep their place under an id that no table has. */
const fieldsOf = (
  nodes: ReadonlyArray<SchemaTree>,
  mapping: ReadonlyArray<NameMapping> | undefined,
): ReadonlyArray<Field> =>
  nodes.map((node, index) => {
    const { field_id: own, name } = node.element
    const mapped = mapping?.find(({ names }) => names.includes(name))
    return {
      id: (mapping === undefined ? own : mapped?.["field-id"]) ?? -1 - index,
      name,
      required: false,
      type: typeOf(node, mapping === undefined ? undefined : (mapped?.fields ?? [])),
    }
  })

const typeOf = (node: SchemaTree, mapping: ReadonlyArray<NameMapping> | undefined): IcebergType => {
  const { children, element } = node
  if (children.length === 0) return anyType
  const kind = element.logical_type?.type ?? element.converted_type
  const [repeated] = children as [SchemaTree]
  if (kind === "LIST") {
    // Three levels by the standard; some writers leave out the middle one.
    const item = repeated.children.length === 1 ? repeated.children[0]! : repeated
    const [field] = fieldsOf(
      [item],
      mapping?.map((each) => ({ ...each, names: [...each.names, item.element.name] })),
    )
    return { type: "list", elementId: field!.id, elementRequired: false, element: field!.type }
  }
  if (kind === "MAP" || kind === "MAP_KEY_VALUE") {
    const [key, value] = repeated.children
    if (key === undefined || value === undefined) return anyType
    const [keyField, valueField] = fieldsOf([key, value], mapping)
    return {
      type: "map",
      keyId: keyField!.id,
      key: keyField!.type,
      valueId: valueField!.id,
      valueRequired: false,
      value: valueField!.type,
    }
  }
  return { type: "struct", fields: fieldsOf(children, mapping) }
}
