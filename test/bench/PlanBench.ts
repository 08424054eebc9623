/**
 * Planning a scan of a table of 10,000 files with a selective predicate: cold (nothing of the table in memory) and warm (another
 * predicate on a table that was planned before), partitioned by day and not partitioned at all (bounds alone tell). Files are
 * described in manifests; their rows don't matter for planning.
 */
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { type DataFile, FileStore, IcebergTable, ObjectStore, ScanPlanner, type TableCommit } from "@rat/lakehouse"
import { Effect, Layer, References } from "effect"
import { type Bench, type BenchResult, median } from "./Bench.ts"

const files = 10_000
const commits = 100
const days = 100
const rowsOfFile = 100_000
const columns = ["id", "ts", "customer", "product", "amount", "quantity", "price", "discount", "tax", "score"]
const dayMicros = 86_400_000_000n
/** 2025-01-01 in days. */
const firstDay = 20_089n

const long = (value: bigint): Uint8Array => {
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setBigInt64(0, value, true)
  return bytes
}

/** File `index` holds one hundredth of a day; `id` rises with time, the other columns are spread over their range. */
const describe = (location: string, index: number, isPartitioned: boolean): DataFile => {
  const day = firstDay + BigInt(Math.floor(index / (files / days)))
  const part = BigInt(index % (files / days))
  const from = day * dayMicros + (part * dayMicros) / 100n
  const bounds = (shift: bigint): ReadonlyMap<number, Uint8Array> =>
    new Map(
      columns.map((_, column) => [
        column + 1,
        long(
          column === 0
            ? BigInt(index) * 100_000n + shift * 99_999n
            : column === 1
              ? from + shift * (dayMicros / 100n - 1n)
              : shift * 1_000_000n,
        ),
      ]),
    )
  const counts = (count: number) => new Map(columns.map((_, column) => [column + 1, count]))
  return {
    content: "data",
    filePath: `${location}/data/part-${index}.parquet`,
    specId: 0,
    partition: isPartitioned ? [day] : [],
    recordCount: rowsOfFile,
    fileSizeBytes: 4_000_000,
    columnSizes: counts(400_000),
    valueCounts: counts(rowsOfFile),
    nullValueCounts: counts(0),
    nanValueCounts: new Map(),
    lowerBounds: bounds(0n),
    upperBounds: bounds(1n),
  }
}

const makeTable = Effect.fn(function* (name: string, isPartitioned: boolean) {
  const tables = yield* IcebergTable
  const store = yield* ObjectStore
  const location = store.locationOf(`bench/silver/${name}`)
  const all = Array.from({ length: files }, (_, index) => describe(location, index, isPartitioned))
  let base: TableCommit | null = null
  for (let commit = 0; commit < commits; commit++) {
    const fields = columns.map((column, index) => ({
      id: index + 1,
      name: column,
      required: false,
      type: column === "ts" ? "timestamp" : "long",
    }))
    const made: TableCommit = yield* tables.commit({
      base,
      location,
      runId: `${name}-${commit}`,
      updates:
        base !== null
          ? []
          : [
              { action: "add-schema", schema: { schemaId: 0, fields, identifierFieldIds: [] } },
              { action: "set-current-schema", schemaId: -1 },
              ...(isPartitioned
                ? ([
                    {
                      action: "add-spec",
                      spec: { specId: 0, fields: [{ sourceId: 2, fieldId: 1000, name: "ts_day", transform: "day" }] },
                    },
                    { action: "set-default-spec", specId: -1 },
                  ] as const)
                : []),
            ],
      snapshot: {
        operation: "append",
        added: all.slice((commit * files) / commits, ((commit + 1) * files) / commits),
        addedDeletes: [],
        removed: new Set(),
        removedDeletes: new Set(),
      },
    })
    base = made
  }
  return base!.metadataLocation
})

/** One hour of one day, and an id: three files can match. */
const predicates = (round: number) => {
  const day = new Date(Date.UTC(2025, 0, 1 + 10 + round)).toISOString().slice(0, 10)
  return [
    { column: "ts", op: ">=", value: `${day} 06:00:00` },
    { column: "ts", op: "<", value: `${day} 06:30:00` },
  ] as const
}
/** 06:00 to 06:30 is 25.0 to 27.08 hundredths of the day. */
const matching = 3

export const bench: Bench = async ({ rounds, say }) => {
  const folder = await mkdtemp(join(tmpdir(), "rat-bench-plan-"))
  const store = FileStore.layer({ root: join(folder, "store") })
  const lakehouse = () =>
    Layer.fresh(ScanPlanner.layer.pipe(Layer.provideMerge(Layer.fresh(IcebergTable.layer)), Layer.provideMerge(store)))
  const run = <A, E>(effect: Effect.Effect<A, E, IcebergTable | ScanPlanner | ObjectStore>) =>
    Effect.runPromise(
      effect.pipe(
        Effect.provide(lakehouse()),
        Effect.provideService(References.MinimumLogLevel, "Error"),
        Effect.scoped,
      ),
    )
  try {
    const locations = await run(
      Effect.all({ partitioned: makeTable("days", true), unpartitioned: makeTable("flat", false) }),
    )
    const plan = Effect.fn(function* (location: string, round: number) {
      const planner = yield* ScanPlanner
      const started = performance.now()
      const { files: read, prunedFiles } = yield* planner.plan(location, { predicates: predicates(round) })
      const ms = performance.now() - started
      if (read.length + prunedFiles !== files) throw new Error(`${read.length} + ${prunedFiles} files, not ${files}`)
      return { ms, read: read.length }
    })
    const times: Record<string, Array<number>> = {}
    let mostRead = 0
    let heapMiB = 0
    const note = (name: string, { ms, read }: { readonly ms: number; readonly read: number }) => {
      times[name] = [...(times[name] ?? []), ms]
      mostRead = Math.max(mostRead, read)
    }
    for (const [name, location] of Object.entries(locations)) {
      // The first round warms the machine's code up, not the table.
      for (let round = -1; round < rounds; round++) {
        const before = process.memoryUsage().heapUsed
        await run(
          Effect.gen(function* () {
            const cold = yield* plan(location, round + 1)
            if (round < 0) return
            note(`${name}_cold`, cold)
            for (let again = 1; again <= 5; again++) note(`${name}_warm`, yield* plan(location, round + 1 + again))
            yield* (yield* ScanPlanner).plan(location)
            note(`${name}_all_warm`, yield* plan(location, round + 7))
            globalThis.gc?.()
            heapMiB = Math.max(heapMiB, (process.memoryUsage().heapUsed - before) / 2 ** 20)
          }),
        )
      }
      say(
        `${name}: cold ${median(times[`${name}_cold`]!).toFixed(1)} ms, warm ${median(times[`${name}_warm`]!).toFixed(1)} ms`,
      )
    }
    const of = (name: string) => median(times[name]!)
    const results: Array<BenchResult> = [
      {
        name: "plan_cold_ms",
        value: Math.max(of("partitioned_cold"), of("unpartitioned_cold")),
        unit: "ms",
        bar: 500,
        better: "less",
      },
      {
        name: "plan_warm_ms",
        value: Math.max(of("partitioned_warm"), of("unpartitioned_warm")),
        unit: "ms",
        bar: 30,
        better: "less",
      },
      { name: "plan_files_read_per_matching", value: mostRead / matching, unit: "ratio", bar: 1, better: "less" },
      ...Object.keys(times).map((name) => ({ name: `plan_${name}_ms`, value: of(name), unit: "ms" })),
      { name: "plan_heap_mib", value: heapMiB, unit: "MiB" },
    ]
    return results
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
