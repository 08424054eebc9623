import { readFile } from "node:fs/promises"
import { join } from "node:path"
import { PgClient } from "@effect/sql-pg"
import { RatClient } from "@rat/client"
import { superuser } from "@rat/lakehouse"
import { Effect, ManagedRuntime, Redacted } from "effect"
import { inParallel } from "./Bench.ts"
import { type BenchServer, nowMs } from "./BenchServer.ts"
import { type CpuTimes, cpuBetween, cpuTimes } from "./ProcessCpu.ts"

/** What a batch of runs cost. */
export interface RunCosts {
  readonly perSecond: number
  /** Of the server's processes, for each run. */
  readonly cpu: CpuTimes
  /** Transactions that Postgres committed, for each run, those that only read included. */
  readonly commits: number
}

/** Requests at the same time. */
export const width = 16

/** Sessions of Postgres tell of their transactions at most this often. */
const statisticsMs = 1_200

interface Listed {
  readonly total: number
}

const delay = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

const count = async (server: BenchServer, status: string) =>
  (await server.call<Listed>("GET", `/api/v1/runs?status=${status}&limit=1`)).total

/** Waits until nothing is pending or running. */
export const drained = async (server: BenchServer) => {
  while ((await count(server, "pending")) + (await count(server, "running")) > 0) await delay(25)
}

/** Transactions committed so far in the server's database, by a session of our own. */
export const commitCounter = async (server: BenchServer) => {
  const folder = join(server.data, "postgres")
  const [port, password] = await Promise.all(["port", "password"].map((file) => readFile(join(folder, file), "utf8")))
  const runtime = ManagedRuntime.make(
    PgClient.layer({
      url: Redacted.make(`postgres://${superuser}:${password}@127.0.0.1:${port?.trim()}/postgres`),
      maxConnections: 1,
      minConnections: 1,
    }),
  )
  const read = Effect.gen(function* () {
    const sql = yield* PgClient.PgClient
    const [row] = yield* sql<{ commits: bigint }>`
      select xact_commit as commits from pg_stat_database where datname = current_database()`
    return Number(row?.commits)
  })
  return {
    commits: async () => {
      await delay(statisticsMs)
      return runtime.runPromise(read)
    },
    close: () => runtime.dispose(),
  }
}
export type CommitCounter = Awaited<ReturnType<typeof commitCounter>>

/** A batch, from the first request until the last run has ended; fails unless every run succeeds. */
export const batch = async (
  server: BenchServer,
  counter: CommitCounter,
  runs: number,
  submit: (index: number) => Promise<unknown>,
): Promise<RunCosts> => {
  const before = await count(server, "success")
  const commits = await counter.commits()
  const cpu = cpuTimes(server.pid)
  const started = performance.now()
  await inParallel([...Array(runs).keys()], width, async (index) => {
    await submit(index)
  })
  await drained(server)
  const seconds = (performance.now() - started) / 1_000
  const used = cpuBetween(cpu, cpuTimes(server.pid))
  const done = (await count(server, "success")) - before
  if (done !== runs) throw new Error(`${runs - done} of ${runs} runs did not succeed`)
  return {
    perSecond: runs / seconds,
    cpu: {
      node: used.node / runs,
      slots: used.slots / runs,
      postgres: used.postgres / runs,
      total: used.total / runs,
    },
    commits: ((await counter.commits()) - commits) / runs,
  }
}

/**
 * From request to the first statement of each of `runs` runs that come at an even pace, in ms. `submit` answers with the run's id.
 */
export const startTimes = async (
  server: BenchServer,
  runs: number,
  perSecond: number,
  submit: (index: number) => Promise<string>,
): Promise<ReadonlyArray<number>> => {
  const begun = performance.now()
  const sent = await Promise.all(
    [...Array(runs).keys()].map(async (index) => {
      await delay(Math.max(0, begun + (index * 1_000) / perSecond - performance.now()))
      const sentAt = nowMs()
      return { runId: await submit(index), sentAt }
    }),
  )
  await drained(server)
  const times: Array<number> = []
  for (const { runId, sentAt } of sent) {
    const { logs } = await server.call<{ logs: Array<{ timestamp: string; phase?: string }> }>(
      "GET",
      `/api/v1/runs/${runId}/logs`,
    )
    const started = logs.find(({ phase }) => phase === "execute")
    if (started === undefined) throw new Error(`run ${runId} has no log line of the phase "execute"`)
    times.push(Date.parse(started.timestamp) - sentAt)
  }
  return times
}

/** ms a step of a chain: a client runs one pipeline after the other, each as soon as it sees that the one before has ended. */
export const chainStepMs = async (
  server: BenchServer,
  pipelines: ReadonlyArray<{ readonly layer: string; readonly name: string }>,
): Promise<number> => {
  const rat = new RatClient({ apiUrl: server.url })
  const started = performance.now()
  for (const { layer, name } of pipelines) {
    const { run_id } = await rat.runs.create({
      namespace: "default",
      layer: layer as "silver",
      pipeline: name as never,
    })
    let last = ""
    for await (const update of rat.runs.follow(run_id)) if (update.type === "status") last = update.status
    if (last !== "success") throw new Error(`run ${run_id} of ${layer}.${name} ended as ${last}`)
  }
  return (performance.now() - started) / pipelines.length
}
