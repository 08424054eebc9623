import { spawnSync } from "node:child_process"
import { mkdirSync, readdirSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it, layer } from "@effect/vitest"
import { type FaultProxy, makeFaultProxy } from "@rat/lakehouse"
import { Context, Effect, Layer } from "effect"
import { pushPipeline, readiness, rowsOf, runPipeline, slowSql, until } from "../support/Pipelines.ts"
import { assertForPeople, rejection } from "../support/Refusal.ts"
import { s3Environment, s3Server } from "../support/S3Server.ts"
import { type TestNode, temporaryFolder, testNode } from "../support/TestNode.ts"

/** The object store breaks while the node works: an S3 server that answers 500, a disk that is full. */

class BrokenStore extends Context.Service<BrokenStore, { readonly node: TestNode; readonly proxy: FaultProxy }>()(
  "test/e2e/BrokenStore",
) {
  static readonly layer = Layer.effect(
    BrokenStore,
    Effect.gen(function* () {
      const proxy = yield* makeFaultProxy(yield* s3Server)
      // A run waits for its store as long as it may take, and another attempt follows: neither, where it stays away.
      const environment = {
        ...s3Environment(proxy.url),
        RAT_RUN_TIMEOUT_SECONDS: "15",
        RAT_MAX_OUTAGE_RETRIES: "0",
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
          await pushPipeline(client, "kept", "select i as id from range(3) t(i)")
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
          const ended = await runPipeline(client, "kept")
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

    it.effect(
      "for good fails runs and pushes with the reason, and readiness says what is missing",
      () =>
        Effect.flatMap(BrokenStore, ({ node: { client, url, dataFolder }, proxy }) =>
          Effect.promise(async () => {
            await pushPipeline(client, "kept", "select 2 as id")
            const before = await client.tables.get("default", "silver", "kept")
            proxy.rule(() => broken)
            const ended = await runPipeline(client, "kept")
            assert.strictEqual(ended.status, "failed")
            assert.include(ended.error ?? "", "object store")
            assert.include(ended.error ?? "", "Nothing was published")
            assert.include(ended.error ?? "", "Run it again")
            assertForPeople(ended.error ?? "", dataFolder)
            const refusal = await rejection(pushPipeline(client, "other", "select 1 as a"))
            assert.strictEqual(refusal.status, 503)
            assertForPeople(refusal.message, dataFolder)
            const state = await readiness(url)
            assert.deepStrictEqual([state.code, state.down], [200, ["object_store"]])

            proxy.rule(() => "pass")
            await until("readiness", 20, async () => ((await readiness(url)).down.length === 0 ? true : undefined))
            assert.strictEqual((await client.tables.get("default", "silver", "kept")).snapshot_id, before.snapshot_id)
            const again = await runPipeline(client, "kept")
            assert.deepStrictEqual([again.status, again.error], ["success", null])
            assert.deepStrictEqual(await rowsOf(client, "select id::integer from silver.kept"), [[2]])
          }),
        ),
      60_000,
    )
  },
)

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
          await pushPipeline(client, "one", "select 1 as id")
          assert.strictEqual((await runPipeline(client, "one")).error, null)
          await pushPipeline(client, "one", slowSql(600_000))
          const ended = await runPipeline(client, "one")
          assert.strictEqual(ended.status, "failed")
          assert.include(ended.error ?? "", "is full. Free some space")
          assert.include(ended.error ?? "", "Nothing was published")
          assertForPeople(ended.error ?? "", dataFolder)
          assert.deepStrictEqual(await rowsOf(client, "select id from silver.one"), [[1]])
          const files = readdirSync(join(data, "store"), { recursive: true, withFileTypes: true })
          assert.deepStrictEqual(
            files.filter((file) => file.isFile() && /tmp|part|\.new/.test(file.name)).map(({ name }) => name),
            [],
          )
          await pushPipeline(client, "one", "select 2 as id")
          assert.strictEqual((await runPipeline(client, "one")).error, null)
          assert.deepStrictEqual(await rowsOf(client, "select id from silver.one"), [[2]])
        })
      }).pipe(Effect.scoped),
    60_000,
  )
})
