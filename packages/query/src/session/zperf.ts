import { readdirSync } from "node:fs"
import { join } from "node:path"
import { DuckDBInstance } from "@duckdb/node-api"
import { Effect } from "effect"
import { ask, publish, TestQuery } from "./TestQuery.ts"
const median = (xs: number[]) => [...xs].sort((a,b)=>a-b)[Math.floor(xs.length/2)]!
const program = Effect.gen(function* () {
  yield* publish("default.gold.big", "select i as id, (i*7919)%1000003 as k, hash(i)%100 as g, (i%10007)/7.0 as v, 'name '||(i%5000) as name, timestamp '2020-01-01' + to_seconds(i) as ts from range(5000000) t(i)")
  const { folder } = yield* TestQuery
  const store = join(folder, "store")
  const files = (readdirSync(store, { recursive: true }) as string[]).filter((n) => n.endsWith(".parquet")).map((n) => join(store, n))
  console.log(files.length, "files")
  const c = yield* Effect.promise(async () => (await DuckDBInstance.create(":memory:", { threads: "2" })).connect())
  yield* Effect.promise(() => c.run(`create schema gold; create view gold.big as select * from read_parquet([${files.map(f=>`'${f}'`).join()}])`))
  for (const sql of ["select 1", "select count(*) from gold.big", "select g, sum(v), count(distinct k), max(name) from gold.big group by g", "select name, date_trunc('month', ts) m, avg(v), count(*) from gold.big group by all order by 3 desc limit 100", "select a.g, count(*) from gold.big a join (select k, min(id) mid from gold.big group by k) b on a.id=b.mid group by 1", "select * from gold.big order by v desc, id", "select * from gold.big"]) {
    const ours: number[] = [], raw: number[] = []
    for (let i=0;i<7;i++) {
      const limit = 1000
      let t=performance.now(); yield* ask({ sql, limit, format: "objects" }); ours.push(performance.now()-t)
      t=performance.now(); yield* Effect.promise(async () => { const r = await c.stream(sql); let n=0; while (n<limit) { const ch = await r.fetchChunk(); if (!ch||!ch.rowCount) break; n+=ch.rowCount } }); raw.push(performance.now()-t)
    }
    console.log(sql.slice(0,60).padEnd(62), "ours", median(ours).toFixed(1), "raw", median(raw).toFixed(1), "ratio", (median(ours)/median(raw)).toFixed(3))
  }
  for (const format of ["objects","arrays","csv","arrow","parquet"] as const) { const t=performance.now(); const a = yield* ask({ sql: "select * from gold.big", limit: 1_000_000, format }); console.log(format, a.rows, (a.body.length/1e6).toFixed(1)+"MB", (performance.now()-t).toFixed(0)+"ms") }
  const ts: number[] = []
  for (let i=0;i<200;i++) { const t=performance.now(); yield* ask({ sql: "select 1" }); ts.push(performance.now()-t) }
  console.log("select 1 p50", median(ts).toFixed(2))
})
await Effect.runPromise(program.pipe(Effect.provide(TestQuery.layer({ threads: 2 })), Effect.scoped) as Effect.Effect<void>)
process.exit(0)
