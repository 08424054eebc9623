/**
 * Ad-hoc SQL through the HTTP API against the same SQL in DuckDB alone on the same Parquet files, for work of at least
 * 200 ms; and the price of a question that costs nothing.
 */
import { readdir } from "node:fs/promises"
import { availableParallelism } from "node:os"
import { join } from "node:path"
import { type Bench, median } from "./Bench.ts"
import { startBenchServer } from "./BenchServer.ts"
import { startRawDuckDb } from "./RawDuckDb.ts"

const rows = 10_000_000
const smallQueries = 100

/** `orders` stands for the table: its name through the API, its files for DuckDB alone. */
const questions: Record<string, (orders: string) => string> = {
  group: (orders) =>
    `select product, count(*) as n, sum(amount) as total, count(distinct customer) as customers
     from ${orders} group by product order by total desc limit 100`,
  window: (orders) =>
    `select customer, amount, rank() over (partition by customer order by amount desc) as place
     from ${orders} where customer < 40000 qualify place <= 2 order by customer, place limit 1000`,
  join: (orders) =>
    `select date_trunc('month', a.ordered_at) as month, count(*) as n, avg(a.amount - b.mean) as above
     from ${orders} a join (select product, avg(amount) as mean from ${orders} group by product) b using (product)
     group by month order by month`,
}

export const bench: Bench = async ({ rounds, say }) => {
  const threads = availableParallelism()
  const server = await startBenchServer({ RAT_QUERY_MEMORY_LIMIT: "2GiB", RAT_QUERY_THREADS: String(threads) })
  const raw = startRawDuckDb({ memoryLimit: "2GiB", threads })
  try {
    const pipeline = { layer: "silver", name: "orders" }
    await server.push([
      {
        ...pipeline,
        sql: `select i as id, (i * 7919) % 100000 as customer, ((i * 31) % 1000000) / 100.0 as amount,
                timestamp '2025-01-01' + interval (i % 31536000) second as ordered_at, 'product ' || (i % 5000) as product
              from range(${rows}) t(i)`,
      },
    ])
    const { status } = await server.follow(await server.submit(pipeline))
    if (status !== "success") throw new Error(`the table was not made: ${status}`)
    const folder = join(server.data, "store", "default", "silver", "orders", "data")
    const files = (await readdir(folder, { recursive: true })).filter((name) => name.endsWith(".parquet"))
    const relation = `read_parquet([${files.map((name) => `'${join(folder, name)}'`).join(", ")}])`

    const api = async (sql: string) => {
      const started = performance.now()
      await server.call("POST", "/api/v1/query", { sql, limit: 1000 })
      return performance.now() - started
    }
    const ratios: Array<number> = []
    const results: Array<{ name: string; value: number; unit: string }> = []
    for (const [name, question] of Object.entries(questions)) {
      const through: Array<number> = []
      const alone: Array<number> = []
      for (let round = 0; round <= rounds; round++) {
        const aloneMs = await raw.time(question(relation))
        const throughMs = await api(question("silver.orders"))
        if (round === 0) continue
        alone.push(aloneMs)
        through.push(throughMs)
      }
      if (median(alone) < 200) throw new Error(`"${name}" takes only ${median(alone)} ms alone; make it heavier`)
      const ratio = median(through.map((ms, index) => ms / alone[index]!))
      ratios.push(ratio)
      results.push({ name: `query_${name}_ratio`, value: ratio, unit: "ratio" })
      say(`${name}: ${median(through).toFixed(0)} ms through the API, ${median(alone).toFixed(0)} ms alone`)
    }
    const small: Array<number> = []
    for (let index = 0; index < smallQueries * 2; index++) {
      const ms = await api("SELECT 1")
      if (index >= smallQueries) small.push(ms)
    }
    return [
      { name: "query_ratio_to_duckdb", value: median(ratios), unit: "ratio", bar: 1.1, better: "less" },
      ...results,
      { name: "select1_ms_p50", value: median(small), unit: "ms", bar: 15, better: "less" },
    ]
  } finally {
    raw.close()
    await server.close()
  }
}
