import { printLosslessJson } from "./LosslessJson.ts"
import { fieldsById } from "./PartitionSpec.ts"
import { checkSchema, checkTypes, idsOf, type Refuse } from "./SchemaRules.ts"
import type { Field, PartitionSpec, SortOrder, TableMetadata, Schema as TableSchema } from "./TableMetadata.ts"
import { parseTransform, resultType } from "./Transform.ts"

/*
 * Schemas, partition specs and sort orders that an update adds to a table. One that the table has already is found again under its
 * id ("Schema Evolution", "Partition Evolution"); a new one gets the next id.
 */

/** Metadata under construction: what `-1` refers to. */
export interface State {
  metadata: TableMetadata
  /** The table is being made by these updates: what an empty table has from the start may be replaced. */
  readonly isNew: boolean
  lastSchema: number | null
  lastSpec: number | null
  lastOrder: number | null
}

const textOf = ({ fields, identifierFieldIds }: TableSchema) => printLosslessJson([fields, identifierFieldIds])

/** A schema that the table had before gets its id again ("Schema Evolution"); old ones stay for time travel. */
export const addSchema = (state: State, schema: TableSchema, givenLastId: number, refuse: Refuse): undefined => {
  const { metadata } = state
  const ids = idsOf(schema)
  checkSchema(schema, metadata.formatVersion, refuse)
  const text = textOf(schema)
  const existing = metadata.schemas.find((candidate) => textOf(candidate) === text)
  const lastColumnId = Math.max(metadata.lastColumnId, givenLastId, ...ids)
  if (existing !== undefined) {
    state.lastSchema = existing.schemaId
    state.metadata = { ...metadata, lastColumnId }
    return
  }
  // What a field id meant once, it means for ever; only promotions change its type.
  for (const other of metadata.schemas) checkTypes(other, schema, refuse)
  const used = new Set(metadata.schemas.flatMap(idsOf))
  const reused = ids.find((id) => id <= metadata.lastColumnId && !used.has(id))
  if (reused !== undefined) {
    refuse(
      `the field id ${reused} was a column before that the table does not know any more; new ones begin at ${metadata.lastColumnId + 1}`,
    )
  }
  const schemaId = metadata.schemas.reduce((highest, each) => Math.max(highest, each.schemaId), -1) + 1
  state.lastSchema = schemaId
  state.metadata = { ...metadata, lastColumnId, schemas: [...metadata.schemas, { ...schema, schemaId }] }
}

/** While a table is being made, its schema may be added before it becomes the current one. */
const currentSchema = (metadata: TableMetadata) =>
  metadata.schemas.find(({ schemaId }) => schemaId === metadata.currentSchemaId) ?? metadata.schemas.at(-1)

const currentFields = (metadata: TableMetadata) => {
  const schema = currentSchema(metadata)
  return schema === undefined ? new Map<number, Field>() : fieldsById(schema)
}

export const addSpec = (state: State, spec: PartitionSpec, refuse: Refuse): undefined => {
  const { metadata } = state
  const columns = currentFields(metadata)
  const known = metadata.partitionSpecs.flatMap(({ fields }) => fields)
  const topLevel = currentSchema(metadata)?.fields ?? []
  let lastPartitionId = metadata.lastPartitionId
  const fields = spec.fields.map((field) => {
    const source = columns.get(field.sourceId)
    const transform = parseTransform(field.transform)
    if (source === undefined && transform.kind !== "void") refuse(`there is no column with the id ${field.sourceId}`)
    if (source !== undefined && (typeof source.type !== "string" || resultType(transform, source.type) === null)) {
      refuse(`${field.transform} cannot be applied to column "${source.name}"`)
    }
    // Writers may leave ids out, or give ids that this table has for something else: equal fields share theirs.
    const same = known.find((each) => isSameField(each, field))
    const fieldId = same?.fieldId ?? (field.fieldId > lastPartitionId ? field.fieldId : lastPartitionId + 1)
    lastPartitionId = Math.max(lastPartitionId, fieldId)
    // A column and a partition field of one name are one thing to readers, which only identity is.
    const column = topLevel.find(({ name }) => name === field.name)
    if (
      column !== undefined &&
      transform.kind !== "void" &&
      !(transform.kind === "identity" && column.id === field.sourceId)
    ) {
      refuse(`the partition field "${field.name}" has the name of another column`)
    }
    return { ...field, fieldId }
  })
  const names = fields.map(({ name }) => name)
  const twice = names.find((name, index) => names.indexOf(name) !== index)
  if (twice !== undefined) refuse(`the partition field "${twice}" occurs twice`)
  const doubled = fields.find((field, index) => fields.findIndex((each) => isSameField(each, field)) !== index)
  if (doubled !== undefined) refuse(`${doubled.transform} of the column ${doubled.sourceId} is in it twice`)
  const existing = metadata.partitionSpecs.find(
    (candidate) =>
      candidate.fields.length === fields.length &&
      candidate.fields.every(
        (field, index) => field.name === fields[index]!.name && field.fieldId === fields[index]!.fieldId,
      ),
  )
  if (existing !== undefined) {
    state.lastSpec = existing.specId
    state.metadata = { ...metadata, lastPartitionId }
    return
  }
  // A table that is being made has the empty spec 0 until its own comes.
  const isFirst = state.isNew && metadata.partitionSpecs.every((each) => each.fields.length === 0)
  const specId = isFirst ? 0 : metadata.partitionSpecs.reduce((highest, each) => Math.max(highest, each.specId), -1) + 1
  state.lastSpec = specId
  state.metadata = {
    ...metadata,
    lastPartitionId,
    partitionSpecs: isFirst ? [{ specId, fields }] : [...metadata.partitionSpecs, { specId, fields }],
  }
}

const isSameField = (left: PartitionSpec["fields"][number], right: PartitionSpec["fields"][number]): boolean =>
  left.transform === right.transform &&
  left.sourceId === right.sourceId &&
  (left.sourceIds ?? [left.sourceId]).join() === (right.sourceIds ?? [right.sourceId]).join()

export const addSortOrder = (state: State, order: SortOrder, refuse: Refuse): undefined => {
  const { metadata } = state
  const columns = currentFields(metadata)
  for (const field of order.fields) {
    if (!columns.has(field.sourceId)) refuse(`there is no column with the id ${field.sourceId}`)
  }
  const textOfFields = (each: SortOrder) =>
    JSON.stringify(
      each.fields.map((field) => [field.transform, field.sourceId, field.sourceIds, field.direction, field.nullOrder]),
    )
  const text = textOfFields(order)
  const existing = metadata.sortOrders.find((candidate) => textOfFields(candidate) === text)
  if (existing !== undefined) {
    state.lastOrder = existing.orderId
    return
  }
  // 0 is reserved for the order of nothing.
  const orderId = order.fields.length === 0 ? 0 : Math.max(0, ...metadata.sortOrders.map((each) => each.orderId)) + 1
  state.lastOrder = orderId
  state.metadata = { ...metadata, sortOrders: [...metadata.sortOrders, { orderId, fields: order.fields }] }
}
