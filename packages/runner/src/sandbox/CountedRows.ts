import type { DuckDBPreparedStatement } from "@duckdb/node-api"
import { jsonRows } from "@rat/lakehouse/slot"

/** Characters of a kept cell and of all of them: samples are for people's eyes, and go into the database and messages. */
const maxCell = 1_000
const maxSample = 200_000

const shortened = (cell: unknown, limit: number): unknown => {
  const text = typeof cell === "string" ? cell : JSON.stringify(cell)
  return text.length > limit ? `${text.slice(0, limit)}…` : cell
}

/** Executes a query and counts its rows, of which only the first are kept, as JSON, long cells cut. Nothing is materialised. */
export const countRows = async (
  prepared: DuckDBPreparedStatement,
  keep: number,
): Promise<{ readonly count: number; readonly rows: ReadonlyArray<ReadonlyArray<unknown>> }> => {
  const columns = Array.from({ length: prepared.columnCount }, (_, index) => ({
    name: prepared.columnName(index),
    type: prepared.columnType(index),
  }))
  const encoder = jsonRows(columns, "arrays")
  const pieces = [encoder.start()]
  const result = await prepared.stream()
  let count = 0
  for (;;) {
    const chunk = await result.fetchChunk()
    if (chunk === null || chunk.rowCount === 0) break
    if (count < keep) pieces.push(encoder.chunk(chunk, Math.min(chunk.rowCount, keep - count)))
    count += chunk.rowCount
  }
  pieces.push(encoder.end())
  const rows = JSON.parse(Buffer.concat(pieces).toString()) as ReadonlyArray<ReadonlyArray<unknown>>
  const limit = Math.min(maxCell, Math.floor(maxSample / Math.max(1, columns.length * Math.min(count, keep))))
  return { count, rows: rows.map((row) => row.map((cell) => shortened(cell, limit))) }
}
