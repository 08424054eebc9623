import { didYouMean } from "@rat/domain"
import type { Field, Schema } from "../iceberg/TableMetadata.ts"
import { type ColumnDefault, columnDefault } from "./ColumnDefault.ts"
import type { Evolution } from "./ResultSchema.ts"
import { isSameName } from "./SchemaEvolution.ts"

/** Defaults of columns by field id; those that fit no column or no type are problems. */
export const defaultsOf = (
  fields: ReadonlyArray<Field>,
  { defaults }: Evolution,
  problems: Array<string>,
): ReadonlyMap<number, ColumnDefault> => {
  const found = new Map<number, ColumnDefault>()
  for (const [name, value] of Object.entries(defaults)) {
    const field = fields.find((candidate) => isSameName(candidate.name, name))
    if (field === undefined) {
      const names = fields.map((candidate) => candidate.name)
      problems.push(
        `column_defaults names "${name}", which neither the result nor the table has.${didYouMean(name, names)}`,
      )
    } else if (typeof field.type !== "string") {
      problems.push(
        `column_defaults: column "${field.name}" is a ${field.type.type}; only plain values can have a default`,
      )
    } else {
      const outcome = columnDefault(field.name, field.type, value)
      if ("problem" in outcome) problems.push(outcome.problem)
      else found.set(field.id, outcome.default)
    }
  }
  return found
}

/** Comments, and in v3 tables defaults: an added column's for the rows that are there, any column's for writers. */
export const describeFields = (
  fields: ReadonlyArray<Field>,
  defaults: ReadonlyMap<number, ColumnDefault>,
  current: Schema | null,
  evolution: Evolution,
  formatVersion: 2 | 3,
  changes: Array<string>,
): ReadonlyArray<Field> => {
  const docs = new Map(Object.entries(evolution.docs).map(([name, doc]) => [name.toLowerCase(), doc]))
  for (const [name] of Object.entries(evolution.docs)) {
    if (!fields.some((field) => isSameName(field.name, name))) {
      changes.push(`columns describes "${name}", which the table does not have`)
    }
  }
  return fields.map((field) => {
    const doc = docs.get(field.name.toLowerCase())
    const value = defaults.get(field.id)
    const isNew = current !== null && !current.fields.some(({ id }) => id === field.id)
    if (value !== undefined && isNew && formatVersion === 2) {
      changes.push(`rows that are there have NULL in "${field.name}", not its default: that needs format_version: 3`)
    }
    return {
      ...field,
      ...(doc === undefined ? {} : { doc }),
      ...(value === undefined || formatVersion === 2
        ? {}
        : { ...(isNew ? { initialDefault: value.json } : {}), writeDefault: value.json }),
    }
  })
}

/**
 * Identifier fields must be required primitives other than floats ("Identifier Field IDs"). Results promise nothing and a NULL
 * is a value of a merge key like any other, so our own columns are optional and have none; in a table whose maker declared the key's
 * columns required, they are set.
 */
export const identifierOf = (
  fields: ReadonlyArray<Field>,
  current: Schema | null,
  evolution: Evolution,
  problems: Array<string>,
): ReadonlyArray<number> => {
  const key = evolution.identifier.map((name) => {
    const field = fields.find((candidate) => isSameName(candidate.name, name))
    if (field === undefined) {
      const names = fields.map((candidate) => candidate.name)
      problems.push(`unique_key names "${name}", which is no column.${didYouMean(name, names)}`)
    }
    return field
  })
  const isLegal = (field: Field | undefined) =>
    field?.required === true && typeof field.type === "string" && field.type !== "float" && field.type !== "double"
  if (key.length > 0 && key.every(isLegal)) return key.flatMap((field) => (field === undefined ? [] : [field.id]))
  return (current?.identifierFieldIds ?? []).filter((id) => fields.some((field) => field.id === id && isLegal(field)))
}
