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
  if (!response.ok) throw new Error(`query in ${namespace}: ${response.status} ${text}`)
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
const makeNoise = (server: BenchServer) => {
  const stopped = new AbortController()
  const { signal } = stopped
  let accepted = 0
  let refused = 0
  const flood = async (first: number) => {
    for (let index = first; !signal.aborted; index += 8) {
      const response = await fetch(`${server.url}/api/v1/runs`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ namespace: "noisy", layer: "silver", pipeline: `p${index % noisyPipelines}` }),
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
        "noisy",
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

const pendingOf = (server: BenchServer, namespace: string) =>
  server.call<{ pending: number; running: number }>("GET", `/api/v1/namespaces/${namespace}/queue`)

export const bench: Bench = async ({ rounds, say }) => {
  const server = await startBenchServer({
    RAT_MAX_PENDING_PER_NAMESPACE: String(noisyPending),
    RAT_RUNS_MAX_PER_PIPELINE: "1000000",
  })
  try {
    await push(server, "quiet", ["small"], "select i from range(1000) t(i)")
    const names = [...Array(noisyPipelines).keys()].map((index) => `p${index}`)
    await push(server, "noisy", names, "select i, i * 2 as twice from range(100000) t(i)")
    say("warming up")
    await quiet(server, 20)
    const ratios: Record<"runs" | "queries", Array<number>> = { runs: [], queries: [] }
    const p95: Record<"runs" | "queries", { alone: Array<number>; noisy: Array<number> }> = {
      runs: { alone: [], noisy: [] },
      queries: { alone: [], noisy: [] },
    }
    for (let round = 1; round <= rounds; round++) {
      const alone = await quiet(server, quietRuns)
      const noise = makeNoise(server)
      while ((await pendingOf(server, "noisy")).pending < noisyPending * 0.9) await delay(100)
      const noisy = await quiet(server, quietRuns)
      const { accepted, refused } = await noise.stop()
      for (;;) {
        const left = await pendingOf(server, "noisy")
        if (left.pending + left.running === 0) break
        await delay(250)
      }
      for (const what of ["runs", "queries"] as const) {
        const [without, with_] = [quantile(alone[what], 0.95), quantile(noisy[what], 0.95)]
        p95[what].alone.push(without)
        p95[what].noisy.push(with_)
        ratios[what].push(with_ / without)
      }
      say(
        `round ${round}: quiet p95 alone ${p95.runs.alone.at(-1)!.toFixed(1)} and ${p95.queries.alone.at(-1)!.toFixed(1)} ms (runs, queries), ` +
          `with noise ${p95.runs.noisy.at(-1)!.toFixed(1)} and ${p95.queries.noisy.at(-1)!.toFixed(1)} ms; ` +
          `the noisy namespace got ${accepted} runs in, ${refused} were refused`,
      )
    }
    return [
      { name: "quiet_run_p95_ratio", value: median(ratios.runs), unit: "x", bar: 1.2, better: "less" },
      { name: "quiet_query_p95_ratio", value: median(ratios.queries), unit: "x", bar: 1.2, better: "less" },
      { name: "quiet_run_p95_alone_ms", value: median(p95.runs.alone), unit: "ms" },
      { name: "quiet_run_p95_noisy_ms", value: median(p95.runs.noisy), unit: "ms" },
      { name: "quiet_query_p95_alone_ms", value: median(p95.queries.alone), unit: "ms" },
      { name: "quiet_query_p95_noisy_ms", value: median(p95.queries.noisy), unit: "ms" },
    ]
  } finally {
    await server.close()
  }
}
