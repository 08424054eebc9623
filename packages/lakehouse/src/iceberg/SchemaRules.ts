import { promotes } from "../engine/TypeMap.ts"
import { fieldsById } from "./PartitionSpec.ts"
import type { Field, IcebergType, Schema } from "./TableMetadata.ts"

/** Says why a change cannot be; does not return. */
export type Refuse = (reason: string) => never

const newTypes = /^(timestamp_ns|timestamptz_ns|unknown|variant|geometry|geography)/

export const checkSchema = (schema: Schema, formatVersion: 2 | 3, refuse: Refuse): undefined => {
  const seen = new Set<number>()
  for (const id of idsOf(schema)) {
    if (seen.has(id)) refuse(`the field id ${id} occurs twice`)
    if (id < 1 || id > lastFieldId) refuse(`the field id ${id} is not between 1 and ${lastFieldId}`)
    seen.add(id)
  }
  const fields = fieldsById(schema)
  const visit = (siblings: ReadonlyArray<Field>) => {
    const names = new Set<string>()
    for (const { name } of siblings) {
      if (names.has(name)) refuse(`the column "${name}" occurs twice`)
      names.add(name)
    }
  }
  visit(schema.fields)
  for (const field of fields.values()) {
    if (typeof field.type !== "string" && field.type.type === "struct") visit(field.type.fields)
    if (formatVersion >= 3) continue
    if (typeof field.type === "string" && newTypes.test(field.type)) {
      refuse(`the type ${field.type} of column "${field.name}" needs format version 3, the table has ${formatVersion}`)
    }
    if (field.initialDefault !== undefined && field.initialDefault !== null) {
      refuse(`the default of column "${field.name}" needs format version 3, the table has ${formatVersion}`)
    }
  }
  for (const id of schema.identifierFieldIds) {
    const field = fields.get(id)
    if (field === undefined) return refuse(`the identifier field ${id} is not in it`)
    if (!field.required || typeof field.type !== "string" || /^(float|double)$/.test(field.type)) {
      refuse(`the identifier field "${field.name}" must be a required primitive that is neither float nor double`)
    }
  }
}

/** Ids from here on are reserved ("Reserved Field IDs"). */
const lastFieldId = 2_147_483_447

/** Every field that both schemas have can be read in the new one from files of the old one. */
export const checkTypes = (before: Schema, after: Schema, refuse: Refuse): undefined => {
  const fields = fieldsById(after)
  for (const [id, old] of fieldsById(before)) {
    const field = fields.get(id)
    if (field !== undefined && !canBecome(old.type, field.type)) {
      refuse(`field ${id} ("${old.name}") was ${shown(old.type)} and cannot become ${shown(field.type)}`)
    }
  }
}

const shown = (type: IcebergType) => (typeof type === "string" ? type : `a ${type.type}`)

/** Fields of structs are told apart by their own ids; elements, keys and values belong to their list or map. */
const canBecome = (from: IcebergType, to: IcebergType): boolean => {
  if (typeof from === "string" || typeof to === "string") {
    return typeof from === "string" && (typeof to === "string" ? promotes(from, to) : from === "unknown")
  }
  if (from.type === "struct") return to.type === "struct"
  if (from.type === "list")
    return to.type === "list" && from.elementId === to.elementId && canBecome(from.element, to.element)
  return (
    to.type === "map" &&
    from.keyId === to.keyId &&
    from.valueId === to.valueId &&
    canBecome(from.key, to.key) &&
    canBecome(from.value, to.value)
  )
}

/** Ids of all fields, elements, keys and values. */
export const idsOf = (schema: Schema): ReadonlyArray<number> => {
  const visit = (type: IcebergType): ReadonlyArray<number> => {
    if (typeof type === "string") return []
    if (type.type === "struct") return type.fields.flatMap((field: Field) => [field.id, ...visit(field.type)])
    return type.type === "list"
      ? [type.elementId, ...visit(type.element)]
      : [type.keyId, ...visit(type.key), type.valueId, ...visit(type.value)]
  }
  return visit({ type: "struct", fields: schema.fields })
}
