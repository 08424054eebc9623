/**
 * The branching catalog by itself on a durable Postgres: making a branch with 10 and with 10,000 tables on main, and
 * merging branches of one changed table.
 */
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { mainRef, RefName, TableKey } from "@rat/domain"
import { Catalog, catalogMigrations, migrate, Pg, PgConfig, PostgresCatalog } from "@rat/lakehouse"
import { Effect, Layer } from "effect"
import { type Bench, median } from "./Bench.ts"

const branches = 200
const merges = 400

const key = (index: number) => TableKey.make({ namespace: "default", layer: "silver", name: `t${index}` } as never)

const change = (index: number, expected: string | null, version: number) => ({
  key: key(index),
  expected,
  next: { metadataLocation: `file:///t${index}/v${version}.json`, snapshotId: "1", rowCount: 1, sizeBytes: 1 },
})

/** Tables `from` (inclusive) to `to` (exclusive) appear on main. */
const addTables = Effect.fn(function* (from: number, to: number) {
  const catalog = yield* Catalog
  const step = 1000
  for (let start = from; start < to; start += step) {
    const indexes = Array.from({ length: Math.min(step, to - start) }, (_, offset) => start + offset)
    yield* catalog.commit(mainRef, {
      message: "tables",
      author: "bench",
      runId: null,
      changes: indexes.map((index) => change(index, null, 1)),
    })
  }
})

const branchTimes = Effect.fn(function* (prefix: string) {
  const catalog = yield* Catalog
  const times: Array<number> = []
  for (let index = 0; index < branches; index++) {
    const name = RefName.make(`${prefix}-${index}`)
    const started = performance.now()
    yield* catalog.createBranch(name, { from: mainRef })
    times.push(performance.now() - started)
  }
  for (let index = 0; index < branches; index++) yield* catalog.deleteRef(RefName.make(`${prefix}-${index}`))
  return times
})

/** Branch, commit one table of its own, merge: eight at once. */
const mergeRate = Effect.fn(function* (prefix: string, version: number) {
  const catalog = yield* Catalog
  const started = performance.now()
  yield* Effect.forEach(
    Array.from({ length: merges }, (_, index) => index),
    Effect.fn(function* (index) {
      const name = RefName.make(`${prefix}-${index}`)
      yield* catalog.createBranch(name, { from: mainRef })
      yield* catalog.commit(name, {
        message: "change",
        author: "bench",
        runId: null,
        changes: [change(index, `file:///t${index}/v${version - 1}.json`, version)],
      })
      yield* catalog.merge(name, { message: "merge", author: "bench", runId: null })
    }),
    { concurrency: 8, discard: true },
  )
  return merges / ((performance.now() - started) / 1000)
})

export const bench: Bench = async ({ rounds, say }) => {
  const folder = await mkdtemp(join(tmpdir(), "rat-bench-"))
  const program = Effect.gen(function* () {
    yield* migrate(catalogMigrations)
    yield* addTables(0, 10)
    yield* branchTimes("warm")
    const small: Array<number> = []
    for (let round = 0; round < rounds; round++) small.push(median(yield* branchTimes(`small-${round}`)))
    yield* addTables(10, 10_000)
    yield* branchTimes("warm-again")
    const large: Array<number> = []
    for (let round = 0; round < rounds; round++) large.push(median(yield* branchTimes(`large-${round}`)))
    const rates: Array<number> = []
    for (let round = 0; round < rounds; round++) rates.push(yield* mergeRate(`merge-${round}`, round + 2))
    say(`branch: ${median(small).toFixed(2)} ms with 10 tables, ${median(large).toFixed(2)} ms with 10,000`)
    return { small: median(small), large: median(large), merges: median(rates) }
  })
  const layers = PostgresCatalog.layer.pipe(
    Layer.provideMerge(Pg.layer),
    Layer.provide(PgConfig.layer(join(folder, "postgres"))),
  )
  try {
    const { small, large, merges } = await Effect.runPromise(Effect.provide(program, layers))
    return [
      { name: "branch_create_ms_p50", value: large, unit: "ms", bar: 3, better: "less" },
      { name: "branch_create_10_tables_ms_p50", value: small, unit: "ms", bar: 3, better: "less" },
      { name: "branch_create_ratio_10k_to_10", value: large / small, unit: "ratio", bar: 1.2, better: "less" },
      { name: "merges_per_s", value: merges, unit: "1/s" },
    ]
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
