import { readdirSync, readFileSync, renameSync, rmSync, symlinkSync } from "node:fs"
import { join } from "node:path"
import { assert, layer } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { pushPipeline, readiness, rowsOf, runPipeline, until } from "../support/Pipelines.ts"
import { assertForPeople } from "../support/Refusal.ts"
import { type TestNode, testNode } from "../support/TestNode.ts"

/** What readers are told while the things that tables are in are away: 503 and "try again", never 500. */

class Node extends Context.Service<Node, TestNode>()("test/e2e/Node") {}

const use = <A>(act: (node: TestNode) => Promise<A>) => Effect.flatMap(Node, (node) => Effect.promise(() => act(node)))

/** Without the client's own patience: status and message of one try. */
const answerOf = async (url: string, init?: RequestInit) => {
  const response = await fetch(url, init)
  const body = (await response.json()) as { readonly error?: { readonly message: string } }
  return {
    status: response.status,
    retryAfter: response.headers.get("retry-after"),
    message: body.error?.message ?? "",
  }
}

const reads = {
  query: (url: string) =>
    answerOf(`${url}/api/v1/query`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ sql: "select id from silver.kept" }),
    }),
  preview: (url: string) => answerOf(`${url}/api/v1/tables/default/silver/kept/preview`),
  tables: (url: string) => answerOf(`${url}/api/v1/tables`),
}

layer(Layer.effect(Node, testNode({ store: "file" })), { excludeTestServices: true, timeout: "60 seconds" })(
  "readers",
  (it) => {
    it.effect("learn that the object store fails, and read again when it does not", () =>
      use(async ({ client, url, dataFolder }) => {
        await pushPipeline(client, "kept", "select 1 as id")
        assert.strictEqual((await runPipeline(client, "kept")).error, null)
        const data = join(dataFolder, "store/default/silver/kept/data")
        const file = join(data, readdirSync(data)[0] ?? "")
        renameSync(file, `${file}.away`)
        symlinkSync(file, file) // a link to itself: the file system refuses it
        for (const read of [reads.query, reads.preview]) {
          const refused = await read(url)
          assert.strictEqual(refused.status, 503)
          assert.isNotNull(refused.retryAfter)
          assert.include(refused.message, "object store")
          assertForPeople(refused.message, dataFolder)
        }
        assert.strictEqual((await reads.tables(url)).status, 200)
        rmSync(file)
        renameSync(`${file}.away`, file)
        assert.deepStrictEqual(await rowsOf(client, "select id from silver.kept"), [[1]])
      }),
    )

    it.effect("learn that the database is away, and read again when it is back", () =>
      use(async ({ client, url, dataFolder }) => {
        const lock = join(dataFolder, "postgres", "cluster", "postmaster.pid")
        const postgres = Number.parseInt(readFileSync(lock, "utf8"), 10)
        process.kill(postgres, "SIGKILL")
        // Postgres is back within a second or so: reads wait for it or are refused, and neither is an error of ours.
        await until("the database's return", 30, async () => {
          const answers = await Promise.all(
            Object.entries(reads).map(async ([name, read]) => ({ name, ...(await read(url)) })),
          )
          for (const { name, status, message, retryAfter } of answers) {
            if (status === 200) continue
            assert.deepStrictEqual([name, status], [name, 503])
            assert.isNotNull(retryAfter)
            assert.include(message, "database cannot be reached")
          }
          const isBack = Number.parseInt(readFileSync(lock, "utf8"), 10) !== postgres
          const isServed = answers.every(({ status }) => status === 200)
          return isBack && isServed && (await readiness(url)).down.length === 0 ? true : undefined
        })
        assert.deepStrictEqual(await rowsOf(client, "select id from silver.kept"), [[1]])
      }),
    )
  },
)
