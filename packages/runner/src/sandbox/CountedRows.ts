import type { DuckDBPreparedStatement } from "@duckdb/node-api"
import { jsonRows } from "@rat/lakehouse/slot"

/** Executes a query and counts its rows, of which only the first are kept, as JSON. Nothing is materialised. */
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
  return { count, rows: JSON.parse(Buffer.concat(pieces).toString()) as ReadonlyArray<ReadonlyArray<unknown>> }
}
