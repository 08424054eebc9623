import { stat } from "node:fs/promises"
import { join } from "node:path"
import type { DuckDBResult } from "@duckdb/node-api"
import {
  arrowRows,
  type CheckedQuery,
  csvRows,
  type DuckDb,
  type DuckDbSession,
  jsonRows,
  quoteText,
  type ResultColumn,
  type ResultEncoder,
  type SlotContext,
  SlotError,
  type SlotLimits,
  sqlCodes,
  sqlError,
} from "@rat/lakehouse/slot"
import type { QueryOrder, QueryPiece } from "./QueryPiece.ts"

/** Bytes of body that are sent at once. */
const pieceBytes = 128 * 1024

/** How often the size of a file that is being written is looked at. */
const watchMs = 100

type Emit = (pieces: ReadonlyArray<QueryPiece>) => Promise<void>

/** Executes one query of a person. Everything of it is forgotten when the slot is reset. */
export const runQuery = async (
  engine: DuckDb,
  limits: SlotLimits,
  order: QueryOrder,
  context: SlotContext,
): Promise<void> => {
  const session = await engine.begin(order.databases)
  if (order.setup !== "") await session.run(order.setup)
  const query = await session.prepareQuery(order.sql)
  try {
    if (order.format === "parquet") {
      await writeParquet(engine, limits, order, query, session, context.emit)
    } else {
      const result = await query.prepared.stream()
      const columns = columnsOf(result)
      await streamRows(result, columns, await encoderOf(order.format, columns), order.limit, context.emit)
    }
  } catch (error) {
    throw sqlError(error, limits, query.source)
  } finally {
    query.prepared.destroySync()
  }
}

const columnsOf = (result: Pick<DuckDBResult, "columnCount" | "columnName" | "columnType">): Array<ResultColumn> =>
  Array.from({ length: result.columnCount }, (_, index) => ({
    name: result.columnName(index),
    type: result.columnType(index),
  }))

const head = (columns: ReadonlyArray<ResultColumn>): QueryPiece => ({
  kind: "head",
  columns: columns.map(({ name, type }) => ({ name, type: String(type) })),
})

const encoderOf = async (
  format: Exclude<QueryOrder["format"], "parquet">,
  columns: ReadonlyArray<ResultColumn>,
): Promise<ResultEncoder> => {
  switch (format) {
    case "objects":
    case "arrays":
      return jsonRows(columns, format)
    case "csv":
      return csvRows(columns)
    case "arrow":
      return await arrowRows(columns)
  }
}

/**
 * Reads no more rows than are wanted: the engine stops when nobody reads on. That is why the person's text needs no
 * LIMIT around it, which would change positions of errors and equal column names.
 */
const streamRows = async (
  result: DuckDBResult,
  columns: ReadonlyArray<ResultColumn>,
  encoder: ResultEncoder,
  limit: number,
  emit: Emit,
): Promise<void> => {
  let pieces: Array<QueryPiece> = [head(columns)]
  let bodies: Array<Uint8Array> = [encoder.start()]
  let size = 0
  let rows = 0
  let truncated = false
  const body = (): QueryPiece => ({ kind: "body", bytes: Buffer.concat(bodies) })
  for (;;) {
    const chunk = await result.fetchChunk()
    if (chunk === null || chunk.rowCount === 0) break
    const count = Math.min(chunk.rowCount, limit - rows)
    truncated = count < chunk.rowCount
    if (count > 0) {
      const bytes = encoder.chunk(chunk, count)
      bodies.push(bytes)
      size += bytes.byteLength
      rows += count
    }
    if (truncated) break
    if (size < pieceBytes) continue
    await emit([...pieces, body()])
    pieces = []
    bodies = []
    size = 0
  }
  bodies.push(encoder.end())
  await emit([...pieces, body(), { kind: "tail", rows, truncated }])
}

/** Parquet has its directory at the end, so it is written to a file, which the node then reads. */
const writeParquet = async (
  engine: DuckDb,
  limits: SlotLimits,
  order: QueryOrder,
  query: CheckedQuery,
  session: DuckDbSession,
  emit: Emit,
): Promise<void> => {
  if (query.isExplain)
    throw new SlotError(sqlCodes.invalid, "EXPLAIN cannot be written as Parquet: ask for JSON or CSV.")
  const path = join(limits.folder, "out", "result.parquet")
  const columns = columnsOf(query.prepared)
  // The text was checked to be one query, so it cannot end the parenthesis. One row more than wanted says whether
  // there are more.
  const limited = order.limit < Number.MAX_SAFE_INTEGER ? ` limit ${order.limit}` : ""
  const before = "copy (from (\n"
  const copy = `${before}${query.source.statement}\n)${limited}) to ${quoteText(path)} (format parquet)`
  let isTooLarge = false
  const watch = setInterval(async () => {
    const size = await stat(path).then(
      (file) => file.size,
      () => 0, // not there yet
    )
    if (size <= limits.spillLimitBytes) return
    isTooLarge = true
    engine.interrupt()
  }, watchMs)
  try {
    const result = await session.connection.runAndReadAll(copy)
    const rows = Number(result.getRows()[0]?.[0] ?? 0)
    await emit([
      head(columns),
      { kind: "file", path },
      { kind: "tail", rows, truncated: limited !== "" && rows === order.limit },
    ])
  } catch (error) {
    if (!isTooLarge)
      throw sqlError(error, limits, { ...query.source, offset: query.source.offset - before.length, statement: copy })
    throw new SlotError(
      sqlCodes.memory,
      `The result is larger than ${Math.round(limits.spillLimitBytes / 2 ** 20)} MiB, the most that a query may write. Select fewer rows or columns.`,
    )
  } finally {
    clearInterval(watch)
  }
}
