import { readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it, layer } from "@effect/vitest"
import type { RatError } from "@rat/client"
import { Context, Effect, Layer } from "effect"
import {
  executing,
  pushPipeline,
  readiness,
  rowsOf,
  runPipeline,
  slowSql,
  submitRun,
  until,
} from "../support/Pipelines.ts"
import { processTree } from "../support/RatProcess.ts"
import { assertForPeople } from "../support/Refusal.ts"
import { type TestNode, temporaryFolder, testNode } from "../support/TestNode.ts"

/** What runs depend on goes away in their middle: a slot, Postgres, the person's patience, their branch. */

class Node extends Context.Service<Node, TestNode>()("test/e2e/Node") {}

const use = <A>(act: (node: TestNode) => Promise<A>) => Effect.flatMap(Node, (node) => Effect.promise(() => act(node)))

/** Processes below this one that execute runs. */
const runSlots = () =>
  processTree(process.pid).filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("RunnerSlot.ts")
    } catch {
      return false
    }
  })

layer(Layer.effect(Node, testNode({ store: "file", environment: { RAT_LEASE_SECONDS: "3" } })), {
  excludeTestServices: true,
  timeout: "60 seconds",
})("a node", (it) => {
  it.effect(
    "fails the run whose slot is killed, and has a new slot for the next one",
    () =>
      use(async ({ client, dataFolder }) => {
        await pushPipeline(client, "one", "select 1 as id")
        assert.strictEqual((await runPipeline(client, "one")).status, "success")
        await pushPipeline(client, "one", slowSql(30_000_000))
        const id = await submitRun(client, "one")
        await executing(client, id)
        for (const pid of runSlots()) process.kill(pid, "SIGKILL")
        const ended = await client.runs.wait(id)
        assert.strictEqual(ended.status, "failed")
        assert.include(ended.error ?? "", "Nothing was published. Run it again")
        assertForPeople(ended.error ?? "", dataFolder)
        assert.deepStrictEqual(await rowsOf(client, "select id from silver.one"), [[1]])
        await pushPipeline(client, "one", "select 2 as id")
        assert.strictEqual((await runPipeline(client, "one")).error, null)
        assert.deepStrictEqual(await rowsOf(client, "select id from silver.one"), [[2]])
      }),
    // Everything shares two processors.
    60_000,
  )

  it.effect("leaves main as it was when a run is cancelled in its middle", () =>
    use(async ({ client }) => {
      await pushPipeline(client, "kept", "select 1 as id")
      assert.strictEqual((await runPipeline(client, "kept")).error, null)
      const before = await client.tables.get("default", "silver", "kept")
      await pushPipeline(client, "kept", slowSql(30_000_000))
      const id = await submitRun(client, "kept")
      await executing(client, id)
      await client.runs.cancel(id)
      const ended = await client.runs.wait(id)
      assert.deepStrictEqual([ended.status, ended.snapshot_id], ["cancelled", null])
      assert.deepStrictEqual(await client.tables.get("default", "silver", "kept"), before)
      const there = await client.query.arrays({ sql: "select id from silver.kept", branch: ended.branch ?? "" })
      assert.deepStrictEqual(there.rows, [[1]])
      // The slot is as good as new.
      await pushPipeline(client, "kept", "select 2 as id")
      assert.strictEqual((await runPipeline(client, "kept")).error, null)
    }),
  )

  it.effect(
    "goes on with its runs when its Postgres is killed and comes back, and commits each once",
    () =>
      use(async ({ client, dataFolder, url }) => {
        // Some are in their statement when it happens, others at their start or their end.
        const sizes = [1_500_000, 1_500_000, 10, 20, 30, 40, 50, 60]
        const names = sizes.map((_, index) => `batch_${index}`)
        await client.projects.push("default", {
          files: names.flatMap((name, index) => [
            { path: `pipelines/silver/${name}/pipeline.sql`, content: slowSql(sizes[index] ?? 0) },
            { path: `pipelines/silver/${name}/config.yaml`, content: "merge_strategy: append_only\n" },
          ]),
        })
        const ids: Array<string> = []
        for (const name of names.toReversed()) ids.push(await submitRun(client, name))
        await client.runs.wait(ids[0] ?? "")
        const lock = join(dataFolder, "postgres", "cluster", "postmaster.pid")
        process.kill(Number.parseInt(readFileSync(lock, "utf8"), 10), "SIGKILL")
        for (const id of ids) {
          const ended = await until(`the end of run ${id}`, 50, async () => {
            const found = await client.runs.get(id)
            return found.finished_at === null ? undefined : found
          })
          assert.deepStrictEqual([ended.status, ended.error], ["success", null])
        }
        for (const [index, name] of names.entries()) {
          const counted = await rowsOf(client, `select count(*)::integer from silver.${name}`)
          assert.deepStrictEqual(counted, [[sizes[index] ?? 0]])
        }
        assert.strictEqual((await readiness(url)).code, 200)
      }),
    // Everything shares two processors.
    60_000,
  )
})

describe("branches of failed runs", () => {
  it.live(
    "are collected when their time is over",
    () =>
      Effect.gen(function* () {
        const data = join(yield* temporaryFolder, "data")
        const environment = { RAT_BRANCH_HOURS: "0" }
        const failed = yield* Effect.scoped(
          Effect.flatMap(testNode({ store: "file", data, environment }), ({ client }) =>
            Effect.promise(async () => {
              await client.projects.push("default", {
                files: [
                  { path: "pipelines/silver/one/pipeline.sql", content: "select 1 as id" },
                  { path: "pipelines/silver/one/tests/quality/no.sql", content: "select * from {{ this }}" },
                ],
              })
              const ended = await runPipeline(client, "one")
              assert.strictEqual(ended.status, "failed")
              return ended
            }),
          ),
        )
        const { client } = yield* testNode({ store: "file", data, environment })
        yield* Effect.promise(async () => {
          const sql = "select * from silver.one"
          const refusal = await until("the end of the branch", 10, () =>
            client.query.arrays({ sql, branch: `run-${failed.id}` }).then(
              () => undefined,
              (error: RatError) => error,
            ),
          )
          assert.strictEqual(refusal.status, 404)
          assert.include(refusal.message, "expires")
          assert.isNull((await client.runs.get(failed.id)).branch)
        })
      }).pipe(Effect.scoped),
    60_000,
  )
})
