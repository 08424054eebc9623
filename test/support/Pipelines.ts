import { setTimeout as delay } from "node:timers/promises"
import { assert } from "@effect/vitest"
import type { RatClient } from "@rat/client"

/** Pipelines of namespace `default`, layer `silver`, as tests make and run them. */

export const pushPipeline = (client: RatClient, name: string, sql: string) =>
  client.projects.push("default", { files: [{ path: `pipelines/silver/${name}/pipeline.sql`, content: sql }] })

export const submitRun = async (client: RatClient, pipeline: string) =>
  (await client.runs.create({ namespace: "default", layer: "silver", pipeline })).run_id

/** Runs a pipeline to its end, whatever that is. */
export const runPipeline = async (client: RatClient, pipeline: string) =>
  client.runs.wait(await submitRun(client, pipeline))

export const rowsOf = async (client: RatClient, sql: string) => (await client.query.arrays(sql)).rows

/** Looks every 50 ms until there is something; errors count as nothing. */
export const until = async <A>(what: string, seconds: number, look: () => Promise<A | undefined>): Promise<A> => {
  const deadline = performance.now() + seconds * 1000
  for (;;) {
    const found = await look().catch(() => undefined)
    if (found !== undefined) return found
    if (performance.now() > deadline) return assert.fail(`${what} did not happen within ${seconds} s`)
    await delay(50)
  }
}

/** Until the run's own statement is being executed. */
export const executing = (client: RatClient, id: string) =>
  until("execution", 20, async () => ((await client.runs.get(id)).phase === "execute" ? true : undefined))

/** A statement whose time rises with its rows: a million takes about a second. */
export const slowSql = (rows: number) => `select i as id, md5(md5(md5(i::varchar))) as word from range(${rows}) t(i)`

/** What `/health/ready` says: its status, and the dependencies that are not well. */
export const readiness = async (url: string) => {
  const response = await fetch(`${url}/health/ready`)
  const { checks } = (await response.json()) as { checks: Record<string, { status: string }> }
  const down = Object.entries(checks).filter(([, check]) => check.status !== "ok")
  return { code: response.status, down: down.map(([name]) => name) }
}
