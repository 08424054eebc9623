/**
 * How much a noisy namespace moves a quiet one on the same node. The noisy one keeps its queue full of runs and has a heavy query
 * running all the time; the quiet one runs a small pipeline and asks a small question now and then. What counts is the quiet one's
 * p95 with noise over that without.
 */
import { setTimeout as delay } from "node:timers/promises"
import { type Bench, median, quantile } from "./Bench.ts"
import { type BenchServer, startBenchServer } from "./BenchServer.ts"

const quietRuns = 60
/** Time from one quiet run to the next, ms: it is quiet. */
const quietEveryMs = 250
const noisyPipelines = 100
/** Runs that the noisy namespace has pending, as far as the server takes them. */
const noisyPending = 1000

interface Times {
  readonly runs: ReadonlyArray<number>
  readonly queries: ReadonlyArray<number>
}

const push = (server: BenchServer, namespace: string, pipelines: ReadonlyArray<string>, sql: string) =>
  server.call("PUT", `/api/v1/projects/${namespace}`, {
    files: pipelines.map((name) => ({ path: `pipelines/silver/${name}/pipeline.sql`, content: sql })),
  })

const submit = (server: BenchServer, namespace: string, pipeline: string) =>
  server.call<{ run_id: string }>("POST", "/api/v1/runs", { namespace, layer: "silver", pipeline })

const query = async (server: BenchServer, namespace: string, sql: string, signal?: AbortSignal) => {
  const response = await fetch(`${server.url}/api/v1/query`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ namespace, sql }),
    ...(signal === undefined ? {} : { signal }),
  })
  const text = await response.text()
  // A heavy query may reach its time limit: it was heavy.
  if (!response.ok && response.status !== 504) throw new Error(`query in ${namespace}: ${response.status} ${text}`)
}

/** A quiet run (from its request until it has ended) and a quiet query at a time, ms. */
const quiet = async (server: BenchServer, count: number): Promise<Times> => {
  const runs: Array<number> = []
  const queries: Array<number> = []
  for (let index = 0; index < count; index++) {
    const sentAt = performance.now()
    const { run_id } = await submit(server, "quiet", "small")
    const { status } = await server.follow(run_id)
    if (status !== "success") throw new Error(`quiet run ${run_id} ended as ${status}`)
    runs.push(performance.now() - sentAt)
    const askedAt = performance.now()
    await query(server, "quiet", "select count(*), sum(i) from silver.small")
    queries.push(performance.now() - askedAt)
    await delay(Math.max(0, quietEveryMs - (performance.now() - sentAt)))
  }
  return { runs, queries }
}

/** Keeps the noisy namespace's queue full and one heavy query running until it is stopped; answers with how many runs it got in. */
const makeNoise = (server: BenchServer, namespace: string) => {
  const stopped = new AbortController()
  const { signal } = stopped
  let accepted = 0
  let refused = 0
  const flood = async (first: number) => {
    for (let index = first; !signal.aborted; index += 8) {
      const response = await fetch(`${server.url}/api/v1/runs`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ namespace, layer: "silver", pipeline: `p${index % noisyPipelines}` }),
      })
      await response.arrayBuffer()
      if (response.status === 202) accepted++
      else {
        refused++
        await delay(100 * Number(response.headers.get("retry-after") ?? 1))
      }
    }
  }
  const heavy = async () => {
    while (!signal.aborted) {
      await query(
        server,
        namespace,
        "select sum(hash(a.i * b.i)) from range(20000) a(i), range(20000) b(i)",
        signal,
      ).catch((error: unknown) => {
        if (!signal.aborted) throw error
      })
    }
  }
  const done = Promise.all([...Array.from({ length: 8 }, (_, index) => flood(index)), heavy()])
  return {
    stop: async () => {
      stopped.abort()
      await done
      return { accepted, refused }
    },
  }
}

const queueOf = (server: BenchServer, namespace: string) =>
  server.call<{ pending: number; running: number; started_last_minute: number }>(
    "GET",
    `/api/v1/namespaces/${namespace}/queue`,
  )

type What = "runs" | "queries"
const kinds: ReadonlyArray<What> = ["runs", "queries"]

/** The quiet namespace's p95 while the noisy one makes all the noise that it may, ms. */
const underNoise = async (
  server: BenchServer,
  namespace: string,
  maxRunning: number | null,
  say: (line: string) => void,
) => {
  const limit = (most: number | null) =>
    server.call("PUT", `/api/v1/namespaces/${namespace}/limits`, { max_running: most })
  const names = [...Array(noisyPipelines).keys()].map((index) => `p${index}`)
  await push(server, namespace, names, "select i, i * 2 as twice from range(100000) t(i)")
  await limit(maxRunning)
  const noise = makeNoise(server, namespace)
  while ((await queueOf(server, namespace)).pending < noisyPending * 0.9) await delay(100)
  const times = await quiet(server, quietRuns)
  const { started_last_minute: started } = await queueOf(server, namespace)
  const { accepted, refused } = await noise.stop()
  say(`  noise: ${accepted} runs accepted, ${refused} refused, ${started} started within a minute`)
  // What is left would be in the way of the next measurement.
  await limit(0)
  while ((await queueOf(server, namespace)).running > 0) await delay(100)
  return { runs: quantile(times.runs, 0.95), queries: quantile(times.queries, 0.95) }
}

export const bench: Bench = async ({ rounds, say }) => {
  const server = await startBenchServer({
    RAT_MAX_PENDING_PER_NAMESPACE: String(noisyPending),
    RAT_RUNS_MAX_PER_PIPELINE: "1000000",
  })
  try {
    await push(server, "quiet", ["small"], "select i from range(1000) t(i)")
    say("warming up")
    await quiet(server, 20)
    const p95: Record<"alone" | "noisy" | "limited", Record<What, Array<number>>> = {
      alone: { runs: [], queries: [] },
      noisy: { runs: [], queries: [] },
      limited: { runs: [], queries: [] },
    }
    for (let round = 1; round <= rounds; round++) {
      const alone = await quiet(server, quietRuns)
      const found = {
        alone: { runs: quantile(alone.runs, 0.95), queries: quantile(alone.queries, 0.95) },
        noisy: await underNoise(server, `noisy-${round}`, null, say),
        limited: await underNoise(server, `limited-${round}`, 1, say),
      }
      for (const when of ["alone", "noisy", "limited"] as const) {
        for (const what of kinds) p95[when][what].push(found[when][what])
        say(
          `round ${round}: quiet p95 ${when}: runs ${found[when].runs.toFixed(1)}, queries ${found[when].queries.toFixed(1)} ms`,
        )
      }
    }
    const ratio = (when: "noisy" | "limited", what: What) =>
      median(p95[when][what].map((value, round) => value / p95.alone[what][round]!))
    return [
      { name: "quiet_run_p95_ratio", value: ratio("noisy", "runs"), unit: "x", bar: 1.2, better: "less" },
      { name: "quiet_query_p95_ratio", value: ratio("noisy", "queries"), unit: "x", bar: 1.2, better: "less" },
      // With max_running of the noisy namespace set to 1, which is what an operator would do.
      { name: "quiet_run_p95_ratio_limited", value: ratio("limited", "runs"), unit: "x" },
      { name: "quiet_query_p95_ratio_limited", value: ratio("limited", "queries"), unit: "x" },
      ...(["alone", "noisy", "limited"] as const).flatMap((when) =>
        kinds.map((what) => ({ name: `quiet_${what}_p95_${when}_ms`, value: median(p95[when][what]), unit: "ms" })),
      ),
    ]
  } finally {
    await server.close()
  }
}
