/**
 * 1,000 event streams on one node. Each event goes to each of them; what the node spends on it is compared with a bare server of
 * node:http that writes the same bytes to as many sockets, in the same run. Then a tenth of the clients stops reading.
 * `--sf` scales the number of streams.
 */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { PgClient } from "@effect/sql-pg"
import { Effect, Exit, Redacted, Scope } from "effect"
import { Reactivity } from "effect/reactivity"
import { type Bench, median, quantile } from "./Bench.ts"
import { type BenchServer, startBenchServer } from "./BenchServer.ts"
import { cpuTimes } from "./ProcessCpu.ts"
import { startRawSse } from "./RawSseServer.ts"
import { type Report, startReaders } from "./SseReaders.ts"

/** Events of a round, and their rate: one at a time, which is the dearest way to deliver them. */
const events = 150
const perSecond = 25

/** What clients that do not read are sent until neither their sockets nor the server's take more: 8 MB each. */
const bulk = { events: 64, bytes: 128 * 1024 }

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

/** Another node of the cluster: appends events and moves them to the log, so that the node under test only hears of them. */
const startWriter = async (server: BenchServer) => {
  const read = (name: string) => readFileSync(join(server.data, "postgres", name), "utf8").trim()
  const url = `postgres://rat:${read("password")}@127.0.0.1:${read("port")}/postgres`
  const scope = Scope.makeUnsafe()
  const sql = await Effect.runPromise(
    PgClient.make({ url: Redacted.make(url) }).pipe(
      Effect.provideService(Scope.Scope, scope),
      Effect.provide(Reactivity.layer),
    ),
  )
  return {
    append: (key: string, payload: unknown, many = 1) =>
      Effect.runPromise(
        sql`
          insert into outbox (key, type, namespace, payload)
          select ${key}, 'run.running', 'bench', ${JSON.stringify(payload)}::jsonb
          from generate_series(1, ${many}::integer)`.pipe(
          Effect.andThen(sql`select count(*) from event_relay(1000, 'bench')`),
        ),
      ),
    stop: () => Effect.runPromise(Scope.close(scope, Exit.void)),
  }
}

const payload = {
  run_id: "01a0b1c2-0000-7000-8000-000000000000",
  kind: "pipeline",
  status: "running",
  attempt: 1,
  trigger: "manual",
  layer: "silver",
  pipeline: "bench_orders",
  error: null,
  rows_written: null,
}

export const bench: Bench = async ({ rounds, say, scale = 1 }) => {
  const streams = Math.round(1000 * scale)
  const slow = Math.round(streams / 10)
  const limits = { RAT_STREAMS_PER_CLIENT: "100000", RAT_STREAMS_PER_NODE: "100000" }
  const server = await startBenchServer(limits)
  const raw = await startRawSse()
  const writer = await startWriter(server)
  const port = Number(new URL(server.url).port)
  const readers = startReaders()

  /** Waits until every reader has what was sent. */
  const arrived = async (count: number) => {
    const deadline = performance.now() + 60_000
    for (;;) {
      const report = await readers.command<Report>({ kind: "report" })
      if (report.fewest >= count) return report
      if (performance.now() > deadline) throw new Error(`only ${report.fewest} of ${count} events arrived everywhere`)
      await sleep(20)
    }
  }

  /** Sends events at the rate; CPU time of `pid` for each thousand deliveries, and what the readers saw. */
  const deliver = async (pid: number, send: () => Promise<unknown>) => {
    await readers.command({ kind: "reset" })
    const before = cpuTimes(pid).node
    const started = performance.now()
    for (let sent = 0; sent < events; sent++) {
      const wait = started + (sent * 1000) / perSecond - performance.now()
      if (wait > 0) await sleep(wait)
      await send()
    }
    const report = await arrived(events)
    const seconds = (performance.now() - started) / 1000
    const cpuMs = cpuTimes(pid).node - before
    return { ...report, cpuMs, perCpuSecond: (report.events * 1000) / cpuMs, perSecond: report.events / seconds }
  }

  /** Everything at once: what is delivered in a second when nobody paces it. */
  const flood = async (send: (many: number) => Promise<unknown>) => {
    await readers.command({ kind: "reset" })
    const started = performance.now()
    for (let sent = 0; sent < events; sent += 10) await send(10)
    const report = await arrived(events)
    return (report.events * 1000) / (performance.now() - started)
  }

  const ours: Array<number> = []
  const theirs: Array<number> = []
  const ratios: Array<number> = []
  const floods: Array<number> = []
  const rawFloods: Array<number> = []
  const delays: Array<number> = []
  try {
    await writer.append("frame", payload)
    const page = await server.call<{ events: Array<{ offset: string }> }>("GET", "/api/v1/events?key=frame")
    const [sample] = page.events
    const frame = `id: ${sample!.offset}\ndata: ${JSON.stringify(sample)}\n\n`

    for (let round = 0; round <= rounds; round++) {
      await readers.command({ kind: "open", port, path: "/api/v1/events", count: streams })
      const own = await deliver(server.pid, () => writer.append("live", payload))
      const ownFlood = await flood((many) => writer.append("live", payload, many))
      await readers.command({ kind: "close" })
      await readers.command({ kind: "open", port: raw.port, path: "/", count: streams })
      const bare = await deliver(raw.pid, () => raw.write(frame))
      const bareFlood = await flood((many) => raw.write(frame.repeat(many)))
      await readers.command({ kind: "close" })
      // The first one warms up.
      if (round === 0) continue
      ours.push(own.perCpuSecond)
      theirs.push(bare.perCpuSecond)
      ratios.push(own.perCpuSecond / bare.perCpuSecond)
      floods.push(ownFlood)
      rawFloods.push(bareFlood)
      delays.push(...own.delaysMs)
      say(
        `round ${round}: ${own.perCpuSecond.toFixed(0)} deliveries a CPU second, bare node ${bare.perCpuSecond.toFixed(0)}; ` +
          `unpaced ${ownFlood.toFixed(0)}/s, bare node ${bareFlood.toFixed(0)}/s; delay p99 ${quantile(own.delaysMs, 0.99).toFixed(1)} ms`,
      )
    }

    // A tenth of the clients takes everything, the others take what is live. First all read, then the tenth does not.
    await readers.command({ kind: "open", port, path: "/api/v1/events?namespace=bench", count: slow })
    await readers.command({ kind: "open", port, path: "/api/v1/events?key=live", count: streams - slow })
    const calm = await deliver(server.pid, () => writer.append("live", payload))
    await readers.command({ kind: "pause", from: 0, to: slow })
    const text = "x".repeat(bulk.bytes)
    const rssBefore = rssBytes(server.pid)
    for (let sent = 0; sent < bulk.events; sent++) await writer.append("bulk", { text })
    await sleep(500)
    const stuck = await deliver(server.pid, () => writer.append("live", payload))
    const rssGrowth = rssBytes(server.pid) - rssBefore
    const [p99Calm, p99Stuck] = [quantile(calm.delaysMs, 0.99), quantile(stuck.delaysMs, 0.99)]
    say(
      `${slow} clients stop reading: delay p99 of the others ${p99Calm.toFixed(1)} → ${p99Stuck.toFixed(1)} ms, ` +
        `memory + ${(rssGrowth / 2 ** 20).toFixed(0)} MB`,
    )
    return [
      { name: "sse_ratio_to_raw_node", value: median(ratios), unit: "×", bar: 0.7, better: "more" },
      { name: "sse_deliveries_per_cpu_s", value: median(ours), unit: "1/s" },
      { name: "raw_deliveries_per_cpu_s", value: median(theirs), unit: "1/s" },
      { name: "sse_unpaced_per_s", value: median(floods), unit: "1/s" },
      { name: "raw_unpaced_per_s", value: median(rawFloods), unit: "1/s" },
      { name: "sse_delay_ms_p50", value: median(delays), unit: "ms" },
      { name: "sse_delay_ms_p99", value: quantile(delays, 0.99), unit: "ms", bar: 100, better: "less" },
      { name: "delay_ms_p99_all_read", value: p99Calm, unit: "ms" },
      { name: "delay_ms_p99_slow_readers", value: p99Stuck, unit: "ms" },
      { name: "slow_readers_added_ms", value: Math.max(0, p99Stuck - p99Calm), unit: "ms", bar: 20, better: "less" },
      { name: "slow_readers_memory_mb", value: rssGrowth / 2 ** 20, unit: "MB", bar: 200, better: "less" },
    ]
  } finally {
    readers.stop()
    raw.stop()
    await writer.stop()
    await server.close()
  }
}

const rssBytes = (pid: number): number =>
  Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) * 1024
