import { spawnSync } from "node:child_process"
import { mkdirSync, readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import { assert, describe, it, layer } from "@effect/vitest"
import type { RatClient } from "@rat/client"
import { type FaultProxy, makeFaultProxy } from "@rat/lakehouse"
import { Context, Effect, Layer } from "effect"
import { startFauxqs } from "fauxqs"
import { processTree } from "../support/RatProcess.ts"
import { assertForPeople, rejection } from "../support/Refusal.ts"
import { type TestNode, temporaryFolder, testNode } from "../support/TestNode.ts"

/** What the node depends on breaks while it works: the object store, Postgres, its slots, the disk. */

const push = (client: RatClient, name: string, sql: string) =>
  client.projects.push("default", { files: [{ path: `pipelines/silver/${name}/pipeline.sql`, content: sql }] })

const submit = async (client: RatClient, pipeline: string) =>
  (await client.runs.create({ namespace: "default", layer: "silver", pipeline })).run_id

const run = async (client: RatClient, pipeline: string) => client.runs.wait(await submit(client, pipeline))

const rowsOf = async (client: RatClient, sql: string) => (await client.query.arrays(sql)).rows

const until = async <A>(what: string, seconds: number, look: () => Promise<A | undefined>): Promise<A> => {
  const deadline = performance.now() + seconds * 1000
  for (;;) {
    const found = await look().catch(() => undefined)
    if (found !== undefined) return found
    if (performance.now() > deadline) return assert.fail(`${what} did not happen within ${seconds} s`)
    await delay(50)
  }
}

/** Until the run's own statement is being executed. */
const executing = (client: RatClient, id: string) =>
  until("execution", 20, async () => ((await client.runs.get(id)).phase === "execute" ? true : undefined))

const readiness = async (url: string) => {
  const response = await fetch(`${url}/health/ready`)
  const { status, checks } = (await response.json()) as {
    status: string
    checks: Record<string, { status: string; error?: string }>
  }
  const down = Object.entries(checks).filter(([, check]) => check.status !== "ok")
  return { code: response.status, status, down: down.map(([name]) => name) }
}

class BrokenStore extends Context.Service<BrokenStore, { readonly node: TestNode; readonly proxy: FaultProxy }>()(
  "test/e2e/BrokenStore",
) {
  static readonly layer = Layer.effect(
    BrokenStore,
    Effect.gen(function* () {
      const server = yield* Effect.acquireRelease(
        Effect.promise(() => startFauxqs({ port: 0, host: "127.0.0.1", logger: false })),
        (started) => Effect.promise(() => started.stop()),
      )
      const proxy = yield* makeFaultProxy(`http://127.0.0.1:${server.port}`)
      const environment = {
        S3_ENDPOINT: proxy.url,
        S3_BUCKET: "rat",
        S3_ACCESS_KEY: "test",
        S3_SECRET_KEY: "test",
      }
      return { node: yield* testNode({ store: "file", environment }), proxy }
    }),
  )
}

const broken = { status: 500, code: "InternalError" } as const

layer(BrokenStore.layer, { excludeTestServices: true, timeout: "60 seconds" })(
  "an object store that answers 500",
  (it) => {
    it.effect("for a while delays a run, which succeeds", () =>
      Effect.flatMap(BrokenStore, ({ node: { client }, proxy }) =>
        Effect.promise(async () => {
          await push(client, "kept", "select i as id from range(3) t(i)")
          let refused = 0
          // Every object is refused once, whatever is done with it.
          const seen = new Set<string>()
          proxy.rule(({ method, url }) => {
            const call = `${method} ${url}`
            if (seen.has(call)) return "pass"
            seen.add(call)
            refused++
            return broken
          })
          const ended = await run(client, "kept")
          proxy.rule(() => "pass")
          assert.deepStrictEqual([ended.status, ended.error], ["success", null])
          assert.isAtLeast(refused, 3)
          assert.deepStrictEqual(await rowsOf(client, "select id::integer from silver.kept order by id"), [
            [0],
            [1],
            [2],
          ])
        }),
      ),
    )

    it.effect("for good fails runs and pushes with the reason, and readiness says what is missing", () =>
      Effect.flatMap(BrokenStore, ({ node: { client, url, dataFolder }, proxy }) =>
        Effect.promise(async () => {
          await push(client, "kept", "select 'new' as id")
          const before = await client.tables.get("default", "silver", "kept")
          proxy.rule(() => broken)
          const ended = await run(client, "kept")
          assert.strictEqual(ended.status, "failed")
          assert.include(ended.error ?? "", "object store")
          assert.include(ended.error ?? "", "Nothing was published")
          assert.include(ended.error ?? "", "Run it again")
          assertForPeople(ended.error ?? "", dataFolder)
          const refusal = await rejection(push(client, "other", "select 1 as a"))
          assert.strictEqual(refusal.status, 503)
          assertForPeople(refusal.message, dataFolder)
          const state = await readiness(url)
          assert.deepStrictEqual([state.code, state.down], [503, ["object_store"]])

          proxy.rule(() => "pass")
          await until("readiness", 20, async () => ((await readiness(url)).code === 200 ? true : undefined))
          assert.strictEqual((await client.tables.get("default", "silver", "kept")).snapshot_id, before.snapshot_id)
          const again = await run(client, "kept")
          assert.deepStrictEqual([again.status, again.error], ["success", null])
          assert.deepStrictEqual(await rowsOf(client, "select id from silver.kept"), [["new"]])
        }),
      ),
    )
  },
)

class Node extends Context.Service<Node, TestNode>()("test/e2e/Node") {}

const use = <A>(act: (node: TestNode) => Promise<A>) => Effect.flatMap(Node, (node) => Effect.promise(() => act(node)))

/** A statement that takes a second or two. */
const slow = (rows: number) => `select i as id, md5(md5(md5(i::varchar))) as word from range(${rows}) t(i)`

/** Processes below this one that execute runs. */
const runSlots = () =>
  processTree(process.pid).filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("RunnerSlot.ts")
    } catch {
      return false
    }
  })

layer(Layer.effect(Node, testNode({ store: "file" })), { excludeTestServices: true, timeout: "60 seconds" })(
  "a node",
  (it) => {
    it.effect("fails the run whose slot is killed, and has a new slot for the next one", () =>
      use(async ({ client, dataFolder }) => {
        await push(client, "one", "select 1 as id")
        assert.strictEqual((await run(client, "one")).status, "success")
        await push(client, "one", slow(30_000_000))
        const id = await submit(client, "one")
        await executing(client, id)
        for (const pid of runSlots()) process.kill(pid, "SIGKILL")
        const ended = await client.runs.wait(id)
        assert.strictEqual(ended.status, "failed")
        assert.include(ended.error ?? "", "Nothing was published. Run it again")
        assertForPeople(ended.error ?? "", dataFolder)
        assert.deepStrictEqual(await rowsOf(client, "select id from silver.one"), [[1]])
        await push(client, "one", "select 2 as id")
        assert.strictEqual((await run(client, "one")).error, null)
        assert.deepStrictEqual(await rowsOf(client, "select id from silver.one"), [[2]])
      }),
    )

    it.effect("goes on with its runs when its Postgres is killed and comes back, and commits each once", () =>
      use(async ({ client, dataFolder, url }) => {
        const names = ["first", "second", "third"]
        for (const name of names) {
          await client.projects.push("default", {
            files: [
              { path: `pipelines/silver/${name}/pipeline.sql`, content: slow(1_500_000) },
              { path: `pipelines/silver/${name}/config.yaml`, content: "merge_strategy: append_only\n" },
            ],
          })
        }
        const ids = []
        for (const name of names) ids.push(await submit(client, name))
        await executing(client, ids[0] ?? "")
        const lock = join(dataFolder, "postgres", "cluster", "postmaster.pid")
        process.kill(Number.parseInt(readFileSync(lock, "utf8"), 10), "SIGKILL")
        for (const id of ids) {
          const ended = await until(`the end of run ${id}`, 50, async () => {
            const found = await client.runs.get(id)
            return found.finished_at === null ? undefined : found
          })
          assert.deepStrictEqual([ended.status, ended.error], ["success", null])
        }
        for (const name of names)
          assert.deepStrictEqual(await rowsOf(client, `select count(*)::integer from silver.${name}`), [[1_500_000]])
        assert.strictEqual((await readiness(url)).code, 200)
      }),
    )
  },
)

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
              const ended = await run(client, "one")
              assert.strictEqual(ended.status, "failed")
              return ended
            }),
          ),
        )
        const { client } = yield* testNode({ store: "file", data, environment })
        yield* Effect.promise(async () => {
          await until("the end of the branch", 10, async () =>
            (await client.runs.get(failed.id)).branch === null ? true : undefined,
          )
          const sql = "select * from silver.one"
          const refusal = await rejection(client.query.arrays({ sql, branch: `run-${failed.id}` }))
          assert.strictEqual(refusal.status, 404)
          assert.include(refusal.message, "expires")
        })
      }).pipe(Effect.scoped),
    60_000,
  )
})

/** A file system of a few megabytes; only root may mount one. */
const smallDisk = (path: string) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      mkdirSync(path, { recursive: true })
      return spawnSync("mount", ["-t", "tmpfs", "-o", "size=6m", "tmpfs", path]).status === 0
    }),
    (isMounted) => Effect.sync(() => (isMounted ? spawnSync("umount", ["-l", path]) : undefined)),
  )

describe.skipIf(process.getuid?.() !== 0)("a full disk (needs root, to mount a small one)", () => {
  it.live(
    "fails the run that fills it, leaves no half of a file, and hinders no smaller run",
    (context) =>
      Effect.gen(function* () {
        const data = join(yield* temporaryFolder, "data")
        if (!(yield* smallDisk(join(data, "store")))) return context.skip("mounting is not permitted here")
        const { client, dataFolder } = yield* testNode({ store: "file", data })
        yield* Effect.promise(async () => {
          await push(client, "one", "select 1 as id")
          assert.strictEqual((await run(client, "one")).error, null)
          await push(client, "one", slow(600_000))
          const ended = await run(client, "one")
          assert.strictEqual(ended.status, "failed")
          assert.include(ended.error ?? "", "disk is full")
          assert.include(ended.error ?? "", "Nothing was published")
          assertForPeople(ended.error ?? "", dataFolder)
          assert.deepStrictEqual(await rowsOf(client, "select id from silver.one"), [[1]])
          const files = readdirSync(join(data, "store"), { recursive: true, withFileTypes: true })
          assert.deepStrictEqual(
            files.filter((file) => file.isFile() && /tmp|part|\.new/.test(file.name)).map(({ name }) => name),
            [],
          )
          await push(client, "one", "select 2 as id")
          assert.strictEqual((await run(client, "one")).error, null)
          assert.deepStrictEqual(await rowsOf(client, "select id from silver.one"), [[2]])
        })
      }).pipe(Effect.scoped),
    60_000,
  )
})
