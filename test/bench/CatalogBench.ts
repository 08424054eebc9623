/**
 * The branching catalog by itself on a durable Postgres: making a branch with 10 and with 10,000 tables on main, and
 * merging branches of one changed table.
 */
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { mainRef, RefName, TableKey } from "@rat/domain"
import { Catalog, catalogMigrations, migrate, Pg, PgConfig, PostgresCatalog } from "@rat/lakehouse"
import { Effect, Layer, References } from "effect"
import { type Bench, median } from "./Bench.ts"
import { restFigures } from "./RestBench.ts"

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

/** A durable Postgres of its own with `tables` tables on main. */
const server = (folder: string, tables: number) =>
  Layer.effectDiscard(Effect.andThen(migrate(catalogMigrations), addTables(0, tables))).pipe(
    Layer.provideMerge(PostgresCatalog.layer),
    Layer.provideMerge(Pg.layer),
    Layer.provide(PgConfig.layer(join(folder, `postgres-${tables}`))),
    Layer.fresh,
  )

export const bench: Bench = async ({ rounds, say }) => {
  const folder = await mkdtemp(join(tmpdir(), "rat-bench-"))
  const program = Effect.gen(function* () {
    const few = yield* Layer.build(server(folder, 10))
    const many = yield* Layer.build(server(folder, 10_000))
    const small: Array<number> = []
    const large: Array<number> = []
    const rates: Array<number> = []
    // In turns, so that a machine that slows down slows both down. The first round warms up.
    for (let round = 0; round <= rounds; round++) {
      const withFew = median(yield* Effect.provide(branchTimes(`branch-${round}`), few))
      const withMany = median(yield* Effect.provide(branchTimes(`branch-${round}`), many))
      if (round === 0) continue
      small.push(withFew)
      large.push(withMany)
      rates.push(yield* Effect.provide(mergeRate(`merge-${round}`, round + 1), many))
      say(`round ${round}: branch ${withFew.toFixed(2)} ms with 10 tables, ${withMany.toFixed(2)} ms with 10,000`)
    }
    return { small, large, rates }
  })
  try {
    const { small, large, rates } = await Effect.runPromise(
      Effect.scoped(program).pipe(Effect.provideService(References.MinimumLogLevel, "Error")),
    )
    return [
      { name: "branch_create_ms_p50", value: median(large), unit: "ms", bar: 3, better: "less" },
      { name: "branch_create_10_tables_ms_p50", value: median(small), unit: "ms", bar: 3, better: "less" },
      {
        name: "branch_create_ratio_10k_to_10",
        value: median(large.map((ms, index) => ms / small[index]!)),
        unit: "ratio",
        bar: 1.2,
        better: "less",
      },
      { name: "merges_per_s", value: median(rates), unit: "1/s" },
      ...(await restFigures({ rounds, say })),
    ]
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
