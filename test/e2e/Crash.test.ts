import { mkdtemp, readdir, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { type RatProcess, startRat } from "../support/RatProcess.ts"

interface Run {
  readonly id: string
  readonly status: string
  readonly attempt: number
  readonly error: string | null
}

/** Slow enough to be killed in the middle: a few seconds of sorting before the first row is written. */
const slowSql = "select i as id, md5(i::varchar) as hash from range(3000000) t(i) order by hash"

const call = async <A>(rat: RatProcess, method: string, path: string, body?: unknown): Promise<A> => {
  const response = await fetch(`${rat.url}${path}`, {
    method,
    ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { "content-type": "application/json" } }),
  })
  const text = await response.text()
  assert.isTrue(response.ok, `${method} ${path}: ${response.status} ${text}`)
  return JSON.parse(text) as A
}

const until = async <A>(what: string, seconds: number, look: () => Promise<A | undefined>): Promise<A> => {
  const deadline = Date.now() + seconds * 1000
  for (;;) {
    const found = await look()
    if (found !== undefined) return found
    if (Date.now() > deadline) throw new Error(`${what} did not happen within ${seconds} s`)
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

describe("SIGKILL of the whole process tree", () => {
  let data: string
  let rat: RatProcess
  const env = { RAT_LEASE_SECONDS: "3" }

  beforeAll(async () => {
    data = await mkdtemp(join(tmpdir(), "rat-crash-"))
    rat = await startRat({ data, env })
  })
  afterAll(async () => {
    await rat?.killTree()
    await rm(data, { recursive: true, force: true })
  })

  it("accepted runs finish after the next start, with exactly one commit each", { timeout: 120_000 }, async () => {
    const names = ["first", "second", "third"]
    await call(rat, "PUT", "/api/v1/projects/default", {
      files: names.flatMap((name) => [
        { path: `pipelines/silver/${name}/pipeline.sql`, content: slowSql },
        { path: `pipelines/silver/${name}/config.yaml`, content: "merge_strategy: append_only\n" },
      ]),
    })
    const runs: Array<string> = []
    for (const pipeline of names) {
      const { run_id } = await call<{ run_id: string }>(rat, "POST", "/api/v1/runs", {
        namespace: "default",
        layer: "silver",
        pipeline,
      })
      runs.push(run_id)
    }
    await until("a running run", 20, async () => {
      const { total } = await call<{ total: number }>(rat, "GET", "/api/v1/runs?status=running")
      return total > 0 ? true : undefined
    })
    // Into the middle of the statement.
    await new Promise((resolve) => setTimeout(resolve, 700))
    await rat.killTree()

    rat = await startRat({ data, env })
    for (const id of runs) {
      const run = await until(`the end of run ${id}`, 90, async () => {
        const found = await call<Run>(rat, "GET", `/api/v1/runs/${id}`)
        return found.status === "pending" || found.status === "running" ? undefined : found
      })
      assert.strictEqual(run.status, "success", run.error ?? "")
    }
    for (const name of names) {
      const { rows } = await call<{ rows: Array<{ n: string | number }> }>(rat, "POST", "/api/v1/query", {
        sql: `select count(*)::integer as n from silver.${name}`,
      })
      // Appending twice would show as twice the rows.
      assert.deepStrictEqual(rows, [{ n: 3_000_000 }])
      const folder = join(data, "store", "default", "silver", name, "metadata")
      const metadata = (await readdir(folder)).filter((file) => file.endsWith(".metadata.json"))
      assert.isAtLeast(metadata.length, 1)
    }
    const attempts = await Promise.all(runs.map((id) => call<Run>(rat, "GET", `/api/v1/runs/${id}`)))
    assert.isTrue(
      attempts.some(({ attempt }) => attempt > 1),
      "no run was interrupted: the kill came too late to show anything",
    )
  })

  it("Ctrl-C ends everything cleanly and the next start finds all as it was", { timeout: 60_000 }, async () => {
    const before = await call<{ tables: unknown }>(rat, "GET", "/api/v1/tables")
    assert.strictEqual(await rat.stop(), 0)
    rat = await startRat({ data, env })
    assert.deepStrictEqual(await call<{ tables: unknown }>(rat, "GET", "/api/v1/tables"), before)
  })

  it("a second start on the same folder is refused with the process that holds it", { timeout: 60_000 }, async () => {
    const refusal = await startRat({ data }).then(
      () => "started",
      (error: unknown) => String(error),
    )
    assert.include(refusal, String(rat.pid))
    assert.notInclude(refusal, "    at ")
  })
})
