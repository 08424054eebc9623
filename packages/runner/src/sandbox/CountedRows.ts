import { type DuckDBPreparedStatement, JsonDuckDBValueConverter } from "@duckdb/node-api"

/** Executes a query and counts its rows, of which only the first are kept. Nothing is materialised. */
export const countRows = async (
  prepared: DuckDBPreparedStatement,
  keep: number,
): Promise<{ readonly count: number; readonly rows: ReadonlyArray<ReadonlyArray<unknown>> }> => {
  const result = await prepared.stream()
  const rows: Array<ReadonlyArray<unknown>> = []
  let count = 0
  for (;;) {
    const chunk = await result.fetchChunk()
    if (chunk === null || chunk.rowCount === 0) return { count, rows }
    count += chunk.rowCount
    if (rows.length < keep) {
      rows.push(...chunk.convertRows(JsonDuckDBValueConverter).slice(0, keep - rows.length))
    }
  }
}
