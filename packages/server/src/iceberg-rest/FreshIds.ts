import type { Field, IcebergType, PartitionSpec, Schema, SortOrder } from "@rat/lakehouse"

/**
 * The ids that a new table's schema, partition spec and sort order get. Clients number columns as they like when they ask for a table
 * (REST catalog, `createTable`); the table's own ids begin at 1 and rise level by level, as all of Iceberg's writers count.
 */
export const freshIds = (
  wanted: Schema,
  spec: PartitionSpec | null,
  order: SortOrder | null,
): { readonly schema: Schema; readonly spec: PartitionSpec | null; readonly order: SortOrder | null } => {
  let last = 0
  const ids = new Map<number, number>()
  const next = (old: number): number => {
    ids.set(old, ++last)
    return last
  }
  const typeOf = (type: IcebergType): IcebergType => {
    if (typeof type === "string") return type
    if (type.type === "struct") return { ...type, fields: fieldsOf(type.fields) }
    if (type.type === "list") return { ...type, elementId: next(type.elementId), element: typeOf(type.element) }
    const [keyId, valueId] = [next(type.keyId), next(type.valueId)]
    return { ...type, keyId, valueId, key: typeOf(type.key), value: typeOf(type.value) }
  }
  const fieldsOf = (fields: ReadonlyArray<Field>): ReadonlyArray<Field> => {
    const numbered = fields.map((field) => ({ ...field, id: next(field.id) }))
    return numbered.map((field) => ({ ...field, type: typeOf(field.type) }))
  }
  const fields = fieldsOf(wanted.fields)
  const idOf = (old: number) => ids.get(old) ?? old
  return {
    schema: { schemaId: 0, fields, identifierFieldIds: wanted.identifierFieldIds.map(idOf) },
    spec:
      spec === null
        ? null
        : {
            specId: 0,
            fields: spec.fields.map((field, index) => ({
              ...field,
              fieldId: 1000 + index,
              sourceId: idOf(field.sourceId),
            })),
          },
    order:
      order === null || order.fields.length === 0
        ? null
        : { orderId: 1, fields: order.fields.map((field) => ({ ...field, sourceId: idOf(field.sourceId) })) },
  }
}
