import type { SortBy } from "@rat/domain"
import type { MetadataUpdate } from "../iceberg/MetadataUpdate.ts"
import type { Schema, SortOrder, TableMetadata } from "../iceberg/TableMetadata.ts"

/** One column of the order in which rows are written. */
export interface SortColumn {
  /** Column of the schema. */
  readonly name: string
  readonly direction: "asc" | "desc"
  readonly nulls: "first" | "last"
}

export interface BoundSort {
  readonly columns: ReadonlyArray<SortColumn>
  readonly orderId: number
  readonly updates: ReadonlyArray<MetadataUpdate>
}

const unsorted: BoundSort = { columns: [], orderId: 0, updates: [] }

/**
 * The wanted order as sort order of the table; null keeps the table's. An order of other writers that sorts by more than plain
 * columns cannot be kept by us: then rows are written unsorted, which readers see from each file's order id. Text: a problem.
 */
export const bindSort = (
  metadata: TableMetadata | null,
  schema: Schema,
  wanted: ReadonlyArray<SortBy> | null,
): BoundSort | string => {
  if (wanted === null) return keptSort(metadata, schema)
  const columns: Array<SortColumn> = []
  const fields: Array<SortOrder["fields"][number]> = []
  for (const { column, direction, nulls } of wanted) {
    const field = schema.fields.find(({ name }) => name.toLowerCase() === column.toLowerCase())
    if (field === undefined) {
      const names = schema.fields.map(({ name }) => name).join(", ")
      return `sort_by: the table has no column "${column}". Its columns are: ${names}.`
    }
    if (typeof field.type !== "string") return `sort_by: "${field.name}" is a ${field.type.type}, which has no order.`
    columns.push({ name: field.name, direction, nulls })
    fields.push({ transform: "identity", sourceId: field.id, direction, nullOrder: `nulls-${nulls}` })
  }
  const orders = metadata?.sortOrders ?? []
  const known = orders.find((order) => JSON.stringify(fieldsOf(order)) === JSON.stringify(fields))
  if (known !== undefined || fields.length === 0) {
    const orderId = fields.length === 0 ? 0 : known!.orderId
    const isCurrent = (metadata?.defaultSortOrderId ?? 0) === orderId
    if (isCurrent) return { columns, orderId, updates: [] }
    const adds: ReadonlyArray<MetadataUpdate> =
      known === undefined ? [{ action: "add-sort-order", sortOrder: { orderId: 0, fields: [] } }] : []
    return { columns, orderId, updates: [...adds, { action: "set-default-sort-order", sortOrderId: orderId }] }
  }
  const orderId = Math.max(0, ...orders.map((order) => order.orderId)) + 1
  return {
    columns,
    orderId,
    updates: [
      { action: "add-sort-order", sortOrder: { orderId, fields } },
      { action: "set-default-sort-order", sortOrderId: -1 },
    ],
  }
}

const fieldsOf = (order: SortOrder): SortOrder["fields"] =>
  order.fields.map(({ direction, nullOrder, sourceId, transform }) => ({ transform, sourceId, direction, nullOrder }))

const keptSort = (metadata: TableMetadata | null, schema: Schema): BoundSort => {
  const order = metadata?.sortOrders.find((each) => each.orderId === metadata.defaultSortOrderId)
  if (order === undefined) return unsorted
  const columns = order.fields.map(({ direction, nullOrder, sourceId, transform }): SortColumn | null => {
    const field = schema.fields.find(({ id }) => id === sourceId)
    return field === undefined || transform !== "identity"
      ? null
      : {
          name: field.name,
          direction: direction === "desc" ? "desc" : "asc",
          nulls: nullOrder === "nulls-last" ? "last" : "first",
        }
  })
  return columns.some((column) => column === null)
    ? unsorted
    : { columns: columns.filter((column) => column !== null), orderId: order.orderId, updates: [] }
}
