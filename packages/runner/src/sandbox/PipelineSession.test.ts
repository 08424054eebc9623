import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, assert, describe, it } from "@effect/vitest"
import { Template } from "../template/Template.ts"
import { PipelineSession } from "./PipelineSession.ts"

const folder = mkdtempSync(join(tmpdir(), "rat-session-"))
afterAll(() => rmSync(folder, { recursive: true }))

const limits = { folder, memoryLimitBytes: 200_000_000, spillLimitBytes: 50_000_000, threads: 4 }
const context = {
  namespace: "default",
  layer: "silver",
  name: "one",
  hasTable: false,
  landingFolder: join(folder, "in/landing"),
  runId: "01890000-0000-7000-8000-000000000000",
  runStartedAt: "2026-01-02T03:04:05.678Z",
  logicalTime: "2026-01-01T00:00:00.000Z",
  parameters: {},
  watermarkValue: null,
  flags: {},
}

describe.skipIf(process.platform !== "linux")("A pipeline with a memory limit of its own", () => {
  it("gets an engine of its own, which ends with its session", async () => {
    for (const name of ["in", "out", "spill"]) mkdirSync(join(folder, name))
    const session = await PipelineSession.open(limits, await Template.load())
    // An engine of four threads starts three.
    const threads = () => readdirSync("/proc/self/task").length
    const limitOf = async (memoryLimitBytes: number | null) => {
      await session.render({
        context,
        code: { path: "pipeline.sql", source: "select memory_limit from pragma_database_size()" },
        tests: [],
      })
      const { query } = await session.execute({ home: "default", views: [], memoryLimitBytes })
      const { files } = await session.copy({ sql: query, progressMs: 1_000 }, async () => {})
      const during = threads()
      await session.reset()
      return { limit: String(files[0]?.memory_limit), during }
    }
    assert.strictEqual((await limitOf(null)).limit, "190.7 MiB")
    const before = threads()
    for (let run = 0; run < 3; run++) {
      const { limit, during } = await limitOf(100_000_000)
      assert.strictEqual(limit, "95.3 MiB")
      assert.strictEqual(during, before + 3)
      assert.strictEqual(threads(), before)
    }
    assert.strictEqual((await limitOf(null)).limit, "190.7 MiB")
  })
})
