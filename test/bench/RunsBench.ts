/**
 * Throughput and latency of the run lifecycle over HTTP: submit, queue, claim, slot, status, events. A no-op run passes
 * through all of it without a table; a SQL run writes 1,000 rows, runs one quality test and is published.
 */
import { type Bench, inParallel, median, quantile } from "./Bench.ts"
import { type BenchServer, nowMs, startBenchServer } from "./BenchServer.ts"

const noopRuns = 1000
const sqlPipelines = 20
const sqlRuns = 100
const latencyRuns = 30

interface Listed {
  readonly total: number
}

/** Waits until nothing is pending or running. */
const drained = async (server: BenchServer) => {
  for (;;) {
    let open = 0
    for (const status of ["pending", "running"]) {
      open += (await server.call<Listed>("GET", `/api/v1/runs?status=${status}&limit=1`)).total
    }
    if (open === 0) return
    await new Promise((resolve) => setTimeout(resolve, 25))
  }
}

const succeeded = async (server: BenchServer) =>
  (await server.call<Listed>("GET", "/api/v1/runs?status=success&limit=1")).total

/** Runs per second of a batch: from the first request until the last run has ended. */
const rate = async (server: BenchServer, count: number, submit: (index: number) => Promise<unknown>) => {
  const before = await succeeded(server)
  const started = performance.now()
  await inParallel([...Array(count).keys()], 16, async (index) => {
    await submit(index)
  })
  await drained(server)
  const seconds = (performance.now() - started) / 1000
  const done = (await succeeded(server)) - before
  if (done !== count) throw new Error(`${count - done} of ${count} runs did not succeed`)
  return count / seconds
}

export const bench: Bench = async ({ rounds, say }) => {
  // Retention would remove finished runs while they are being counted.
  const server = await startBenchServer({ RAT_RUNS_MAX_PER_PIPELINE: "1000000" })
  try {
    const pipelines = [...Array(sqlPipelines).keys()].map((index) => ({ layer: "silver", name: `bench_${index}` }))
    await server.push(
      pipelines.map((pipeline) => ({
        ...pipeline,
        sql: "select i as id, i * 2 as twice, 'name ' || i as name from range(1000) t(i)",
        tests: { id_not_null: "select * from {{ this }} where id is null" },
      })),
    )
    const noop = () => server.call("POST", "/api/v1/runs", { namespace: "default", kind: "noop" })
    const sql = (index: number) => server.submit(pipelines[index % sqlPipelines]!)
    say("warming up")
    await rate(server, 200, noop)
    await rate(server, sqlPipelines, sql)

    const noopRates: Array<number> = []
    const sqlRates: Array<number> = []
    const starts: Array<number> = []
    const statuses: Array<number> = []
    for (let round = 1; round <= rounds; round++) {
      noopRates.push(await rate(server, noopRuns, noop))
      sqlRates.push(await rate(server, sqlRuns, sql))
      for (let index = 0; index < latencyRuns; index++) {
        const sentAt = nowMs()
        const runId = await sql(index)
        const { seenAt } = await server.follow(runId)
        const run = await server.call<{ finished_at: string }>("GET", `/api/v1/runs/${runId}`)
        const { logs } = await server.call<{ logs: Array<{ timestamp: string; phase?: string }> }>(
          "GET",
          `/api/v1/runs/${runId}/logs`,
        )
        const started = logs.find(({ phase }) => phase === "execute")
        if (started === undefined) throw new Error(`run ${runId} has no log line of the phase "execute"`)
        starts.push(Date.parse(started.timestamp) - sentAt)
        statuses.push(seenAt - Date.parse(run.finished_at))
      }
      say(
        `round ${round}: ${noopRates.at(-1)?.toFixed(0)} no-op runs/s, ${sqlRates.at(-1)?.toFixed(1)} SQL runs/s, ` +
          `start ${median(starts).toFixed(1)} ms, status ${median(statuses).toFixed(1)} ms`,
      )
    }
    return [
      { name: "noop_runs_per_s", value: median(noopRates), unit: "1/s", bar: 200, better: "more" },
      { name: "sql_runs_per_s", value: median(sqlRates), unit: "1/s", bar: 25, better: "more" },
      { name: "submit_to_start_ms_p50", value: median(starts), unit: "ms", bar: 15, better: "less" },
      { name: "submit_to_start_ms_p95", value: quantile(starts, 0.95), unit: "ms" },
      { name: "status_to_sse_ms_p50", value: median(statuses), unit: "ms", bar: 20, better: "less" },
      { name: "status_to_sse_ms_p95", value: quantile(statuses, 0.95), unit: "ms" },
    ]
  } finally {
    await server.close()
  }
}
