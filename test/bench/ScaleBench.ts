/**
 * What more runner processes bring: runs that wait 50 ms on one and on four of them, and how evenly a long queue drains. Real
 * processes, one durable Postgres; times are those of the rows, so that looking on costs nothing.
 */
import { type Bench, inParallel, median } from "./Bench.ts"
import { type BenchCluster, startBenchCluster } from "./BenchCluster.ts"

const waitMs = 50
const slotsPerRunner = 4
/** Seconds of even load that are looked at, after those in which it settles. */
const settleSeconds = 2
const windowSeconds = 6
const queued = 10_000
/** Sessions of Postgres tell of their transactions at most this often, ms. */
const statisticsMs = 1_200

const delay = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

const namespace = "default"

const submit = (cluster: BenchCluster, count: number, parameters: Record<string, number>) =>
  inParallel([...Array(count).keys()], 32, async () => {
    await cluster.call("POST", "/api/v1/runs", { namespace, kind: "noop", parameters })
  })

/** With 0 nothing of the namespace begins: a queue can be made without anybody taking from it. */
const setRunning = (cluster: BenchCluster, most: number | null) =>
  cluster.call("PUT", `/api/v1/namespaces/${namespace}/limits`, { max_running: most })

const open = async (cluster: BenchCluster) => {
  const [row] = await cluster.database.rows<{ open: number }>(
    "select count(*)::integer as open from run where status in ('queued', 'running')",
  )
  return row!.open
}

const drained = async (cluster: BenchCluster) => {
  while ((await open(cluster)) > 0) await delay(100)
}

const commits = async (cluster: BenchCluster) => {
  const [row] = await cluster.database.rows<{ commits: unknown }>(
    "select xact_commit as commits from pg_stat_database where datname = current_database()",
  )
  return Number(row!.commits)
}

/** Runs per second and transactions per run while a queue that is long enough drains. */
const steady = async (cluster: BenchCluster, runners: number) => {
  const most = (runners * slotsPerRunner * 1000) / waitMs
  await setRunning(cluster, 0)
  await submit(cluster, Math.ceil(most * (settleSeconds + windowSeconds + statisticsMs / 500)), { wait_ms: waitMs })
  await setRunning(cluster, null)
  await delay(settleSeconds * 1000)
  const before = { at: Date.now(), commits: await commits(cluster) }
  await delay(windowSeconds * 1000)
  const after = { at: Date.now(), commits: await commits(cluster) }
  const [row] = await cluster.database.rows<{ ended: number }>(
    "select count(*)::integer as ended from run where status = 'succeeded' and finished_at >= $1 and finished_at < $2",
    [new Date(before.at), new Date(after.at)],
  )
  await drained(cluster)
  const { ended } = row!
  return {
    perSecond: (ended * 1000) / (after.at - before.at),
    commitsPerRun: (after.commits - before.commits) / ended,
  }
}

/** Rate at which the last fifth of a queue ended over that of the first; the very ends of it are left out. */
const drain = async (cluster: BenchCluster) => {
  await setRunning(cluster, 0)
  await submit(cluster, queued, {})
  const begun = Date.now()
  await setRunning(cluster, null)
  await drained(cluster)
  const rows = await cluster.database.rows<{ ms: number }>(
    "select (extract(epoch from finished_at) * 1000)::float8 as ms from run where finished_at >= $1 order by finished_at",
    [new Date(begun)],
  )
  if (rows.length !== queued) throw new Error(`${rows.length} of ${queued} runs ended`)
  const rate = (from: number, to: number) =>
    ((to - from) * queued) / (rows[Math.floor(to * queued)]!.ms - rows[Math.floor(from * queued)]!.ms)
  return {
    lastToFirst: rate(0.75, 0.95) / rate(0.05, 0.25),
    perSecond: (queued * 1000) / (rows.at(-1)!.ms - begun),
  }
}

export const bench: Bench = async ({ rounds, say }) => {
  const ones: Array<number> = []
  const fours: Array<number> = []
  const commitsOne: Array<number> = []
  const commitsFour: Array<number> = []
  const drains: Array<number> = []
  const drainRates: Array<number> = []
  for (let round = 1; round <= rounds; round++) {
    const cluster = await startBenchCluster(slotsPerRunner)
    try {
      await cluster.runners(1)
      const one = await steady(cluster, 1)
      await cluster.runners(4)
      const four = await steady(cluster, 4)
      const { lastToFirst, perSecond } = await drain(cluster)
      ones.push(one.perSecond)
      fours.push(four.perSecond)
      commitsOne.push(one.commitsPerRun)
      commitsFour.push(four.commitsPerRun)
      drains.push(lastToFirst)
      drainRates.push(perSecond)
      say(
        `round ${round}: ${one.perSecond.toFixed(1)} and ${four.perSecond.toFixed(1)} runs/s on 1 and 4 runners, ` +
          `${one.commitsPerRun.toFixed(2)} and ${four.commitsPerRun.toFixed(2)} commits a run; ` +
          `${queued} queued: ${perSecond.toFixed(0)} runs/s, last to first ${lastToFirst.toFixed(2)}`,
      )
    } finally {
      await cluster.close()
    }
  }
  return [
    {
      name: "scale_1_to_4",
      value: median(fours.map((four, index) => four / ones[index]!)),
      unit: "x",
      bar: 3.8,
      better: "more",
    },
    { name: "runs_per_s_1", value: median(ones), unit: "1/s" },
    { name: "runs_per_s_4", value: median(fours), unit: "1/s" },
    { name: "commits_per_run_1", value: median(commitsOne), unit: "" },
    { name: "commits_per_run_4", value: median(commitsFour), unit: "" },
    { name: "drain_last_to_first", value: median(drains), unit: "x", bar: 0.9, better: "more" },
    { name: "drain_runs_per_s", value: median(drainRates), unit: "1/s" },
  ]
}
