import { mkdtemp, readdir, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { RatClient } from "@rat/client"
import { submitRun, until } from "../support/Pipelines.ts"
import { type RatProcess, startRat } from "../support/RatProcess.ts"

/** Slow enough to be killed in the middle: a few seconds of sorting before the first row is written. */
const slowSql = "select i as id, md5(i::varchar) as hash from range(3000000) t(i) order by hash"

describe("SIGKILL of the whole process tree", () => {
  let data: string
  let rat: RatProcess
  const client = () => new RatClient({ apiUrl: rat.url })
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
    await client().projects.push("default", {
      files: names.flatMap((name) => [
        { path: `pipelines/silver/${name}/pipeline.sql`, content: slowSql },
        { path: `pipelines/silver/${name}/config.yaml`, content: "merge_strategy: append_only\n" },
      ]),
    })
    const runs: Array<string> = []
    for (const name of names) runs.push(await submitRun(client(), name))
    await until("a running run", 20, async () => {
      const { total } = await client().runs.list({ status: "running" })
      return total > 0 ? true : undefined
    })
    // Into the middle of the statement.
    await new Promise((resolve) => setTimeout(resolve, 700))
    await rat.killTree()

    rat = await startRat({ data, env })
    for (const id of runs) {
      const run = await until(`the end of run ${id}`, 90, async () => {
        const found = await client().runs.get(id)
        return found.status === "pending" || found.status === "running" ? undefined : found
      })
      assert.strictEqual(run.status, "success", run.error ?? "")
    }
    for (const name of names) {
      const { rows } = await client().query.execute({ sql: `select count(*)::integer as n from silver.${name}` })
      // Appending twice would show as twice the rows.
      assert.deepStrictEqual(rows, [{ n: 3_000_000 }])
      const folder = join(data, "store", "default", "silver", name, "metadata")
      const metadata = (await readdir(folder)).filter((file) => file.endsWith(".metadata.json"))
      assert.isAtLeast(metadata.length, 1)
    }
    const attempts = await Promise.all(runs.map((id) => client().runs.get(id)))
    assert.isTrue(
      attempts.some(({ attempt }) => attempt > 1),
      "no run was interrupted: the kill came too late to show anything",
    )
  })

  it("Ctrl-C ends everything cleanly and the next start finds all as it was", { timeout: 60_000 }, async () => {
    const before = await client().tables.list()
    assert.strictEqual(await rat.stop(), 0)
    rat = await startRat({ data, env })
    assert.deepStrictEqual(await client().tables.list(), before)
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
