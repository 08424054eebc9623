import type { Column } from "@rat/domain"
import { Effect, Schema } from "effect"
import { duckTypeOf, type StoredColumn, storedColumn, unwritable } from "../engine/TypeMap.ts"
import type { MetadataUpdate } from "../iceberg/MetadataUpdate.ts"
import type { Field, TableMetadata, Schema as TableSchema } from "../iceberg/TableMetadata.ts"
import { quoteName, quoteText } from "../scan/SqlText.ts"
import { type Renames, renameCircles } from "./ColumnRenames.ts"
import { defaultsOf, describeFields, identifierOf } from "./FieldAnnotations.ts"
import { mergeKeyProperty } from "./MergeKey.ts"
import { type EvolutionContext, evolveFields, isSameName, newField, type ResultField } from "./SchemaEvolution.ts"

/** The result's columns do not fit the table, or a type has no Iceberg counterpart. Lists every column. */
export class SchemaMismatch extends Schema.TaggedError<SchemaMismatch>()("SchemaMismatch", {
  table: Schema.String,
  problems: Schema.Array(Schema.String),
}) {
  override get message() {
    return `The result does not fit table ${this.table}: ${this.problems.join("; ")}.`
  }
}

/** What a pipeline says about changes of its table's columns. */
export interface Evolution {
  /** `evolve` changes the table, `fail` refuses, `ignore` leaves new columns out and missing ones NULL. */
  readonly onChange: "evolve" | "fail" | "ignore"
  /** Whether columns may go (where the result replaces all rows) and start anew with another type. */
  readonly allowDestructive: boolean
  /** Announced renames, old name to new name (`struct.field` inside structs); those that do not apply do nothing. */
  readonly renames: Renames
  /** JSON values of columns that a result lacks; in v3 tables also what old rows have in a column that is added. */
  readonly defaults: Readonly<Record<string, unknown>>
  /** The merge key: the table's identifier fields, where the specification allows them (required, primitive, no floats). */
  readonly identifier: ReadonlyArray<string>
  /** Comments by column. */
  readonly docs: Readonly<Record<string, string>>
}

/** What holds where nobody says anything. */
export const defaultEvolution: Evolution = {
  onChange: "evolve",
  allowDestructive: false,
  renames: {},
  defaults: {},
  identifier: [],
  docs: {},
}

/** How a result is written so that it becomes files of the table. */
export interface WritePlan {
  /** Schema of the new files, field ids assigned; ids of columns that the table has stay the same. */
  readonly schema: TableSchema
  readonly lastColumnId: number
  /** Changes of the table's metadata that come before the snapshot; empty when nothing changes. */
  readonly updates: ReadonlyArray<MetadataUpdate>
  /** Columns of the table that the result lacks: its rows have NULL, or the column's default, there. */
  readonly missing: ReadonlyArray<string>
  /** What changes about the table's columns, in sentences for the log (no capital, no full stop). */
  readonly changes: ReadonlyArray<string>
  /** Names of what `select` gives: the schema's columns but for those that the strategy adds. */
  readonly columns: ReadonlyArray<string>
  /** `select <casts> from (<query>)`: a query's rows in the table's column order and types. The query may end in a comment. */
  readonly select: (query: string) => string
}

export interface PlannedWrite {
  readonly table: string
  readonly base: TableMetadata | null
  /** The result takes the place of all rows. */
  readonly replaces: boolean
  /** The result's columns with DuckDB's type names, in result order. */
  readonly columns: ReadonlyArray<Column>
  /** Columns that the strategy adds to the result's. */
  readonly added: ReadonlyArray<{ readonly name: string; readonly type: string }>
  readonly evolution: Evolution
  /** Of the Iceberg format that the table shall have; null or absent leaves it (a new table has 2). */
  readonly formatVersion?: 2 | 3 | null
}

/** Names of circles of renames that were carried out ("a>b,…"): see ColumnRenames. */
const renamedProperty = "rat.renamed-in-circles"

/**
 * Plans the write of a result. Names are compared as DuckDB does, without regard to case. Columns of the result meet those of the
 * table by name and take their field ids; a narrower type is widened where every value stays the same, a wider one widens the
 * table where Iceberg allows it. What else differs is up to `evolution`.
 */
export const planWrite: (write: PlannedWrite) => Effect.Effect<WritePlan, SchemaMismatch> = Effect.fnUntraced(
  function* (write) {
    const { base, evolution } = write
    const problems = nameProblems(write.columns, write.added)
    const changes: Array<string> = []
    const current = base?.schemas.find((schema) => schema.schemaId === base.currentSchemaId) ?? null
    const formatVersion = formatVersionOf(write, problems)
    let lastColumnId = base?.lastColumnId ?? 0
    const nextId = () => ++lastColumnId

    const stored = new Map<string, StoredColumn>()
    const result = [...write.columns, ...write.added].flatMap((column): ReadonlyArray<ResultField> => {
      const outcome = storedColumn(column.name, column.type, formatVersion)
      if ("problem" in outcome) problems.push(outcome.problem)
      else stored.set(column.name.toLowerCase(), outcome.column)
      // A column without a type of its own is still there: it must not count as missing.
      return [{ name: column.name, type: "problem" in outcome ? "unknown" : outcome.column.type }]
    })

    const circles = renameCircles(evolution.renames)
    const done = new Set(base?.properties[renamedProperty]?.split(","))
    const context: EvolutionContext = {
      replaces: write.replaces,
      onChange: evolution.onChange,
      allowDestructive: evolution.allowDestructive,
      formatVersion,
      renames: evolution.renames,
      isRenameDone: (circle) => done.has(circle),
      hasDefault: (path) => Object.keys(evolution.defaults).some((name) => isSameName(name, path)),
      pinned: pinnedColumns(base),
      nextId,
      isAnnounced: (path) => write.added.some(({ name }) => isSameName(name, path)),
      problems,
      changes,
    }
    const evolved =
      current === null
        ? result.map((column) => newField(column, nextId))
        : evolveFields(current.fields, result, "", context)
    const fields = strategyColumnsLast(evolved, write, current)
    const defaults = defaultsOf(fields, evolution, problems)
    const described = describeFields(fields, defaults, current, evolution, formatVersion, changes)
    const schema: TableSchema = {
      schemaId: 0,
      fields: described,
      identifierFieldIds: identifierOf(described, current, evolution, problems),
    }
    const planned = described.filter(({ name }) => !write.added.some((column) => isSameName(column.name, name)))
    const values = planned.map((field) => {
      const column = write.columns.find(({ name }) => isSameName(name, field.name))
      const source = stored.get(field.name.toLowerCase())
      const name = quoteText(`column "${field.name}" of table ${write.table} may not be NULL`)
      if (column !== undefined) {
        const value = source?.expression(quoteName(column.name), field.type) ?? quoteName(column.name)
        return field.required
          ? `case when ${quoteName(column.name)} is null then error(${name}) else ${value} end`
          : value
      }
      const fallback = defaults.get(field.id)
      if (fallback !== undefined) return fallback.sql
      if (field.required) problems.push(`column "${field.name}" is missing and may not be NULL`)
      return `cast(null as ${duckTypeOf(field.type)})`
    })
    for (const field of described) {
      const reason = unwritable(field.type)
      if (reason !== null) problems.push(`column "${field.name}": ${reason}`)
    }
    if (problems.length > 0) return yield* new SchemaMismatch({ table: write.table, problems: [...new Set(problems)] })

    const isSame =
      current !== null &&
      JSON.stringify(current.fields, bigints) === JSON.stringify(schema.fields, bigints) &&
      String(current.identifierFieldIds) === String(schema.identifierFieldIds)
    const list = planned.map((field, index) => `${values[index]} as ${quoteName(field.name)}`).join(", ")
    const updates: Array<MetadataUpdate> = []
    if (formatVersion !== (base?.formatVersion ?? 2)) updates.push({ action: "upgrade-format-version", formatVersion })
    if (!isSame) {
      updates.push({ action: "add-schema", schema, lastColumnId }, { action: "set-current-schema", schemaId: -1 })
    }
    const remember = (property: string, value: string) => {
      if (value === (base?.properties[property] ?? "")) return
      updates.push(
        value === ""
          ? { action: "remove-properties", removals: [property] }
          : { action: "set-properties", updates: { [property]: value } },
      )
    }
    remember(renamedProperty, circles.join(","))
    remember(mergeKeyProperty, evolution.identifier.length === 0 ? "" : JSON.stringify(evolution.identifier))
    return {
      schema: isSame ? current : schema,
      lastColumnId,
      updates,
      missing: planned.flatMap(({ name }) =>
        write.columns.some((column) => isSameName(column.name, name)) ? [] : [name],
      ),
      changes,
      columns: planned.map(({ name }) => name),
      // Line breaks around the query: it may end in a comment.
      select: (query) => `select ${list} from (\n${query}\n)`,
    } satisfies WritePlan
  },
)

const bigints = (_: string, value: unknown) => (typeof value === "bigint" ? String(value) : value)

const formatVersionOf = ({ base, formatVersion }: PlannedWrite, problems: Array<string>): 2 | 3 => {
  const wanted = formatVersion ?? base?.formatVersion ?? 2
  if (base === null || wanted >= base.formatVersion) return wanted
  problems.push(
    `it has Iceberg format version ${base.formatVersion}, which cannot be lowered: remove format_version: ${wanted}`,
  )
  return base.formatVersion
}

/** Field ids that the table's partitioning or sort order reads, and the setting that says so. */
const pinnedColumns = (base: TableMetadata | null): ReadonlyMap<number, string> => {
  const pinned = new Map<number, string>()
  const order = base?.sortOrders.find(({ orderId }) => orderId === base.defaultSortOrderId)
  for (const { sourceId } of order?.fields ?? []) pinned.set(sourceId, "sort_by")
  const spec = base?.partitionSpecs.find(({ specId }) => specId === base.defaultSpecId)
  for (const { sourceId, transform } of spec?.fields ?? []) {
    if (transform !== "void") pinned.set(sourceId, "partition_by")
  }
  return pinned
}

/** Columns that the strategy adds stand at the end of a new table; in one that is there they stay where they are, and new ones come before them. */
const strategyColumnsLast = (
  fields: ReadonlyArray<Field>,
  { added }: PlannedWrite,
  current: TableSchema | null,
): ReadonlyArray<Field> => {
  if (current === null || added.length === 0) return fields
  const isAdded = ({ name }: Field) => added.some((column) => isSameName(column.name, name))
  return [...fields.filter((field) => !isAdded(field)), ...fields.filter(isAdded)]
}

const nameProblems = (
  columns: ReadonlyArray<Column>,
  added: ReadonlyArray<{ readonly name: string }>,
): Array<string> => {
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
    else if (added.some((column) => isSameName(column.name, name))) {
      problems.push(`column "${name}" is one that the merge strategy makes itself: leave it out or rename it`)
    }
  })
  return problems
}
