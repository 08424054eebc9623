/**
 * Writing and publishing 10 M rows × 6 columns as a run, against DuckDB's plain `COPY` of the same query to one Parquet
 * file in a process of its own with the same threads and memory. The run's time is everything: submit, branch, write,
 * fsync, manifests, publish.
 */
import { readFileSync } from "node:fs"
import { rm } from "node:fs/promises"
import { availableParallelism } from "node:os"
import { join } from "node:path"
import { processTree } from "../support/RatProcess.ts"
import { type Bench, median } from "./Bench.ts"
import { nowMs, startBenchServer } from "./BenchServer.ts"
import { startRawDuckDb } from "./RawDuckDb.ts"

const rows = 10_000_000
const limitMiB = 1024
const query = `select
  i as id,
  (i * 7919) % 100000 as customer,
  ((i * 31) % 1000000) / 100.0 as amount,
  timestamp '2025-01-01' + interval (i % 31536000) second as ordered_at,
  'product ' || (i % 5000) as product,
  i % 3 = 0 as is_gift
from range(${rows}) t(i)`

/** Highest resident memory of any runner slot so far, in MiB. */
const peakSlotMiB = (pid: number) => {
  let peak = 0
  for (const member of processTree(pid)) {
    try {
      if (!readFileSync(`/proc/${member}/cmdline`, "utf8").includes("RunnerSlot")) continue
      const [, kib = "0"] = /VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${member}/status`, "utf8")) ?? []
      peak = Math.max(peak, Number(kib) / 1024)
    } catch {
      // It ended.
    }
  }
  return peak
}

export const bench: Bench = async ({ rounds, say }) => {
  const threads = availableParallelism()
  const server = await startBenchServer({
    RAT_RUNNER_MEMORY_LIMIT: `${limitMiB}MiB`,
    RAT_RUNNER_THREADS: String(threads),
  })
  const raw = startRawDuckDb({ memoryLimit: `${limitMiB}MiB`, threads })
  try {
    const pipeline = { layer: "silver", name: "orders" }
    await server.push([{ ...pipeline, sql: query }])
    const target = join(server.data, "plain.parquet")
    const plain: Array<number> = []
    const published: Array<number> = []
    for (let round = 0; round <= rounds; round++) {
      const copyMs = await raw.time(`copy (${query}) to '${target}' (format parquet)`)
      await rm(target)
      const sentAt = nowMs()
      const { status, seenAt } = await server.follow(await server.submit(pipeline))
      if (status !== "success") throw new Error(`the run ended with ${status}`)
      // The first round warms both up.
      if (round === 0) continue
      plain.push(copyMs)
      published.push(seenAt - sentAt)
      say(`round ${round}: COPY ${copyMs.toFixed(0)} ms, published ${(seenAt - sentAt).toFixed(0)} ms`)
    }
    return [
      {
        name: "write_ratio_to_copy",
        value: median(published.map((ms, index) => ms / plain[index]!)),
        unit: "ratio",
        bar: 1.15,
        better: "less",
      },
      { name: "write_published_ms", value: median(published), unit: "ms" },
      { name: "write_plain_copy_ms", value: median(plain), unit: "ms" },
      {
        // The engine's limit plus what a Node process with DuckDB loaded needs by itself.
        name: "write_peak_slot_mib",
        value: peakSlotMiB(server.pid),
        unit: "MiB",
        bar: limitMiB + 256,
        better: "less",
      },
    ]
  } finally {
    raw.close()
    await server.close()
  }
}
