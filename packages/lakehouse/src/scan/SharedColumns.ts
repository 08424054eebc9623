import { promotes } from "../engine/TypeMap.ts"
import type { Field, IcebergType, Schema, TableMetadata } from "../iceberg/TableMetadata.ts"

/** One state of a table, as far as its columns are concerned. */
export interface ColumnState {
  readonly metadataLocation: string
  readonly metadata: TableMetadata
  readonly schema: Schema
}

/** What two states of a table can be compared by. */
export interface SharedColumns {
  /** The columns that both have, as each side's files are to be read: the same names (those of the second state) and types. */
  readonly before: Schema
  readonly after: Schema
  /** Columns, and fields inside structs by their path (`address.street`), that only one state has. A name in both lists got another type. */
  readonly added: ReadonlyArray<string>
  readonly removed: ReadonlyArray<string>
}

/**
 * Ids mean the same in both states as far back as they have a common past: two branches that each added a column gave both the same
 * id. Beyond that, columns are the same when they have the same name.
 */
const commonIds = (a: ColumnState, b: ColumnState): ((id: number) => boolean) => {
  if (a.metadata.tableUuid !== b.metadata.tableUuid) return () => false
  const follows = (newer: ColumnState, older: ColumnState) =>
    newer.metadataLocation === older.metadataLocation ||
    newer.metadata.metadataLog.some(({ metadataFile }) => metadataFile === older.metadataLocation)
  if (follows(a, b) || follows(b, a)) return () => true
  const known = new Set(a.metadata.schemas.map(textOf))
  const ids = new Set(b.metadata.schemas.filter((schema) => known.has(textOf(schema))).flatMap(idsIn))
  return (id) => ids.has(id)
}

const textOf = ({ fields, schemaId }: Schema) =>
  JSON.stringify([schemaId, fields], (_, value) => (typeof value === "bigint" ? String(value) : value))

const idsIn = ({ fields }: { readonly fields: ReadonlyArray<Field> }): ReadonlyArray<number> =>
  fields.flatMap(({ id, type }) => [id, ...idsOfType(type)])

const idsOfType = (type: IcebergType): ReadonlyArray<number> => {
  if (typeof type === "string") return []
  if (type.type === "struct") return idsIn(type)
  return type.type === "list" ? idsOfType(type.element) : [...idsOfType(type.key), ...idsOfType(type.value)]
}

/** A type as the files of each state are to be read; both are the same to the engine. */
interface SharedType {
  readonly before: IcebergType
  readonly after: IcebergType
}

/** The columns of two states of a table side by side. */
export const sharedColumns = (a: ColumnState, b: ColumnState): SharedColumns => {
  const isCommon = commonIds(a, b)
  const added: Array<string> = []
  const removed: Array<string> = []

  /** What both types have, in the wider one; null when that is nothing. */
  const sharedType = (from: IcebergType, to: IcebergType, path: string): SharedType | null => {
    if (typeof from === "string" || typeof to === "string") {
      if (typeof from !== "string" || typeof to !== "string") return null
      const type = promotes(from, to) ? to : promotes(to, from) ? from : null
      return type === null ? null : { before: type, after: type }
    }
    if (from.type === "struct" && to.type === "struct") {
      const fields = sharedFields(from.fields, to.fields, path)
      if (fields.before.length === 0) return null
      return { before: { ...from, fields: fields.before }, after: { ...to, fields: fields.after } }
    }
    if (from.type === "list" && to.type === "list") {
      const element = sharedType(from.element, to.element, `${path}.element`)
      if (element === null) return null
      return { before: { ...from, element: element.before }, after: { ...to, element: element.after } }
    }
    if (from.type !== "map" || to.type !== "map") return null
    const key = sharedType(from.key, to.key, `${path}.key`)
    const value = sharedType(from.value, to.value, `${path}.value`)
    if (key === null || value === null) return null
    return {
      before: { ...from, key: key.before, value: value.before },
      after: { ...to, key: key.after, value: value.after },
    }
  }

  const sharedFields = (old: ReadonlyArray<Field>, now: ReadonlyArray<Field>, path: string) => {
    const nameOf = ({ name }: Field) => (path === "" ? name : `${path}.${name}`)
    const before: Array<Field> = []
    const after: Array<Field> = []
    const met = new Set<Field>()
    for (const field of now) {
      const byId = isCommon(field.id)
      const other = old.find((each) =>
        byId ? each.id === field.id : !isCommon(each.id) && each.name.toLowerCase() === field.name.toLowerCase(),
      )
      const [addedBefore, removedBefore] = [added.length, removed.length]
      // Files of both states lack a column that each added by itself, and have its default there.
      const isSame = byId || JSON.stringify(other?.initialDefault) === JSON.stringify(field.initialDefault)
      const type = other === undefined || !isSame ? null : sharedType(other.type, field.type, nameOf(field))
      if (other === undefined || type === null) {
        added.length = addedBefore
        removed.length = removedBefore
        added.push(nameOf(field))
        continue
      }
      met.add(other)
      before.push({ ...other, name: field.name, type: type.before })
      after.push({ ...field, type: type.after })
    }
    removed.push(...old.filter((field) => !met.has(field)).map(nameOf))
    return { before, after }
  }

  const { after, before } = sharedFields(a.schema.fields, b.schema.fields, "")
  return { before: { ...a.schema, fields: before }, after: { ...b.schema, fields: after }, added, removed }
}
