import { DuckDBInstance } from "@duckdb/node-api"

const [memoryLimit = "1GiB", threads = "2"] = process.argv.slice(2)
const instance = await DuckDBInstance.create(":memory:", { memory_limit: memoryLimit, threads })
const connection = await instance.connect()

process.on("message", async (sql: string) => {
  try {
    const started = performance.now()
    const result = await connection.run(sql)
    for (let chunk = await result.fetchChunk(); chunk !== null && chunk.rowCount > 0; )
      chunk = await result.fetchChunk()
    process.send?.({ ms: performance.now() - started })
  } catch (error) {
    process.send?.({ error: String(error) })
  }
})
