import { duckTypeOf, promotes, widens } from "../engine/TypeMap.ts"
import type { Field, IcebergType } from "../iceberg/TableMetadata.ts"
import { type Renames, renamesOf } from "./ColumnRenames.ts"

/** What evolution of one table's columns knows, and what it finds out. */
export interface EvolutionContext {
  /** The result takes the place of all rows: columns that it lacks go. Otherwise they stay, with NULL in new rows. */
  readonly replaces: boolean
  readonly onChange: "evolve" | "fail" | "ignore"
  readonly allowDestructive: boolean
  readonly formatVersion: 2 | 3
  readonly renames: Renames
  readonly isRenameDone: (circle: string) => boolean
  /** Columns that stay although the result lacks them: something says what their value is. Lower case. */
  readonly hasDefault: (path: string) => boolean
  /** Columns of the table that partitioning or sorting reads: field id to the name of the setting. */
  readonly pinned: ReadonlyMap<number, string>
  readonly nextId: () => number
  /** Names of columns that nobody has to announce: strategies add them. */
  readonly isAnnounced: (path: string) => boolean
  readonly problems: Array<string>
  /** Sentences about what changes. */
  readonly changes: Array<string>
}

/** A column of the result: its type has no field ids yet (all 0). */
export interface ResultField {
  readonly name: string
  readonly type: IcebergType
}

export const isSameName = (left: string, right: string): boolean => left.toLowerCase() === right.toLowerCase()

/** A type with ids of its own: those of one level before those inside it. A bare `null` becomes an int, as in DuckDB's tables. */
export const withIds = (type: IcebergType, nextId: () => number): IcebergType => {
  if (typeof type === "string") return type === "unknown" ? "int" : type
  switch (type.type) {
    case "list": {
      const elementId = nextId()
      return { ...type, elementId, element: withIds(type.element, nextId) }
    }
    case "map": {
      const [keyId, valueId] = [nextId(), nextId()]
      return { ...type, keyId, key: withIds(type.key, nextId), valueId, value: withIds(type.value, nextId) }
    }
    case "struct": {
      const ids = type.fields.map(nextId)
      return {
        ...type,
        fields: type.fields.map((field, index) => ({ ...field, id: ids[index]!, type: withIds(field.type, nextId) })),
      }
    }
  }
}

export const newField = ({ name, type }: ResultField, nextId: () => number): Field => {
  const id = nextId()
  return { id, name, required: false, type: withIds(type, nextId) }
}

const shown = (path: string, name: string) => `"${path === "" ? "" : `${path}.`}${name}"`
const inside = (path: string, name: string) => (path === "" ? name : `${path}.${name}`)

/**
 * The columns of one level (the table's, or a struct's) after a result: by field id, so that renamed, moved and widened columns keep
 * their values in old files. Problems are collected, all of them.
 */
export const evolveFields = (
  table: ReadonlyArray<Field>,
  result: ReadonlyArray<ResultField>,
  path: string,
  context: EvolutionContext,
): ReadonlyArray<Field> => {
  const { changes, problems } = context
  const renames = renamesOf(
    context.renames,
    path,
    table.map(({ name }) => name),
    result.map(({ name }) => name),
    context.isRenameDone,
  )
  const nameNow = (field: Field) => renames.get(field.name.toLowerCase()) ?? field.name.toLowerCase()
  const known = new Map(table.map((field) => [nameNow(field), field]))
  const isLacking = (field: Field) => !result.some(({ name }) => name.toLowerCase() === nameNow(field))
  const fresh = result.filter(({ name }) => !known.has(name.toLowerCase()))

  const kept = new Map<number, Field>()
  for (const field of table) {
    const column = result.find(({ name }) => name.toLowerCase() === nameNow(field))
    if (column !== undefined) {
      const evolved = evolveField(field, column, path, context)
      if (renames.has(field.name.toLowerCase())) {
        changes.push(`column ${shown(path, field.name)} is now called "${column.name}"`)
      }
      kept.set(field.id, evolved)
      continue
    }
    const evolved = lackingField(field, path, fresh, context)
    if (evolved !== null) kept.set(field.id, evolved)
  }

  const added = fresh.flatMap((column) => {
    const name = shown(path, column.name)
    if (!context.isAnnounced(inside(path, column.name))) {
      if (context.onChange === "fail") {
        problems.push(`column ${name} is new: on_schema_change: evolve adds it, ignore leaves it out`)
        return []
      }
      if (context.onChange === "ignore") {
        changes.push(`column ${name} of the result is left out, as on_schema_change: ignore says`)
        return []
      }
    }
    changes.push(`column ${name} is new`)
    return [{ name: column.name, field: newField(column, context.nextId) }]
  })

  if (!context.replaces) {
    return [...table.flatMap((field) => kept.get(field.id) ?? []), ...added.map(({ field }) => field)]
  }
  const inOrder = result.flatMap(({ name }) => {
    const before = known.get(name.toLowerCase())
    return (before === undefined ? added.find((entry) => entry.name === name)?.field : kept.get(before.id)) ?? []
  })
  return [...inOrder, ...table.flatMap((field) => (isLacking(field) ? (kept.get(field.id) ?? []) : []))]
}

/** A column of the table that the result does not have: null when it goes. */
const lackingField = (
  field: Field,
  path: string,
  fresh: ReadonlyArray<ResultField>,
  context: EvolutionContext,
): Field | null => {
  const name = shown(path, field.name)
  if (context.isAnnounced(inside(path, field.name)) || context.hasDefault(inside(path, field.name))) return field
  if (context.onChange === "fail") {
    context.problems.push(`column ${name} is missing from the result: on_schema_change: evolve or ignore allows it`)
    return field
  }
  if (!context.replaces || context.onChange === "ignore") {
    if (field.required && path !== "") context.problems.push(`column ${name} is missing and may not be NULL`)
    return field
  }
  const pinned = context.pinned.get(field.id)
  if (pinned !== undefined) {
    context.problems.push(`column ${name} cannot go while ${pinned} reads it: change that in an earlier run`)
  } else if (!context.allowDestructive) {
    const alike = fresh.filter(({ type }) => kindOf(type) === kindOf(field.type))
    const hint =
      alike.length === 0
        ? ""
        : `, say renamed_columns: {${inside(path, field.name)}: ${alike[0]!.name}} if it only has another name now`
    context.problems.push(
      `column ${name} is missing from the result: add it${hint}, or set allow_destructive_changes: true to drop it`,
    )
  }
  context.changes.push(`column ${name} is dropped`)
  return null
}

const kindOf = (type: IcebergType): string => (typeof type === "string" ? type.replace(/\(.*/, "") : type.type)

const evolveField = (field: Field, column: ResultField, path: string, context: EvolutionContext): Field => {
  const name = shown(path, field.name)
  const before = { problems: context.problems.length, changes: context.changes.length }
  const type = evolveType(field.type, column.type, inside(path, field.name), context)
  // The result's spelling wins where it replaces the rows, or where the column is renamed.
  const isRespelled = context.replaces || !isSameName(field.name, column.name)
  const renamed = { ...field, name: isRespelled ? column.name : field.name }
  if (type !== null) {
    if (typeof type === "string" && type !== field.type) {
      const [from, to] = [duckTypeOf(field.type), duckTypeOf(type)]
      if (context.pinned.has(field.id) && field.type === "date") {
        context.problems.push(`column ${name} cannot become ${to} while ${context.pinned.get(field.id)} reads it`)
      }
      context.changes.push(`column ${name} is widened from ${from} to ${to}`)
    }
    return { ...renamed, type }
  }
  // What was found out about its inside does not matter any more.
  context.problems.length = before.problems
  context.changes.length = before.changes
  const types = `${duckTypeOf(field.type)} in the table and ${duckTypeOf(column.type)} in the result`
  const pinned = context.pinned.get(field.id)
  if (pinned !== undefined) {
    context.problems.push(`column ${name} is ${types}: cast it, as ${pinned} reads it`)
  } else if (context.onChange !== "evolve") {
    context.problems.push(`column ${name} is ${types}: cast it`)
  } else if (!context.allowDestructive) {
    const cost = context.replaces ? "" : ", which loses its values in old rows"
    context.problems.push(`column ${name} is ${types}: cast it, or set allow_destructive_changes: true${cost}`)
  }
  context.changes.push(`column ${name} starts anew as ${duckTypeOf(column.type)}; its old values are dropped`)
  return newField(column, context.nextId)
}

/** The type that holds both the table's values and the result's; null when there is none that old files can be read as. */
const evolveType = (
  table: IcebergType,
  result: IcebergType,
  path: string,
  context: EvolutionContext,
): IcebergType | null => {
  if (result === "unknown" || table === result) return table
  if (typeof table === "string" && typeof result === "string") {
    if (widens(result, table)) return table
    const wider = commonDecimal(table, result) ?? result
    return context.onChange === "evolve" && promotes(table, wider, context.formatVersion) ? wider : null
  }
  if (typeof table === "string") return table === "unknown" ? withIds(result, context.nextId) : null
  if (typeof result === "string" || table.type !== result.type) return null
  switch (table.type) {
    case "struct":
      return {
        ...table,
        fields: evolveFields(table.fields, (result as typeof table).fields, path, context),
      }
    case "list": {
      const element = evolveType(table.element, (result as typeof table).element, `${path}.element`, context)
      return element === null ? null : { ...table, element }
    }
    case "map": {
      const other = result as typeof table
      // Fields of keys can neither come nor go ("Schema Evolution"): a key would be another one.
      const key = sameShape(table.key, other.key) ? table.key : null
      const value = evolveType(table.value, other.value, `${path}.value`, context)
      return key === null || value === null ? null : { ...table, key, value }
    }
  }
}

/** `decimal(10,2)` and `decimal(12,1)` are both in `decimal(13,2)`; undefined when a table's decimal cannot become such a one. */
const commonDecimal = (table: string, result: string): string | undefined => {
  const digits = (type: string) => {
    if (type === "int") return [10, 0] as const
    if (type === "long") return [19, 0] as const
    const match = /^decimal\((\d+),\s*(\d+)\)$/.exec(type)
    return match === null ? null : ([Number(match[1]) - Number(match[2]), Number(match[2])] as const)
  }
  const [left, right] = [digits(table), digits(result)]
  if (!table.startsWith("decimal") || left === null || right === null || right[1] > left[1]) return undefined
  const precision = Math.max(left[0], right[0]) + left[1]
  return precision > 38 ? undefined : `decimal(${precision},${left[1]})`
}

/** Equal but for ids, comments and whether values are required. */
const sameShape = (left: IcebergType, right: IcebergType): boolean => {
  if (typeof left === "string" || typeof right === "string") return left === right || right === "unknown"
  if (left.type === "struct" && right.type === "struct") {
    return (
      left.fields.length === right.fields.length &&
      left.fields.every((field, index) => {
        const other = right.fields[index]!
        return isSameName(field.name, other.name) && sameShape(field.type, other.type)
      })
    )
  }
  if (left.type === "list" && right.type === "list") return sameShape(left.element, right.element)
  return (
    left.type === "map" && right.type === "map" && sameShape(left.key, right.key) && sameShape(left.value, right.value)
  )
}
