import { join } from "node:path"
import { Effect } from "effect"
import type { PartitionField } from "../iceberg/PartitionSpec.ts"
import type { SingleValue } from "../iceberg/SingleValue.ts"
import type { Schema } from "../iceberg/TableMetadata.ts"
import { quoteName, quotePath } from "../scan/SqlText.ts"
import { copySql, lineageColumns } from "./CopySql.ts"
import { type CopyRow, type WrittenFile, writtenFiles } from "./CopyStats.ts"
import { Engine } from "./Engine.ts"
import { partitionTextSql, partitionValue, transformSql } from "./PartitionSql.ts"
import type { SortColumn } from "./SortOrder.ts"

/** How rows become files. */
export interface Layout {
  readonly schema: Schema
  readonly specId: number
  readonly partition: ReadonlyArray<PartitionField>
  readonly sort: ReadonlyArray<SortColumn>
  readonly sortOrderId: number
  readonly fileSizeBytes: number
}

export interface RowsToWrite {
  readonly layout: Layout
  /** A query with the schema's columns in its order and types, then `lineageColumns` where it has them. */
  readonly select: string
  readonly hasLineage: boolean
  /** About, of a row in a file; 0 when nothing is known of it. */
  readonly bytesPerRow: number
  /** Names the files of this write in the engine's folder; used once. */
  readonly name: string
  readonly locationOf: (index: number) => string
}

/** Partitions that one COPY keeps open; rows of more are brought together first. DuckDB closes files beyond 100. */
const openPartitions = 50
/** Partitions whose rows are sorted each by a COPY of its own. Files of more are written unsorted, and say nothing of an order. */
const sortedPartitions = 512

/** One partition, by its number in the query's results. */
interface Part {
  readonly id: number
  readonly count: number
  readonly values: ReadonlyArray<SingleValue | null>
}

/**
 * Writes a query's rows as data files, each of one partition, sorted where the layout says so. The query is executed twice when
 * there are partitions: first for their values alone.
 */
export const writeRows = Effect.fn("RowWriter.writeRows")(function* (rows: RowsToWrite) {
  const { layout } = rows
  if (layout.partition.length === 0) return yield* writeOne(rows, rows.select, rows.name, [], 0)
  const parts = yield* findParts(rows)
  const [first] = parts
  if (first === undefined) return []
  if (parts.length === 1) return yield* writeOne(rows, rows.select, rows.name, first.values, 0)
  // A partitioned COPY makes one file of each partition, whatever its size, and leaves none of them sorted.
  const isLarge = parts.some(({ count }) => count * rows.bytesPerRow > 1.5 * layout.fileSizeBytes)
  return (layout.sort.length > 0 || isLarge) && parts.length <= sortedPartitions
    ? yield* writeSorted(rows, parts)
    : yield* writeTogether(rows, parts)
})

const columnNames = ({ hasLineage, layout }: RowsToWrite): string =>
  [...layout.schema.fields.map(({ name }) => name), ...(hasLineage ? lineageColumns.map(({ name }) => name) : [])]
    .map(quoteName)
    .join(", ")

const orderBy = (sort: ReadonlyArray<SortColumn>, first: ReadonlyArray<string> = []): string => {
  const terms = [
    ...first,
    ...sort.map(({ direction, name, nulls }) => `${quoteName(name)} ${direction} nulls ${nulls}`),
  ]
  return terms.length === 0 ? "" : ` order by ${terms.join(", ")}`
}

const filesOf = (
  rows: RowsToWrite,
  stats: ReadonlyArray<CopyRow>,
  partitionOf: (row: CopyRow) => ReadonlyArray<SingleValue | null>,
  offset: number,
): ReadonlyArray<WrittenFile> => {
  const { layout } = rows
  const ordered = stats.filter((row) => Number(row.count) > 0).toSorted(byNumber)
  return writtenFiles(ordered, layout.schema, (index) => rows.locationOf(offset + index)).map(
    ({ file, localPath }, index): WrittenFile => ({
      localPath,
      file: {
        ...file,
        specId: layout.specId,
        partition: partitionOf(ordered[index]!),
        ...(layout.sortOrderId === 0 ? {} : { sortOrderId: layout.sortOrderId }),
      },
    }),
  )
}

const numberOf = (row: CopyRow): number => Number(/_(\d+)\.parquet$/.exec(String(row.filename))?.[1] ?? 0)
/** DuckDB numbers the files of a COPY in the order of its rows. */
export const byNumber = (left: CopyRow, right: CopyRow): number => numberOf(left) - numberOf(right)

const writeOne = Effect.fnUntraced(function* (
  rows: RowsToWrite,
  select: string,
  name: string,
  partition: ReadonlyArray<SingleValue | null>,
  offset: number,
) {
  const engine = yield* Engine
  const { fileSizeBytes, schema, sort } = rows.layout
  const stats = yield* engine.run(
    copySql({
      query: sort.length === 0 ? select : `select ${columnNames(rows)} from (${select})${orderBy(sort)}`,
      target: join(engine.outFolder, name),
      schema,
      hasLineage: rows.hasLineage,
      fileSizeBytes,
    }),
  )
  return filesOf(rows, stats, () => partition, offset)
})

/** A row's partition values as columns `rat_p0`, …; what Parquet or a join cannot hold is text. */
const partColumns = ({ layout }: RowsToWrite): ReadonlyArray<string> =>
  layout.partition.map(({ sourceId, sourceType, transform }, index) => {
    const source = layout.schema.fields.find(({ id }) => id === sourceId)
    const value =
      source === undefined ? "null::integer" : transformSql(transform, sourceType ?? "string", quoteName(source.name))
    const isHuge = transform.kind === "truncate" && sourceType !== "string" && sourceType !== "binary"
    const typed = transform.kind === "void" || transform.kind === "unknown" ? "null::integer" : value
    return `${isHuge ? `(${typed})::varchar` : typed} as rat_p${index}`
  })

const partsFile = (folder: string, name: string) => join(folder, `${name}-parts.parquet`)

const findParts = Effect.fnUntraced(function* (rows: RowsToWrite) {
  const engine = yield* Engine
  const { partition } = rows.layout
  const path = partsFile(engine.outFolder, rows.name)
  yield* engine.run(
    `copy (select (row_number() over () - 1)::integer as rat_id, * from (select ${partColumns(rows).join(", ")}, count(*) as rat_n from (${rows.select}) group by all)) to ${quotePath(path)} (format parquet)`,
  )
  const texts = partition.map(({ sourceType, transform }, index) => {
    const isText = transform.kind === "truncate" && sourceType !== "binary"
    const text = isText ? `rat_p${index}` : partitionTextSql(transform, sourceType ?? "string", `rat_p${index}`)
    return `${text} as rat_v${index}`
  })
  const found = yield* engine.run(
    `select rat_id, rat_n, ${texts.join(", ")} from read_parquet([${quotePath(path)}], hive_partitioning = false) order by rat_id`,
  )
  return found.map(
    (row): Part => ({
      id: Number(row.rat_id),
      count: Number(row.rat_n),
      values: partition.map(({ transform, type }, index) =>
        partitionValue(transform, type, row[`rat_v${index}`] as string | null),
      ),
    }),
  )
})

/** The rows with `rat_id`, the number of their partition, at the end. */
const numbered = (rows: RowsToWrite, folder: string): string => {
  const on = rows.layout.partition.map((_, index) => `rat_r.rat_p${index} is not distinct from rat_q.rat_p${index}`)
  return `select ${columnNames(rows)}, rat_q.rat_id from (select *, ${partColumns(rows).join(", ")} from (${rows.select})) as rat_r join read_parquet([${quotePath(partsFile(folder, rows.name))}], hive_partitioning = false) as rat_q on ${on.join(" and ")}`
}

const writeTogether = Effect.fnUntraced(function* (rows: RowsToWrite, parts: ReadonlyArray<Part>) {
  const engine = yield* Engine
  const order = parts.length > openPartitions ? orderBy(rows.layout.sort, ["rat_id"]) : ""
  const stats = yield* engine.run(
    copySql({
      query: `${numbered(rows, engine.outFolder)}${order}`,
      target: join(engine.outFolder, rows.name),
      schema: rows.layout.schema,
      hasLineage: rows.hasLineage,
      divideBy: "rat_id",
    }),
  )
  const valuesOf = new Map(parts.map(({ id, values }) => [String(id), values]))
  return filesOf(rows, stats, (row) => valuesOf.get(partitionId(row))!, 0).map(({ file, localPath }): WrittenFile => {
    const { sortOrderId: _, ...unsorted } = file // so many partitions are not sorted each: the files must not say so
    return { localPath, file: unsorted }
  })
})

const partitionId = (row: CopyRow): string => {
  const keys = row.partition_keys as ReadonlyArray<{ readonly key: string; readonly value: string }>
  return keys.find(({ key }) => key === "rat_id")!.value
}

/** Threads of a partitioned COPY mix the order of rows, so each partition gets a COPY of its own from a file that is sorted. */
const writeSorted = Effect.fnUntraced(function* (rows: RowsToWrite, parts: ReadonlyArray<Part>) {
  const engine = yield* Engine
  const sorted = join(engine.outFolder, `${rows.name}-sorted.parquet`)
  yield* engine.run(
    `copy (${numbered(rows, engine.outFolder)}${orderBy(rows.layout.sort, ["rat_id"])}) to ${quotePath(sorted)} (format parquet)`,
  )
  const files: Array<WrittenFile> = []
  const from = `select ${columnNames(rows)} from read_parquet([${quotePath(sorted)}], hive_partitioning = false)`
  const unsorted: RowsToWrite = { ...rows, layout: { ...rows.layout, sort: [] } }
  for (const { id, values } of parts) {
    files.push(
      ...(yield* writeOne(unsorted, `${from} where rat_id = ${id}`, `${rows.name}-${id}`, values, files.length)),
    )
  }
  return files
})
