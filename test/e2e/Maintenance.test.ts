import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { ConflictError, NotFoundError, RatClient } from "@rat/client"
import { submitRun, until } from "../support/Pipelines.ts"
import { type RatProcess, startRat } from "../support/RatProcess.ts"

describe("Maintenance of a real server", () => {
  let data: string
  let rat: RatProcess
  const client = () => new RatClient({ apiUrl: rat.url })
  // Nothing happens by itself: the tests say when.
  const env = {
    RAT_MAINTENANCE: "false",
    RAT_MAINTENANCE_LEASE_SECONDS: "2",
    RAT_MIN_SNAPSHOTS: "2",
    RAT_SNAPSHOT_MAX_AGE_HOURS: "0",
  }

  const ended = (id: string) =>
    until(`the end of maintenance ${id}`, 60, async () => {
      const run = await client().maintenance.get(id)
      return run.status === "succeeded" || run.status === "failed" ? run : undefined
    })
  const append = async (name: string, times: number) => {
    for (let time = 0; time < times; time++) {
      const id = await submitRun(client(), name)
      const run = await until(`the end of run ${id}`, 60, async () => {
        const found = await client().runs.get(id)
        return found.status === "pending" || found.status === "running" ? undefined : found
      })
      assert.strictEqual(run.status, "success", run.error ?? "")
    }
  }
  const rowsOf = async (name: string) =>
    (await client().query.execute({ sql: `select count(*)::integer as n, sum(id)::varchar as s from silver.${name}` }))
      .rows

  beforeAll(async () => {
    data = await mkdtemp(join(tmpdir(), "rat-maintenance-"))
    rat = await startRat({ data, env })
    await client().projects.push("default", {
      files: [
        { path: "pipelines/silver/grows/pipeline.sql", content: "select i as id from range(1000) t(i)" },
        {
          path: "pipelines/silver/grows/config.yaml",
          content: "merge_strategy: append_only\nmaintenance:\n  min_input_files: 3\n",
        },
      ],
    })
    await append("grows", 6)
  }, 120_000)

  afterAll(async () => {
    await rat?.killTree()
    await rm(data, { recursive: true, force: true })
  })

  it("a dry run says what would happen and changes nothing; the real one does it, with history and events", {
    timeout: 60_000,
  }, async () => {
    const before = await rowsOf("grows")
    const plan = await client().maintenance.plan("default", "silver", "grows")
    assert.strictEqual(plan.before.data_files, 6)
    assert.isNull(plan.after)
    const compaction = plan.operations.find(({ operation }) => operation === "compact")!
    assert.strictEqual(compaction.files_before, 6)
    assert.isAbove(compaction.bytes_before, 0)
    assert.strictEqual((await client().maintenance.list()).total, 0)

    const { id, status } = await client().maintenance.maintain("default", "silver", "grows")
    assert.strictEqual(status, "queued")
    const run = await ended(id)
    assert.strictEqual(run.status, "succeeded", run.error ?? "")
    assert.deepInclude(run, { files_before: 6, files_after: 1, rows_before: 6000, rows_after: 6000, trigger: "manual" })
    assert.isBelow(run.bytes_after!, run.bytes_before!)
    const expiry = run.table_report!.operations.find(({ operation }) => operation === "expire")!
    assert.strictEqual(expiry.snapshots_removed, 5)
    assert.deepStrictEqual(await rowsOf("grows"), before)
    assert.strictEqual((await client().tables.get("default", "silver", "grows")).file_count, 1)
    // The pipeline goes on.
    await append("grows", 1)
    assert.deepStrictEqual((await rowsOf("grows"))[0]!.n, 7000)
    assert.strictEqual((await client().maintenance.list({ table: "default.silver.grows" })).total, 1)
  })

  it("policies: the pipeline's block over the server's settings, the API's word over both", {
    timeout: 30_000,
  }, async () => {
    const first = await client().maintenance.policy("default", "silver", "grows")
    assert.deepInclude(first.policy, { min_snapshots: 2, min_input_files: 3 })
    assert.deepStrictEqual(first.pipeline, { min_input_files: 3 })
    assert.isNull(first.table)
    const set = await client().maintenance.setPolicy("default", "silver", "grows", {
      min_input_files: 7,
      enabled: false,
    })
    assert.deepInclude(set.policy, { min_input_files: 7, enabled: false, min_snapshots: 2 })
    const back = await client().maintenance.setPolicy("default", "silver", "grows", {})
    assert.deepStrictEqual(back.policy, first.policy)
  })

  it("what does not exist is 404", { timeout: 30_000 }, async () => {
    const failure = (promise: Promise<unknown>) =>
      promise.then(
        () => null,
        (error: unknown) => error,
      )
    assert.instanceOf(await failure(client().maintenance.maintain("default", "silver", "nothing")), NotFoundError)
    assert.instanceOf(await failure(client().maintenance.get("nothing")), NotFoundError)
  })

  it("orphans are reported by table, wait for the grace time, and go after it", { timeout: 60_000 }, async () => {
    const folder = join(data, "store", "default", "silver", "grows", "data")
    await writeFile(join(folder, "left-0.parquet"), "left by nobody")
    const plan = await client().maintenance.orphans()
    assert.strictEqual(plan.removed_objects, 0)
    assert.isAtLeast(plan.waiting_objects, 1)
    assert.deepStrictEqual(
      plan.places.map(({ place }) => place),
      ["default/silver/grows"],
    )
    const first = await ended((await client().maintenance.removeOrphans()).id)
    assert.strictEqual(first.status, "succeeded", first.error ?? "")
    assert.include(await readdir(folder), "left-0.parquet")
    assert.deepStrictEqual((await rowsOf("grows"))[0]!.n, 7000)
  })

  it("runs and maintenance of one table at the same time: all succeed, no row is lost or doubled", {
    timeout: 120_000,
  }, async () => {
    const before = Number((await rowsOf("grows"))[0]!.n)
    let isDone = false
    const looking = async () => {
      let times = 0
      while (!isDone) {
        const { id } = await client().maintenance.maintain("default", "silver", "grows", { operations: ["compact"] })
        const run = await ended(id)
        assert.strictEqual(run.status, "succeeded", run.error ?? "")
        times++
      }
      return times
    }
    const looked = looking()
    await append("grows", 10).finally(() => {
      isDone = true
    })
    assert.isAbove(await looked, 0)
    assert.strictEqual(Number((await rowsOf("grows"))[0]!.n), before + 10_000)
    const table = await client().tables.get("default", "silver", "grows")
    assert.strictEqual(table.row_count, before + 10_000)
  })

  it("merges and maintenance of one table at the same time lose no update", { timeout: 180_000 }, async () => {
    await client().projects.push("default", {
      files: [
        {
          path: "pipelines/silver/counts/pipeline.sql",
          content: `
            select i as id,
              {% if is_incremental() %} (select max(v) from {{ this }}) {% else %} 0 {% endif %} + 1 as v
            from range(1000) t(i)`,
        },
        { path: "pipelines/silver/counts/config.yaml", content: "merge_strategy: incremental\nunique_key: id\n" },
      ],
    })
    await append("counts", 2)
    let isDone = false
    const looking = async () => {
      while (!isDone) {
        const { id } = await client().maintenance.maintain("default", "silver", "counts")
        const run = await ended(id)
        assert.strictEqual(run.status, "succeeded", run.error ?? "")
        // Somebody who maintains without a pause would leave merges no time.
        await new Promise((resolve) => setTimeout(resolve, 300))
      }
    }
    const looked = looking()
    await append("counts", 8).finally(() => {
      isDone = true
    })
    await looked
    const { rows } = await client().query.execute({
      sql: "select count(*)::integer as n, min(v)::integer as least, max(v)::integer as most from silver.counts",
    })
    assert.deepStrictEqual(rows, [{ n: 1000, least: 10, most: 10 }])
  })

  it("maintenance whose server is killed is taken up by the next start and ends once", {
    timeout: 120_000,
  }, async () => {
    await client().projects.push("default", {
      files: [
        {
          path: "pipelines/silver/large/pipeline.sql",
          content: "select i as id, md5(i::varchar) as h from range(2000000) t(i)",
        },
        {
          path: "pipelines/silver/large/config.yaml",
          content: "merge_strategy: append_only\nmaintenance:\n  min_input_files: 2\n",
        },
      ],
    })
    await append("large", 3)
    const before = await rowsOf("large")
    const { id } = await client().maintenance.maintain("default", "silver", "large")
    const busy = await client()
      .maintenance.maintain("default", "silver", "large")
      .then(
        () => null,
        (error: unknown) => error,
      )
    assert.instanceOf(busy, ConflictError)
    await until("maintenance at work", 20, async () =>
      (await client().maintenance.get(id)).status === "running" ? true : undefined,
    )
    await rat.killTree()
    rat = await startRat({ data, env })
    const run = await ended(id)
    assert.strictEqual(run.status, "succeeded", run.error ?? "")
    assert.isAbove(run.attempt, 1)
    const after = await rowsOf("large")
    assert.deepStrictEqual(after, before)
    assert.strictEqual((await client().tables.get("default", "silver", "large")).row_count, 6_000_000)
  })
})
