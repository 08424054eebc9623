/**
 * Changing few rows of a large table: 1 K of 10 M rows × 6 columns, the keys spread over the whole table, against rewriting it with
 * DuckDB, against deltalake and PyIceberg doing the same upsert; 100 K of 10 M; 1 M of 100 M narrow rows under a memory limit;
 * and what 1,000 small merges do to a scan. A merge's time is everything between the query and the catalog: stage, find, write,
 * fsync, manifests.
 */
import { execFile } from "node:child_process"
import { readFileSync, writeFileSync } from "node:fs"
import { mkdtemp, rm } from "node:fs/promises"
import { availableParallelism, tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import {
  compact,
  defaultCompaction,
  Engine,
  FileStore,
  IcebergTable,
  ScanPlanner,
  type TableVersion,
} from "@rat/lakehouse"
import { Effect, Layer, Ref, References } from "effect"
import { pyIceberg } from "../interop/Install.ts"
import { type Bench, type BenchResult, median } from "./Bench.ts"
import { deltaLake } from "./DeltaLakeInstall.ts"
import { benchEngine, mergeInto, scanMs } from "./MergeTable.ts"

/** For trying the bench itself out: parts of the sizes. */
const scale = Number(process.env.MERGE_BENCH_SCALE ?? 1)
const rows = 10_000_000 * scale
const changed = 1_000
const many = 100_000 * scale
const hugeRows = 100_000_000 * scale
const hugeChanged = 1_000_000 * scale
const smallMerges = 1_000
const rowsOfSmallMerge = 100
const memoryLimit = "768MiB"
const hugeMemoryMiB = 1024

const rowsOf = (ids: string, version: number) => `select
  i as id,
  (i * 7919 + ${version}) % 100000 as customer,
  ((i * 31 + ${version}) % 1000000) / 100.0 as amount,
  timestamp '2025-01-01' + interval (i % 31536000) second as ordered_at,
  'product ' || ((i + ${version}) % 5000) as product,
  i % 3 = 0 as is_gift
from (${ids}) t(i)`
/** `count` of the first `of` ids, spread over all of them. */
const spread = (count: number, of: number, from = 17) =>
  `select (i * ${Math.floor(of / count)} + ${from}) from range(${count}) r(i)`

const peakMiB = () => Number(/VmHWM:\s+(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? 0) / 1024
/** Forgets the highest memory so far (Linux). */
const forgetPeak = () => writeFileSync("/proc/self/clear_refs", "5")

const pythonMs = async (python: string, ...args: ReadonlyArray<string>): Promise<number> => {
  const { stdout } = await promisify(execFile)(python, [join(import.meta.dirname, "merge_others.py"), ...args])
  return median(stdout.trim().split("\n").map(Number))
}

const sizeOf = (files: ReadonlyArray<{ readonly fileSizeBytes: number }>) =>
  files.reduce((sum, { fileSizeBytes }) => sum + fileSizeBytes, 0)

const program = (folder: string, rounds: number, say: (line: string) => void) =>
  Effect.gen(function* () {
    const engine = yield* Engine
    const results: Array<BenchResult> = []
    const add = (result: BenchResult) => {
      results.push(result)
      say(`${result.name} ${result.value.toPrecision(4)} ${result.unit}`)
    }
    const base = yield* mergeInto({
      name: "orders",
      base: null,
      strategy: "full_refresh",
      query: rowsOf(`from range(${rows})`, 0),
    })
    const changes = rowsOf(spread(changed, rows), 1)

    const ours: Array<number> = []
    const rewritten: Array<number> = []
    let bytes = 0
    for (let round = 0; round <= rounds; round++) {
      const started = performance.now()
      const made = yield* mergeInto({ name: "orders", base, strategy: "incremental", query: changes })
      const ms = performance.now() - started
      const plan = yield* Effect.flatMap(ScanPlanner, (planner) => planner.plan(base.metadataLocation))
      const pathOf = yield* engine.readable(plan.locations)
      const target = join(folder, "rewritten.parquet")
      const from = performance.now()
      yield* engine.run(
        `copy (select * from (${plan.relation(pathOf)}) o anti join (${changes}) n on o.id = n.id union all ${changes}) to '${target}' (format parquet)`,
      )
      const rewriteMs = performance.now() - from
      bytes = sizeOf([...made.merged.snapshot!.added, ...made.merged.snapshot!.addedDeletes])
      if (made.merged.rows.removed !== changed) throw new Error(`${made.merged.rows.removed} rows were replaced`)
      // The first round warms both up.
      if (round === 0) continue
      ours.push(ms)
      rewritten.push(rewriteMs)
      say(`round ${round}: merge ${ms.toFixed(0)} ms, rewrite ${rewriteMs.toFixed(0)} ms`)
    }
    const mergeMs = median(ours)
    add({ name: "merge_ms", value: mergeMs, unit: "ms" })
    add({
      name: "merge_bytes_percent",
      value: (100 * bytes) / base.totals.sizeBytes,
      unit: "%",
      bar: 0.02,
      better: "less",
    })
    add({
      name: "merge_speedup_over_rewrite",
      value: median(rewritten.map((ms, index) => ms / ours[index]!)),
      unit: "x",
      bar: 12,
      better: "more",
    })

    const basePath = join(folder, "base.parquet")
    const changesPath = join(folder, "changes.parquet")
    yield* engine.run(`copy (${rowsOf(`from range(${rows})`, 0)}) to '${basePath}' (format parquet)`)
    yield* engine.run(`copy (${changes}) to '${changesPath}' (format parquet)`)
    for (const [name, bar, install, tries] of [
      ["deltalake", 5, deltaLake, 3],
      ["pyiceberg", 100, pyIceberg, 1],
    ] as const) {
      const found = yield* Effect.promise(install)
      if ("reason" in found) {
        say(`merge_speedup_over_${name} is left out: ${found.reason}`)
        continue
      }
      const ms = yield* Effect.promise(() =>
        pythonMs(found.python, name, basePath, changesPath, join(folder, name), String(tries)),
      )
      add({ name: `merge_${name}_ms`, value: ms, unit: "ms" })
      add({ name: `merge_speedup_over_${name}`, value: ms / mergeMs, unit: "x", bar, better: "more" })
    }

    const started = performance.now()
    yield* mergeInto({ name: "orders", base, strategy: "incremental", query: rowsOf(spread(many, rows), 1) })
    add({ name: "merge_100k_of_10m_ms", value: performance.now() - started, unit: "ms" })

    for (const formatVersion of [2, 3] as const) {
      const name = `small_v${formatVersion}`
      const fresh = yield* mergeInto({
        name,
        base: null,
        strategy: "full_refresh",
        query: rowsOf(`from range(${rows})`, 0),
        formatVersion,
      })
      let table: TableVersion = fresh
      const times: Array<number> = []
      for (let index = 0; index < smallMerges; index++) {
        // Half of the rows are new, the other half are spread over what is there.
        const old = `select i from (${spread(rowsOfSmallMerge / 2, rows, index * 13)}) r(i)`
        const added = `select ${rows} + ${index} * 50 + i from range(${rowsOfSmallMerge / 2}) r(i)`
        const from = performance.now()
        table = yield* mergeInto({
          name,
          base: table,
          strategy: "incremental",
          query: rowsOf(`${old} union all ${added}`, index + 1),
        })
        times.push(performance.now() - from)
        if (index % 100 === 99) say(`${index + 1} small merges: ${median(times.slice(-100)).toFixed(1)} ms each`)
      }
      const files = yield* Effect.flatMap(IcebergTable, (tables) => tables.files(table.metadata))
      say(`${files.data.length} data files, ${files.deletes.length} delete files (v${formatVersion})`)
      // The same rows as one fresh table.
      const plan = yield* Effect.flatMap(ScanPlanner, (planner) => planner.plan(table.metadataLocation))
      const pathOf = yield* engine.readable(plan.locations)
      const single = yield* mergeInto({
        name: `${name}_fresh`,
        base: null,
        strategy: "full_refresh",
        query: plan.relation(pathOf),
      })
      const ratios: Array<number> = []
      for (let round = 0; round <= rounds; round++) {
        const before = yield* scanMs(single.metadataLocation)
        const after = yield* scanMs(table.metadataLocation)
        if (round > 0) ratios.push(after / before)
      }
      const suffix = formatVersion === 2 ? "" : "_v3"
      add({ name: `scan_ratio_after_merges${suffix}`, value: median(ratios), unit: "ratio", bar: 1.5, better: "less" })
      add({ name: `small_merge_ms${suffix}`, value: median(times), unit: "ms" })
      // Everything that deletes concern is rewritten.
      const pointer = yield* Ref.make(table.metadataLocation)
      const compacted = yield* compact({
        head: {
          current: Ref.get(pointer),
          move: (from, next) =>
            Ref.modify(pointer, (now) => (now === from ? [true, next.metadataLocation] : [false, now])),
        },
        id: `${name}-compaction`,
        settings: { ...defaultCompaction, minInputFiles: 2, deleteFileThreshold: 1 },
        engine: Effect.succeed(engine),
      })
      say(`compaction: ${compacted.filesBefore} files became ${compacted.filesAfter}`)
      const compactRatios: Array<number> = []
      for (let round = 0; round <= rounds; round++) {
        const before = yield* scanMs(single.metadataLocation)
        const after = yield* scanMs(yield* Ref.get(pointer))
        if (round > 0) compactRatios.push(after / before)
      }
      add({
        name: `scan_ratio_after_compaction${suffix}`,
        value: median(compactRatios),
        unit: "ratio",
        bar: 1.05,
        better: "less",
      })
    }
    return results
  })

const hugeProgram = (say: (line: string) => void) =>
  Effect.gen(function* () {
    const narrow = (ids: string, version: number) => `select i as id, (i + ${version}) % 1000 as v from (${ids}) t(i)`
    const base = yield* mergeInto({
      name: "narrow",
      base: null,
      strategy: "full_refresh",
      query: narrow(`from range(${hugeRows})`, 0),
    })
    forgetPeak()
    const started = performance.now()
    yield* mergeInto({ name: "narrow", base, strategy: "incremental", query: narrow(spread(hugeChanged, hugeRows), 1) })
    const ms = performance.now() - started
    const peak = peakMiB()
    say(`1 M of 100 M: ${ms.toFixed(0)} ms, ${peak.toFixed(0)} MiB`)
    return [
      { name: "merge_1m_of_100m_ms", value: ms, unit: "ms" },
      { name: "merge_1m_of_100m_peak_mib", value: peak, unit: "MiB", bar: hugeMemoryMiB, better: "less" },
    ] satisfies ReadonlyArray<BenchResult> as ReadonlyArray<BenchResult>
  })

export const bench: Bench = async ({ rounds, say }) => {
  const folder = await mkdtemp(join(tmpdir(), "rat-bench-merge-"))
  const run = <A, E>(
    part: string,
    limit: string,
    effect: (
      own: string,
    ) => Effect.Effect<A, E, Engine | ScanPlanner | IcebergTable | Layer.Success<ReturnType<typeof FileStore.layer>>>,
  ) => {
    const own = join(folder, part)
    const tables = ScanPlanner.layer.pipe(
      Layer.provideMerge(IcebergTable.layer),
      Layer.provideMerge(FileStore.layer({ root: join(own, "store") })),
    )
    return effect(own).pipe(
      Effect.provide(benchEngine(own, limit, availableParallelism()).pipe(Layer.provideMerge(tables))),
      Effect.provideService(References.MinimumLogLevel, "Error"),
      Effect.scoped,
      Effect.runPromise,
    )
  }
  try {
    return [
      // First: the memory of a process that has done nothing else.
      ...(await run("huge", memoryLimit, () => hugeProgram(say))),
      ...(await run("orders", "4GiB", (own) => program(own, rounds, say))),
    ]
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
