/**
 * The branching catalog by itself on a durable Postgres: making and deleting branches with 10 and with many tables on main,
 * publishing branches of one changed table in batches, and many writers that append to one table.
 */
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { mainRef, RefName, TableKey } from "@rat/domain"
import {
  Catalog,
  catalogMigrations,
  type DataFile,
  FileStore,
  IcebergTable,
  migrate,
  ObjectStore,
  Pg,
  PgConfig,
  PostgresCatalog,
  Rebase,
} from "@rat/lakehouse"
import { Effect, Layer, References } from "effect"
import { type Bench, median } from "./Bench.ts"
import { restFigures } from "./RestBench.ts"

const branches = 200
const merges = 400
/** Branches made and deleted at the same time. */
const pairs = 4000
const atOnce = 32
/** Branches that are published, and how many of them go into one transaction. */
const publishes = 2000
const batch = 50
/** Writers of one table, and how often each of them appends. */
const writers = 32
const appends = 8
/** Tables of the larger catalog; `--sf` multiplies it. */
const manyTables = 100_000

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

/** Branches made and deleted per second, many at once. */
const pairRate = Effect.fn(function* (prefix: string) {
  const catalog = yield* Catalog
  const started = performance.now()
  yield* Effect.forEach(
    Array.from({ length: pairs }, (_, index) => RefName.make(`${prefix}-${index}`)),
    (name) => Effect.andThen(catalog.createBranch(name, { from: mainRef }), catalog.deleteRef(name)),
    { concurrency: atOnce, discard: true },
  )
  return pairs / ((performance.now() - started) / 1000)
})

/** Branches of one changed table each, on tables of their own, published in batches: only the publishing counts. */
const publishRate = Effect.fn(function* (prefix: string, version: number) {
  const catalog = yield* Catalog
  const names = Array.from({ length: publishes }, (_, index) => RefName.make(`${prefix}-${index}`))
  yield* Effect.forEach(
    names,
    Effect.fn(function* (name, index) {
      yield* catalog.createBranch(name, { from: mainRef })
      const expected = yield* catalog.table(mainRef, key(index))
      const changes = [change(index, expected?.metadataLocation ?? null, version)]
      yield* catalog.commit(name, { message: "change", author: "bench", runId: null, changes })
    }),
    { concurrency: atOnce, discard: true },
  )
  const batches = Array.from({ length: publishes / batch }, (_, index) =>
    names.slice(index * batch, (index + 1) * batch).map((branch) => ({
      branch,
      message: "publish",
      author: "bench",
      runId: `${prefix}-${branch}`,
    })),
  )
  const started = performance.now()
  yield* Effect.forEach(batches, (some) => catalog.mergeMany(some), { concurrency: 4, discard: true })
  return publishes / ((performance.now() - started) / 1000)
})

/** A data file that is only named: what is measured is the commit, not the writing of rows. */
const namedFile = (filePath: string): DataFile => ({
  content: "data",
  schemaId: -1,
  filePath,
  specId: 0,
  partition: [],
  recordCount: 1,
  fileSizeBytes: 1000,
  columnSizes: new Map(),
  valueCounts: new Map(),
  nullValueCounts: new Map(),
  nanValueCounts: new Map(),
  lowerBounds: new Map(),
  upperBounds: new Map(),
})

/** Writers that branch, append, and publish to one table as fast as they can. */
const hotTable = Effect.fn(function* (name: string) {
  const catalog = yield* Catalog
  const tables = yield* IcebergTable
  const rebase = yield* Rebase
  const store = yield* ObjectStore
  const table = TableKey.make({ namespace: "default", layer: "silver", name } as never)
  const location = store.locationOf(`default/silver/${name}`)
  const write = Effect.fn(function* (ref: RefName, id: string) {
    const pointer = yield* catalog.table(ref, table)
    const base =
      pointer === null
        ? null
        : { metadataLocation: pointer.metadataLocation, metadata: yield* tables.load(pointer.metadataLocation) }
    const field = { id: 1, name: "a", required: false, type: "long" }
    const made = yield* tables.commit({
      base,
      location,
      runId: id,
      updates:
        base === null
          ? [
              { action: "add-schema", schema: { schemaId: 0, fields: [field], identifierFieldIds: [] } },
              { action: "set-current-schema", schemaId: -1 },
            ]
          : [],
      snapshot: {
        operation: "append",
        added: [namedFile(`${location}/data/${id}.parquet`)],
        addedDeletes: [],
        removed: new Set(),
        removedDeletes: new Set(),
      },
    })
    const next = {
      metadataLocation: made.metadataLocation,
      snapshotId: String(made.snapshotId),
      rowCount: made.totalRecords,
      sizeBytes: made.totalSizeBytes,
    }
    const changes = [{ key: table, expected: pointer?.metadataLocation ?? null, next }]
    yield* catalog.commit(ref, { message: "append", author: "bench", runId: null, changes })
  })
  yield* write(mainRef, `${name}-base`)
  const publish = (branch: RefName) => catalog.merge(branch, { message: "publish", author: "bench", runId: null })
  const rebased = (branch: RefName): Effect.Effect<void, unknown> =>
    Effect.gen(function* () {
      const reasons = yield* rebase.branch(branch, [table])
      if (reasons.length > 0) return yield* Effect.die(new Error(reasons[0]!.reason))
      yield* publish(branch).pipe(Effect.catchTag("CatalogConflict", () => rebased(branch)))
    })
  const started = performance.now()
  const ends = yield* Effect.forEach(
    Array.from({ length: writers }, (_, writer) => writer),
    Effect.fn(function* (writer) {
      for (let round = 0; round < appends; round++) {
        const branch = RefName.make(`${name}-${writer}-${round}`)
        yield* catalog.createBranch(branch, { from: mainRef })
        yield* write(branch, branch)
        yield* publish(branch).pipe(
          Effect.catchTag("CatalogConflict", () => rebase.inTurn([table.toString()], rebased(branch))),
        )
      }
      return performance.now() - started
    }),
    { concurrency: "unbounded" },
  )
  const { rowCount } = (yield* catalog.table(mainRef, table))!
  if (rowCount !== writers * appends + 1) throw new Error(`${rowCount} rows on main, not ${writers * appends + 1}`)
  return {
    perSecond: (writers * appends) / ((performance.now() - started) / 1000),
    /** The last writer's time over the first one's: nobody starves. */
    spread: Math.max(...ends) / Math.min(...ends),
  }
})

/** A durable Postgres of its own with `tables` tables on main. */
const server = (folder: string, tables: number) =>
  Layer.effectDiscard(Effect.andThen(migrate(catalogMigrations), addTables(0, tables))).pipe(
    Layer.provideMerge(Rebase.layer),
    Layer.provideMerge(Layer.merge(PostgresCatalog.layer, IcebergTable.layer)),
    Layer.provideMerge(FileStore.layer({ root: join(folder, `store-${tables}`) })),
    Layer.provideMerge(Pg.layer),
    Layer.provide(PgConfig.layer(join(folder, `postgres-${tables}`))),
    Layer.fresh,
  )

export const bench: Bench = async ({ rounds, say, scale = 1 }) => {
  const tableCount = Math.round(manyTables * scale)
  const folder = await mkdtemp(join(tmpdir(), "rat-bench-"))
  const program = Effect.gen(function* () {
    const few = yield* Layer.build(server(folder, 10))
    const many = yield* Layer.build(server(folder, tableCount))
    const small: Array<number> = []
    const large: Array<number> = []
    const rates: Array<number> = []
    const pairsFew: Array<number> = []
    const pairsMany: Array<number> = []
    const published: Array<number> = []
    const hot: Array<Effect.Success<ReturnType<typeof hotTable>>> = []
    // In turns, so that a machine that slows down slows both down. The first round warms up.
    for (let round = 0; round <= rounds; round++) {
      const withFew = median(yield* Effect.provide(branchTimes(`branch-${round}`), few))
      const withMany = median(yield* Effect.provide(branchTimes(`branch-${round}`), many))
      const pairsWithFew = yield* Effect.provide(pairRate(`pair-${round}`), few)
      const pairsWithMany = yield* Effect.provide(pairRate(`pair-${round}`), many)
      if (round === 0) continue
      pairsFew.push(pairsWithFew)
      pairsMany.push(pairsWithMany)
      small.push(withFew)
      large.push(withMany)
      rates.push(yield* Effect.provide(mergeRate(`merge-${round}`, round + 1), many))
      published.push(yield* Effect.provide(publishRate(`publish-${round}`, 1000 + round), many))
      hot.push(yield* Effect.provide(hotTable(`hot-${round}`), few))
      say(
        `round ${round}: ${pairsWithFew.toFixed(0)} and ${pairsWithMany.toFixed(0)} branches/s, ${published.at(-1)!.toFixed(0)} publishes/s, ${hot.at(-1)!.perSecond.toFixed(0)} commits/s of a hot table`,
      )
      say(
        `round ${round}: branch ${withFew.toFixed(2)} ms with 10 tables, ${withMany.toFixed(2)} ms with ${tableCount}`,
      )
    }
    return { small, large, rates, pairsFew, pairsMany, published, hot }
  })
  try {
    const { small, large, rates, pairsFew, pairsMany, published, hot } = await Effect.runPromise(
      Effect.scoped(program).pipe(Effect.provideService(References.MinimumLogLevel, "Error")),
    )
    return [
      { name: "branch_create_ms_p50", value: median(large), unit: "ms", bar: 3, better: "less" },
      { name: "branch_create_10_tables_ms_p50", value: median(small), unit: "ms", bar: 3, better: "less" },
      {
        name: "branch_create_ratio_100k_to_10",
        value: median(large.map((ms, index) => ms / small[index]!)),
        unit: "ratio",
        bar: 1.2,
        better: "less",
      },
      { name: "merges_per_s", value: median(rates), unit: "1/s" },
      { name: "branches_per_s", value: median(pairsMany), unit: "1/s", bar: 2000, better: "more" },
      {
        name: "branches_ratio_10_to_100k",
        value: median(pairsFew.map((rate, index) => rate / pairsMany[index]!)),
        unit: "ratio",
        bar: 1.2,
        better: "less",
      },
      { name: "publishes_per_s", value: median(published), unit: "1/s", bar: 1000, better: "more" },
      {
        name: "hot_table_commits_per_s",
        value: median(hot.map(({ perSecond }) => perSecond)),
        unit: "1/s",
        bar: 50,
        better: "more",
      },
      { name: "hot_table_writer_spread", value: median(hot.map(({ spread }) => spread)), unit: "ratio" },
      ...(await restFigures({ rounds, say })),
    ]
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
