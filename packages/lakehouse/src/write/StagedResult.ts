import { Effect, Schema } from "effect"
import type { DataFile } from "../iceberg/DataFile.ts"
import type { Schema as TableSchema } from "../iceberg/TableMetadata.ts"
import type { KeyRange } from "../scan/Predicate.ts"
import { relationOf } from "../scan/Relation.ts"
import { quoteName, quoteText } from "../scan/SqlText.ts"
import { type CopyRow, writtenFiles } from "./CopyStats.ts"
import { Engine } from "./Engine.ts"
import { byNumber } from "./RowWriter.ts"
import type { AddedColumn, Strategy, StrategySettings } from "./strategy/Strategy.ts"

/** The settings of a merge do not fit the table. */
export class MergeRefused extends Schema.TaggedError<MergeRefused>()("MergeRefused", {
  problems: Schema.Array(Schema.String),
}) {
  override get message() {
    return this.problems.join(" ")
  }
}

/** A result in files of the engine's folder, not yet part of a table. */
export interface StagedResult {
  /** With `filePath` where the engine finds it; in the result's order. */
  readonly files: ReadonlyArray<DataFile>
  readonly rows: number
  readonly sizeBytes: number
  /** `(select …)` with the schema's columns and `rat_order`. */
  readonly source: string
}

/**
 * The query whose rows are staged: those of `select` (the result, converted to the table's types; its columns are `given`) with
 * the columns that the strategy adds, all in the schema's order.
 */
export const stagedQuery = (
  select: string,
  schema: TableSchema,
  added: ReadonlyArray<AddedColumn>,
  now: string,
): string => {
  if (added.length === 0) return select
  const columns = schema.fields.map(({ name }) => {
    const own = added.find((column) => column.name.toLowerCase() === name.toLowerCase())
    return own === undefined ? quoteName(name) : `cast(${own.value(now)} as ${own.type}) as ${quoteName(name)}`
  })
  return `select ${columns.join(", ")} from (\n${select}\n)`
}

/** The moment of a merge as SQL. */
export const timestampSql = (millis: number): string => `timestamptz ${quoteText(new Date(millis).toISOString())}`

/** `rat_order`: files first, then rows; no file has more rows. */
const orderBits = 40

export const stagedResult = (rows: ReadonlyArray<CopyRow>, schema: TableSchema): StagedResult => {
  const ordered = rows.filter((row) => Number(row.count) > 0).toSorted(byNumber)
  const files = writtenFiles(ordered, schema, () => "").map(({ file, localPath }) => ({
    ...file,
    filePath: localPath,
    schemaId: schema.schemaId,
  }))
  const relation = relationOf(
    { schema, schemas: [schema], specs: [], files, applied: new Map(), vectors: new Map(), inspected: new Map() },
    (location) => location,
    { positions: true, lineage: false },
  )
  const names = schema.fields.map(({ name }) => quoteName(name)).join(", ")
  return {
    files,
    rows: files.reduce((sum, { recordCount }) => sum + recordCount, 0),
    sizeBytes: files.reduce((sum, { fileSizeBytes }) => sum + fileSizeBytes, 0),
    source: `(select ${names}, (rat_file << ${orderBits}) + rat_pos as rat_order from (${relation}))`,
  }
}

/** Names that the SQL of merges gives to columns of its own. */
const reserved = /^(rat_(file|pos|order|id|n|p\d+|v\d+)|_row_id|_last_updated_sequence_number)$/i

/**
 * The columns of a setting as the schema spells them. Keys are compared, so nested columns cannot be: equal ones of different types
 * would not be found. NaN equals NaN and -0 equals 0.
 */
export const boundColumns = (
  setting: string,
  names: ReadonlyArray<string>,
  schema: TableSchema,
  problems: Array<string>,
): ReadonlyArray<string> =>
  names.map((name) => {
    const field = schema.fields.find((candidate) => candidate.name.toLowerCase() === name.toLowerCase())
    if (field === undefined) {
      const known = schema.fields.map((candidate) => candidate.name).join(", ")
      problems.push(`${setting} names "${name}", which is no column of the table. Its columns are: ${known}.`)
    } else if (typeof field.type !== "string") {
      problems.push(`${setting} names "${field.name}", a ${field.type.type}: only plain values can be compared.`)
    } else if (/^(variant|geometry|geography|unknown)/.test(field.type)) {
      problems.push(`${setting} names "${field.name}" of the type ${field.type}, which cannot be compared.`)
    }
    return field?.name ?? name
  })

/** Settings with names as the schema has them; refused with all problems at once. */
export const boundSettings = (strategy: Strategy, settings: StrategySettings, schema: TableSchema) => {
  const problems = [...strategy.problems(settings)]
  const bound: StrategySettings = {
    ...settings,
    uniqueKey: boundColumns("unique_key", settings.uniqueKey, schema, problems),
    partitionColumn:
      settings.partitionColumn === null
        ? null
        : boundColumns("partition_column", [settings.partitionColumn], schema, problems)[0]!,
  }
  for (const { name } of schema.fields) {
    if (reserved.test(name)) problems.push(`Column "${name}" has a name that merging uses itself: rename it.`)
  }
  return problems.length > 0 ? Effect.fail(new MergeRefused({ problems })) : Effect.succeed(bound)
}

/** What has to be known of the staged keys before anything of the table is read. */
export const probeKeys = Effect.fn("StagedResult.probeKeys")(function* (
  staged: StagedResult,
  key: ReadonlyArray<string>,
  concerned: ReadonlyArray<string>,
) {
  const engine = yield* Engine
  if (staged.rows === 0) return { hasDuplicateKeys: false, ranges: [] as ReadonlyArray<KeyRange> }
  const ranges = concerned.flatMap((column, index) => {
    const name = quoteName(column)
    return [
      `min(${name})::varchar as low${index}`,
      `max(${name})::varchar as high${index}`,
      `count(*) > count(${name}) as nulls${index}`,
    ]
  })
  const keys = key.map(quoteName).join(", ")
  const distinct =
    key.length === 0 ? "null" : `(select count(*) from (select 1 from ${staged.source} group by ${keys}))`
  const [found] = yield* engine.run(
    `select ${[`${distinct} as distinct_keys`, ...ranges].join(", ")} from ${staged.source}`,
  )
  return {
    hasDuplicateKeys: key.length > 0 && Number(found!.distinct_keys) < staged.rows,
    ranges: concerned.map(
      (column, index): KeyRange => ({
        column,
        min: (found![`low${index}`] ?? null) as string | null,
        max: (found![`high${index}`] ?? null) as string | null,
        hasNulls: Boolean(found![`nulls${index}`]),
      }),
    ),
  }
})
