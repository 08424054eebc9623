import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { ConflictError, NotFoundError, RatClient, type RunUpdate, ValidationError } from "@rat/client"
import { tableFromIPC } from "apache-arrow"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { type RatProcess, startRat } from "../support/RatProcess.ts"

let folder: string
let server: RatProcess
let client: RatClient

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "rat-client-"))
  server = await startRat({ data: join(folder, "data") })
  client = new RatClient({ apiUrl: server.url })
}, 90_000)

afterAll(async () => {
  await server?.stop()
  rmSync(folder, { recursive: true, force: true })
}, 60_000)

const failure = async (promise: Promise<unknown>): Promise<unknown> => {
  try {
    await promise
  } catch (error) {
    return error
  }
  throw new Error("expected a rejection")
}

const bytesOf = async (stream: ReadableStream<Uint8Array>) => new Uint8Array(await new Response(stream).arrayBuffer())

describe("RatClient against a real server", () => {
  it("tells version, readiness and features", async () => {
    expect((await client.health.live()).status).toBe("ok")
    expect((await client.health.ready()).status).toBe("ready")
    expect((await client.features.get()).pipeline_types).toContain("sql")
  })

  it("makes, lists, changes and deletes namespaces, pipelines, files and zones", async () => {
    await client.namespaces.create("work", "first")
    expect(await failure(client.namespaces.create("work"))).toBeInstanceOf(ConflictError)
    await client.namespaces.update("work", "second")
    const { namespaces } = await client.namespaces.list()
    expect(namespaces.find((namespace) => namespace.name === "work")!.description).toBe("second")

    const created = await client.pipelines.create({ namespace: "work", layer: "silver", name: "orders" })
    expect(created.s3_path).toBe("work/pipelines/silver/orders/")
    await client.pipelines.update("work", "silver", "orders", { description: "all of them" })
    expect((await client.pipelines.get("work", "silver", "orders")).description).toBe("all of them")
    expect((await client.pipelines.list({ namespace: "work" })).total).toBe(1)

    const path = "work/pipelines/silver/orders/pipeline.sql"
    await client.storage.write(path, "select 1 as one")
    expect((await client.storage.read(path)).content).toBe("select 1 as one")
    expect((await client.storage.list("work/pipelines")).files.map((file) => file.path)).toContain(path)
    const invalid = await failure(client.storage.write("work/pipelines/silver/orders/config.yaml", "nope: 1\n"))
    expect(invalid).toBeInstanceOf(ValidationError)
    expect(invalid).toMatchObject({ status: 422, details: { issues: [{ line: 1, column: 1 }] } })

    await client.landing.create({ namespace: "work", name: "in" })
    const file = await client.landing.upload("work", "in", "a.csv", new Blob(["a\n1\n"]))
    expect(file).toMatchObject({ filename: expect.stringMatching(/a\.csv$/), size_bytes: 4 })
    expect((await client.landing.get("work", "in")).file_count).toBe(1)
    expect((await client.landing.files("work", "in")).files.map(({ id }) => id)).toEqual([file.id])
    await client.landing.deleteFile("work", "in", file.id)
    expect(await failure(client.landing.file("work", "in", file.id))).toBeInstanceOf(NotFoundError)

    expect(await failure(client.namespaces.delete("work"))).toBeInstanceOf(ConflictError)
    await client.landing.delete("work", "in")
    await client.pipelines.delete("work", "silver", "orders")
    await client.namespaces.delete("work")
    expect(await failure(client.pipelines.get("work", "silver", "orders"))).toBeInstanceOf(NotFoundError)
  }, 30_000)

  it("gives runs parameters and a moment, and repeats them by hand with the same", async () => {
    await client.projects.push("again", {
      files: [
        {
          path: "pipelines/silver/days/pipeline.sql",
          content: "-- @max_retries: 1\nselect '{{ param('day') }}' as day, '{{ logical_time[:4] }}' as year",
        },
      ],
    })
    const wish = { namespace: "again", layer: "silver", pipeline: "days" } as const
    const bare = await client.runs.wait((await client.runs.create(wish)).run_id)
    // What is missing is missing in every attempt.
    expect(bare).toMatchObject({ status: "failed", error_code: "param.missing", attempt: 1 })
    const given = { parameters: { day: "2025-12-31" }, logical_time: "2025-12-31T00:00:00.000Z" }
    const first = await client.runs.wait((await client.runs.create({ ...wish, ...given })).run_id)
    expect(first).toMatchObject({ status: "success", ...given })
    const repeated = await client.runs.retry(first.id)
    expect(repeated.retry_of).toBe(first.id)
    const second = await client.runs.wait(repeated.run_id)
    expect(second).toMatchObject({ status: "success", retry_of: first.id, ...given })
    expect((await client.query.arrays("select * from again.silver.days")).rows).toEqual([["2025-12-31", "2025"]])
    const { attempts, total } = await client.runs.attempts(second.id)
    expect(total).toBe(1)
    expect(attempts[0]).toMatchObject({ attempt: 1, outcome: "success", error: null })
    expect(attempts[0]!.phases.map(({ name }) => name)).toContain("execute")
    expect((await client.runs.logs(second.id, { attempt: 1 })).logs.length).toBeGreaterThan(3)
    expect((await client.runs.logs(second.id, { attempt: 2 })).logs).toEqual([])
    expect(await failure(client.runs.resume(second.id))).toBeInstanceOf(ConflictError)
    expect(await failure(client.runs.create({ ...wish, parameters: { "a b": 1 } }))).toBeInstanceOf(ValidationError)
  }, 60_000)

  it("pushes, runs, follows and queries, in every format", async () => {
    await client.projects.push("shop", {
      files: [
        {
          path: "pipelines/gold/numbers/pipeline.sql",
          content: "select i as id, 'n' || i as name, (i / 4)::decimal(6, 2) as quarter from range(10) as r(i)",
        },
        { path: "pipelines/gold/numbers/tests/quality/positive.sql", content: "select * from {{ this }} where id < 0" },
      ],
    })
    const key = "the-one"
    const submitted = await client.runs.create(
      { namespace: "shop", layer: "gold", pipeline: "numbers" },
      { idempotencyKey: key },
    )
    const repeated = await client.runs.create(
      { namespace: "shop", layer: "gold", pipeline: "numbers" },
      { idempotencyKey: key },
    )
    expect(repeated.run_id).toBe(submitted.run_id)
    const updates: Array<RunUpdate> = []
    for await (const update of client.runs.follow(submitted.run_id)) updates.push(update)
    expect(updates.at(-1)).toEqual({ type: "status", status: "success" })
    const seen = updates.flatMap((update) => (update.type === "log" ? [update.entry.seq] : []))
    expect(seen).toEqual(seen.toSorted((a, b) => a - b))
    const { logs, status } = await client.runs.logs(submitted.run_id)
    expect(status).toBe("success")
    expect(logs.map((entry) => entry.seq)).toEqual(seen)
    expect(await client.runs.quality(submitted.run_id)).toMatchObject({ passed: 1, failed: 0, total: 1 })
    expect((await client.runs.get(submitted.run_id)).rows_written).toBe(10)
    expect((await client.runs.list({ namespace: "shop", status: "success" })).total).toBe(1)
    expect(await failure(client.runs.cancel(submitted.run_id))).toBeInstanceOf(ConflictError)

    const input = { sql: "select * from gold.numbers order by id", namespace: "shop" }
    const objects = await client.query.execute(input)
    expect(objects.rows[1]).toMatchObject({ name: "n1", quarter: "0.25" })
    const arrays = await client.query.arrays({ ...input, limit: 3 })
    expect(arrays.rows.length).toBe(3)
    expect(arrays.truncated).toBe(true)
    const csv = new TextDecoder().decode(await bytesOf(await client.query.bytes(input, "csv")))
    expect(csv.split("\n").slice(0, 2)).toEqual(["id,name,quarter", "0,n0,0.00"])
    const parquet = await bytesOf(await client.query.bytes(input, "parquet"))
    expect(new TextDecoder().decode(parquet.slice(0, 4))).toBe("PAR1")
    const arrow = tableFromIPC(await bytesOf(await client.query.bytes(input, "arrow")))
    expect(arrow.numRows).toBe(10)
    expect(arrow.schema.fields.map((field) => field.name)).toEqual(["id", "name", "quarter"])
    const wrong = await failure(client.query.execute({ sql: "select nope from gold.numbers", namespace: "shop" }))
    expect(wrong).toBeInstanceOf(ValidationError)

    expect((await client.tables.list({ namespace: "shop" })).tables.map((table) => table.row_count)).toEqual([10])
    expect((await client.tables.get("shop", "gold", "numbers")).columns.map((column) => column.name)).toContain(
      "quarter",
    )
    expect((await client.tables.preview("shop", "gold", "numbers", { limit: 2 })).rows.length).toBe(2)
    await client.tables.updateMetadata("shop", "gold", "numbers", { description: "ten numbers" })
    expect((await client.tables.metadata("shop", "gold", "numbers")).description).toBe("ten numbers")
    expect((await client.query.schema({ namespace: "shop" })).tables.length).toBe(1)
  }, 60_000)

  it("waits for a run's end and lets the waiting be given up", async () => {
    const { run_id } = await client.runs.create({ namespace: "default", kind: "noop" })
    expect((await client.runs.wait(run_id)).status).toBe("success")

    await client.projects.push("slow", {
      files: [
        {
          path: "pipelines/gold/slow/pipeline.sql",
          content: "select count(*) as n from range(100000000000) as r(i) where i % 7 = 3",
        },
      ],
    })
    const slow = await client.runs.create({ namespace: "slow", layer: "gold", pipeline: "slow" })
    const given = await failure(client.runs.wait(slow.run_id, { signal: AbortSignal.timeout(300) }))
    expect(given).toMatchObject({ name: "TimeoutError" })
    expect((await client.runs.cancel(slow.run_id)).status).toBe("cancelled")
    expect((await client.runs.wait(slow.run_id)).status).toBe("cancelled")
  }, 30_000)

  it("stops a query on the server when the caller aborts", async () => {
    const sql = "select count(*) from range(100000000000) as r(i) where i % 7 = 3"
    const started = Date.now()
    const aborted = await failure(client.query.execute(sql, { signal: AbortSignal.timeout(200) }))
    expect(aborted).toMatchObject({ name: "TimeoutError" })
    expect(Date.now() - started).toBeLessThan(2000)
    // Its slot is free again: as many queries as there are slots answer at once.
    await Promise.all(Array.from({ length: 4 }, () => client.query.execute("select 1")))
    expect(Date.now() - started).toBeLessThan(5000)
  }, 30_000)
})
