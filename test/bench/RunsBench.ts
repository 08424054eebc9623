/**
 * Throughput, latency and cost of the run lifecycle over HTTP: submit, queue, claim, slot, status, events. A no-op run passes
 * through all of it without a table: accepted, claimed and ended are its three durable steps. A SQL run writes 1,000 rows, runs one
 * quality test and is published. With `--peers`, systems for durable workflows execute three steps that do nothing beside it.
 */
import { type Bench, type BenchResult, median, quantile } from "./Bench.ts"
import { type BenchServer, startBenchServer } from "./BenchServer.ts"
import { startDbos, startGraphile } from "./peers/DatabasePeers.ts"
import { inWindow, type Peer } from "./peers/Peer.ts"
import { startRestate } from "./peers/RestatePeer.ts"
import { batch, chainStepMs, commitCounter, drained, type RunCosts, startTimes, width } from "./RunLoad.ts"

const noopRuns = 1000
const sqlPipelines = 20
const sqlRuns = 100
const latencyRuns = 100
const statusRuns = 20
const chainSteps = 40
/** Of each system, in each round. */
const windowMs = 4_000

const pushed = async (server: BenchServer) => {
  const pipelines = [...Array(sqlPipelines).keys()].map((index) => ({
    layer: "silver",
    name: `bench_${index}`,
    sql: "select i as id, i * 2 as twice, 'name ' || i as name from range(1000) t(i)",
    tests: { id_not_null: "select * from {{ this }} where id is null" },
  }))
  const chain = [...Array(chainSteps).keys()].map((step) => ({
    layer: "silver",
    name: `chain_${step}`,
    sql:
      step === 0
        ? "select 1 as step, 0 as sum"
        : `select step + 1 as step, sum + step as sum from {{ ref('silver.chain_${step - 1}') }}`,
  }))
  await server.push([...pipelines, ...chain])
  return { pipelines, chain }
}

/** Ours as one of the peers: requests over HTTP, then the rest of the queue. */
const ours = (server: BenchServer, noop: () => Promise<unknown>): Peer => ({
  name: "noop",
  pids: () => [server.pid],
  run: async (ms, callers) => {
    const started = performance.now()
    const { count } = await inWindow(ms, callers, noop)
    await drained(server)
    return { count, ms: performance.now() - started }
  },
  close: server.close,
})

/** What each system finishes in a second, in turn in each round, after a window to warm up. */
const compare = async (peers: ReadonlyArray<Peer>, rounds: number, say: (line: string) => void) => {
  const rates = new Map(peers.map(({ name }) => [name, [] as Array<number>]))
  for (let round = 0; round <= rounds; round++) {
    for (const peer of peers) {
      const { count, ms } = await peer.run(round === 0 ? windowMs / 2 : windowMs, width)
      if (round > 0) rates.get(peer.name)!.push((count * 1_000) / ms)
    }
    if (round > 0)
      say(`peers ${round}: ${[...rates].map(([name, all]) => `${name} ${all.at(-1)?.toFixed(0)}/s`).join(", ")}`)
  }
  return rates
}

const peerResults = async (
  server: BenchServer,
  noop: () => Promise<unknown>,
  rounds: number,
  say: (line: string) => void,
) => {
  const peers: Array<Peer> = []
  try {
    for (const start of [startRestate, startDbos, () => startGraphile(width)]) {
      const peer = await start()
      if ("reason" in peer) say(`left out: ${peer.reason}`)
      else peers.push(peer)
    }
    const rates = await compare([ours(server, noop), ...peers], rounds, say)
    const results: Array<BenchResult> = [...rates].map(([name, all]) => ({
      name: name === "noop" ? "noop_per_s" : `${name}_per_s`,
      value: median(all),
      unit: "1/s",
    }))
    const restate = rates.get("restate")
    if (restate === undefined) return results
    const ratios = rates.get("noop")!.map((rate, round) => rate / restate[round]!)
    return [
      ...results,
      { name: "noop_ratio_to_restate", value: median(ratios), unit: "", bar: 2, better: "more" as const },
    ]
  } finally {
    for (const peer of peers) await peer.close()
  }
}

const costResults = (kind: string, costs: ReadonlyArray<RunCosts>): ReadonlyArray<BenchResult> => {
  const middle = (of: (cost: RunCosts) => number) => median(costs.map(of))
  return [
    { name: `${kind}_cpu_ms_per_run`, value: middle(({ cpu }) => cpu.total), unit: "ms" },
    { name: `${kind}_cpu_ms_node`, value: middle(({ cpu }) => cpu.node), unit: "ms" },
    { name: `${kind}_cpu_ms_slots`, value: middle(({ cpu }) => cpu.slots), unit: "ms" },
    { name: `${kind}_cpu_ms_postgres`, value: middle(({ cpu }) => cpu.postgres), unit: "ms" },
    { name: `${kind}_commits_per_run`, value: middle(({ commits }) => commits), unit: "" },
  ]
}

export const bench: Bench = async ({ rounds, say, peers }) => {
  // Retention would remove finished runs while they are being counted.
  const server = await startBenchServer({ RAT_RUNS_MAX_PER_PIPELINE: "1000000", RAT_MAX_PENDING_PER_PIPELINE: "1000" })
  const counter = await commitCounter(server)
  try {
    const { chain, pipelines } = await pushed(server)
    const noop = () => server.call("POST", "/api/v1/runs", { namespace: "default", kind: "noop" })
    const sql = (index: number) => server.submit(pipelines[index % sqlPipelines]!)
    say("warming up")
    await batch(server, counter, 200, noop)
    await batch(server, counter, 2 * sqlPipelines, sql)
    await chainStepMs(server, chain)

    const noopCosts: Array<RunCosts> = []
    const sqlCosts: Array<RunCosts> = []
    const starts: Array<number> = []
    const statuses: Array<number> = []
    const steps: Array<number> = []
    for (let round = 1; round <= rounds; round++) {
      noopCosts.push(await batch(server, counter, noopRuns, noop))
      sqlCosts.push(await batch(server, counter, sqlRuns, sql))
      const half = median(sqlCosts.map(({ perSecond }) => perSecond)) / 2
      starts.push(...(await startTimes(server, latencyRuns, half, sql)))
      for (let index = 0; index < statusRuns; index++) {
        const runId = await sql(index)
        const { seenAt } = await server.follow(runId)
        const run = await server.call<{ finished_at: string }>("GET", `/api/v1/runs/${runId}`)
        statuses.push(seenAt - Date.parse(run.finished_at))
      }
      steps.push(await chainStepMs(server, chain))
      say(
        `round ${round}: ${noopCosts.at(-1)?.perSecond.toFixed(0)} no-op runs/s (${noopCosts.at(-1)?.cpu.total.toFixed(1)} CPU-ms), ` +
          `${sqlCosts.at(-1)?.perSecond.toFixed(1)} SQL runs/s (${sqlCosts.at(-1)?.cpu.total.toFixed(1)} CPU-ms), ` +
          `start ${median(starts).toFixed(1)} ms, status ${median(statuses).toFixed(1)} ms, chain ${steps.at(-1)?.toFixed(1)} ms`,
      )
    }
    const others = peers === true ? await peerResults(server, noop, rounds, say) : []
    const perSecond = (costs: ReadonlyArray<RunCosts>) => median(costs.map((cost) => cost.perSecond))
    return [
      { name: "noop_runs_per_s", value: perSecond(noopCosts), unit: "1/s", bar: 200, better: "more" },
      ...others,
      { name: "sql_runs_per_s", value: perSecond(sqlCosts), unit: "1/s", bar: 100, better: "more" },
      { name: "submit_to_start_ms_p50", value: median(starts), unit: "ms", bar: 10, better: "less" },
      { name: "submit_to_start_ms_p99", value: quantile(starts, 0.99), unit: "ms", bar: 40, better: "less" },
      { name: "status_to_sse_ms_p50", value: median(statuses), unit: "ms", bar: 20, better: "less" },
      { name: "status_to_sse_ms_p95", value: quantile(statuses, 0.95), unit: "ms" },
      { name: "chain_step_ms", value: median(steps), unit: "ms", bar: 20, better: "less" },
      ...costResults("noop", noopCosts),
      ...costResults("sql", sqlCosts),
    ]
  } finally {
    await counter.close()
    await server.close()
  }
}
