import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Engine, FileStore, IcebergTable, ScanPlanner, type TableVersion } from "@rat/lakehouse"
import { Effect, Layer, References } from "effect"
import { benchEngine, mergeInto, scanMs } from "./MergeTable.ts"
const folder = await mkdtemp(join(tmpdir(), "rat-quick-"))
const rowsOf = (ids: string, version: number) => `select i as id, (i * 7919 + ${version}) % 100000 as customer, ((i * 31 + ${version}) % 1000000) / 100.0 as amount, timestamp '2025-01-01' + interval (i % 31536000) second as ordered_at, 'product ' || ((i + ${version}) % 5000) as product, i % 3 = 0 as is_gift from (${ids}) t(i)`
const spread = (count: number, of: number, from = 17) => `select (i * ${Math.floor(of / count)} + ${from}) from range(${count}) r(i)`
const n = 10_000_000
const main = Effect.gen(function* () {
  const engine = yield* Engine
  const base = yield* mergeInto({ name: "o", base: null, strategy: "full_refresh", query: rowsOf(`from range(${n})`, 0) })
  let table: TableVersion = base
  const t0 = performance.now()
  for (let i = 0; i < 200; i++) {
    table = yield* mergeInto({ name: "o", base: table, strategy: "incremental", query: rowsOf(`select i from (${spread(250, n, i * 13)}) r(i) union all select ${n} + ${i} * 250 + i from range(250) r(i)`, i + 1) })
    if (i % 50 === 49) console.log(i, ((performance.now() - t0) / (i + 1)).toFixed(0), "ms each")
  }
  const files = yield* Effect.flatMap(IcebergTable, (tables) => tables.files(table.metadata))
  console.log(files.data.length, files.deletes.length, files.deletes.map((f) => f.recordCount))
  const r: number[] = []
  for (let i = 0; i < 7; i++) { const a = yield* scanMs(base.metadataLocation); const b = yield* scanMs(table.metadataLocation); r.push(b / a); console.log(a.toFixed(0), b.toFixed(0), (b / a).toFixed(2)) }
})
const tables = ScanPlanner.layer.pipe(Layer.provideMerge(IcebergTable.layer), Layer.provideMerge(FileStore.layer({ root: join(folder, "store") })))
await main.pipe(Effect.provide(benchEngine(folder, "4GiB", 2).pipe(Layer.provideMerge(tables))), Effect.provideService(References.MinimumLogLevel, "Error"), Effect.scoped, Effect.runPromise)
await rm(folder, { recursive: true, force: true })
