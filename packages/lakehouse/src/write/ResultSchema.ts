import type { Column } from "@rat/domain"
import { Effect, Schema } from "effect"
import { duckTypeOf, type StoredColumn, storedColumn, widens } from "../engine/TypeMap.ts"
import type { Field, IcebergType, TableMetadata, Schema as TableSchema } from "../iceberg/TableMetadata.ts"
import { quoteName, quoteText } from "../scan/SqlText.ts"

/** The result's columns do not fit the table, or a type has no Iceberg counterpart. Lists every column. */
export class SchemaMismatch extends Schema.TaggedError<SchemaMismatch>()("SchemaMismatch", {
  table: Schema.String,
  problems: Schema.Array(Schema.String),
}) {
  override get message() {
    return `The result does not fit table ${this.table}: ${this.problems.join("; ")}.`
  }
}

/** How a result is written so that it becomes files of the table. */
export interface WritePlan {
  /** Schema of the new files, field ids assigned; ids of columns that the table has stay the same. */
  readonly schema: TableSchema
  readonly lastColumnId: number
  /** Columns of the table that an appended result lacks: its rows have NULL there. */
  readonly missing: ReadonlyArray<string>
  /**
   * `copy (select <casts> from (<query>)) to '<folder>' (format parquet, field_ids …, return_stats …)` for a source
   * query (one statement, no semicolon) and a target folder. DuckDB makes the folder, its parent must be there; a folder
   * that holds anything is refused. The rows it returns are what `write/CopyStats` reads.
   */
  readonly copySql: (query: string, target: string) => string
}

/**
 * Plans the write of a result with `columns` (DuckDB's type names, in result order). `append` needs the table's
 * columns by name (any order; missing nullable ones become NULL; new or retyped ones are a mismatch, except that a
 * narrower type is widened where every value stays the same: INTEGER into BIGINT, FLOAT into DOUBLE, …), `overwrite`
 * takes the result's columns and keeps the field ids of those whose name and type stay. Names are compared as DuckDB
 * does, without regard to case.
 */
export type PlanWrite = (write: {
  readonly table: string
  readonly base: TableMetadata | null
  readonly operation: "append" | "overwrite"
  readonly columns: ReadonlyArray<Column>
}) => Effect.Effect<WritePlan, SchemaMismatch>

/**
 * A file is closed when it exceeds this. Large enough for few files, small enough that a slot's disk, a multipart upload
 * and pruning by bounds gain from it.
 */
const fileSizeBytes = 256 * 1024 * 1024

export const planWrite: PlanWrite = Effect.fnUntraced(function* (write) {
  const problems = nameProblems(write.columns)
  const base = write.base
  const current = base?.schemas.find((schema) => schema.schemaId === base.currentSchemaId) ?? null
  let lastColumnId = base?.lastColumnId ?? 0
  const nextId = () => ++lastColumnId

  const stored = write.columns.map((column) => {
    const known = findField(current, column.name)
    // The id of the column itself comes before those inside it.
    const before = lastColumnId
    const id = nextId()
    const result = storedColumn(column.name, column.type, nextId)
    if ("problem" in result) {
      problems.push(result.problem)
      return null
    }
    if (known !== undefined && sameType(known.type, result.column.type)) {
      lastColumnId = before
      return {
        field: { ...known, name: column.name },
        column: result.column,
        duckType: column.type,
        source: column.name,
      }
    }
    const field: Field = { id, name: column.name, required: false, type: result.column.type }
    return { field, column: result.column, duckType: column.type, source: column.name }
  })
  const fitting = stored.filter((entry) => entry !== null)

  const planned =
    write.operation === "append" && current !== null
      ? appendColumns(current, fitting, write.columns, problems)
      : fitting.map(({ column, field, source }) => ({ field, value: column.expression(quoteName(source)) }))
  if (problems.length > 0) return yield* new SchemaMismatch({ table: write.table, problems })
  const isAppend = write.operation === "append" && base !== null && current !== null
  const fields = planned.map((entry) => entry.field)
  return {
    schema: isAppend ? current : { schemaId: 0, fields, identifierFieldIds: [] },
    lastColumnId: isAppend ? base.lastColumnId : lastColumnId,
    missing: fields.flatMap(({ name }) =>
      write.columns.some((column) => isSameName(column.name, name)) ? [] : [name],
    ),
    copySql: (query, target) => {
      const list = planned.map(({ field, value }) => `${value} as ${quoteName(field.name)}`).join(", ")
      const ids = fields.map((field) => `${quoteName(field.name)}: ${fieldIds(field.id, field.type)}`).join(", ")
      // Line breaks around the query: it may end in a comment. Snappy: on 10 M rows of six columns zstd costs 1.3 (level 1)
      // to 1.6 times the whole COPY. Row groups are DuckDB's 122,880 rows: larger ones cost 2.5 times on two cores.
      return `copy (select ${list} from (\n${query}\n)) to ${quoteText(target)} (format parquet, compression snappy, field_ids {${ids}}, return_stats true, file_size_bytes ${fileSizeBytes})`
    },
  } satisfies WritePlan
})

interface Entry {
  readonly field: Field
  readonly column: StoredColumn
  readonly duckType: string
  /** The result's name of the column, which may differ from the table's in case. */
  readonly source: string
}

const isSameName = (left: string, right: string): boolean => left.toLowerCase() === right.toLowerCase()

const findField = (schema: TableSchema | null, name: string): Field | undefined =>
  schema?.fields.find((field) => isSameName(field.name, name))

const nameProblems = (columns: ReadonlyArray<Column>): Array<string> => {
  const problems: Array<string> = []
  const seen = new Map<string, string>()
  if (columns.length === 0) problems.push("it has no columns")
  columns.forEach(({ name }, index) => {
    const other = seen.get(name.toLowerCase())
    seen.set(name.toLowerCase(), name)
    if (name === "") problems.push(`column ${index + 1} has no name: give it one with "as"`)
    else if (name === "__duckdb_field_id") problems.push(`column name "${name}" is reserved by DuckDB: choose another`)
    else if (other === name) problems.push(`column "${name}" appears more than once: give each its own name with "as"`)
    else if (other !== undefined) problems.push(`columns "${other}" and "${name}" differ only in case: rename one`)
  })
  return problems
}

/** The table's columns in the table's order, each from the result or NULL. */
const appendColumns = (
  current: TableSchema,
  entries: ReadonlyArray<Entry>,
  columns: ReadonlyArray<Column>,
  problems: Array<string>,
): ReadonlyArray<{ readonly field: Field; readonly value: string }> => {
  for (const { name } of columns) {
    if (findField(current, name) === undefined) {
      problems.push(`column "${name}" is new: a full_refresh run adds it, an append cannot`)
    }
  }
  return current.fields.map((field) => {
    const type = duckTypeOf(field.type)
    const entry = entries.find((candidate) => isSameName(candidate.source, field.name))
    if (entry === undefined) {
      const isKnownToBeBad = columns.some((column) => isSameName(column.name, field.name))
      if (field.required && !isKnownToBeBad) problems.push(`column "${field.name}" is missing and may not be NULL`)
      return { field, value: `cast(null as ${type})` }
    }
    const name = quoteName(entry.source)
    if (sameType(field.type, entry.column.type)) return { field, value: entry.column.expression(name) }
    const isNull = /^"?NULL"?$/i.test(entry.duckType)
    const isWider =
      typeof field.type === "string" && typeof entry.column.type === "string" && widens(entry.column.type, field.type)
    if (!isNull && !isWider) {
      problems.push(`column "${field.name}" is ${type} in the table and ${entry.duckType} in the result: cast it`)
    }
    return { field, value: isNull ? `cast(${name} as ${type})` : `cast(${entry.column.expression(name)} as ${type})` }
  })
}

/** Equal but for field ids, documentation and whether values are required. */
const sameType = (left: IcebergType, right: IcebergType): boolean => {
  if (typeof left === "string" || typeof right === "string") return left === right
  if (left.type === "struct" && right.type === "struct") {
    return (
      left.fields.length === right.fields.length &&
      left.fields.every((field, index) => {
        const other = right.fields[index]!
        return field.name === other.name && sameType(field.type, other.type)
      })
    )
  }
  if (left.type === "list" && right.type === "list") return sameType(left.element, right.element)
  return (
    left.type === "map" && right.type === "map" && sameType(left.key, right.key) && sameType(left.value, right.value)
  )
}

/** DuckDB's FIELD_IDS: a number, or `{__duckdb_field_id: n, child: …}` for nested types. */
const fieldIds = (id: number, type: IcebergType): string => {
  if (typeof type === "string") return String(id)
  const children =
    type.type === "struct"
      ? type.fields.map((field) => `${quoteName(field.name)}: ${fieldIds(field.id, field.type)}`)
      : type.type === "list"
        ? [`element: ${fieldIds(type.elementId, type.element)}`]
        : [`key: ${fieldIds(type.keyId, type.key)}`, `value: ${fieldIds(type.valueId, type.value)}`]
  return `{__duckdb_field_id: ${id}, ${children.join(", ")}}`
}
