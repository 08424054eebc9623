import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, assert, describe, it } from "@effect/vitest"
import { RatClient, type RatError } from "@rat/client"
import { type Nessie, startNessie, stopNessie } from "@rat/lakehouse"
import { Effect } from "effect"
import { pushPipeline, readiness, rowsOf, runPipeline, submitRun, until } from "../support/Pipelines.ts"
import { startRat } from "../support/RatProcess.ts"
import { testNode } from "../support/TestNode.ts"

/* A server of ours whose catalog is a Nessie server; skipped with the reason where there is none. */
const nessie = await startNessie()

const api = async (server: Nessie, path: string, body?: unknown) => {
  const response = await fetch(`${server.url}/api/v2${path}`, {
    method: body === undefined ? "GET" : "POST",
    headers: { "content-type": "application/json" },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  const text = await response.text()
  assert.isTrue(response.ok, text)
  // biome-ignore lint/suspicious/noExplicitAny: an answer of somebody else's API
  return JSON.parse(text) as any
}

const content = async (server: Nessie, ref: string, elements: ReadonlyArray<string>) =>
  (await api(server, `/trees/${encodeURIComponent(ref)}/contents`, { requestedKeys: [{ elements }] })).contents[0]
    ?.content

/** Another program's commit to main. */
const foreignCommit = async (server: Nessie, operations: ReadonlyArray<unknown>) => {
  const { reference } = await api(server, "/trees/main")
  await api(server, `/trees/main%40${reference.hash}/history/commit`, {
    commitMeta: { message: "by another program", authors: ["spark"] },
    operations,
  })
}

if ("reason" in nessie) {
  console.info(`Nessie: skipped, ${nessie.reason}`)
  describe.skip(`A server with Nessie as its catalog (skipped: ${nessie.reason})`, () => {
    it("is not there", () => {})
  })
} else {
  const server = nessie.found
  afterAll(() => stopNessie(server))
  const environment = { RAT_CATALOG: "nessie", RAT_NESSIE_URL: server.url, RAT_NESSIE_TIMEOUT: "2 seconds" }

  describe("A server with Nessie as its catalog", () => {
    it.live(
      "survives SIGKILL while it publishes: every run that ends happened once",
      () =>
        Effect.gen(function* () {
          const folder = yield* Effect.acquireRelease(
            Effect.promise(() => mkdtemp(join(tmpdir(), "rat-nessie-"))),
            (path) => Effect.promise(() => rm(path, { recursive: true, force: true })),
          )
          const env = { ...environment, RAT_RUNNER_SLOTS: "2", RAT_LEASE_SECONDS: "3" }
          const start = Effect.acquireRelease(
            Effect.promise(() => startRat({ data: join(folder, "data"), env })),
            (rat) => Effect.promise(() => rat.killTree()),
          )
          const names = ["kill_a", "kill_b", "kill_c"]
          const ids: Array<string> = []
          for (let round = 0; round < 4; round++) {
            const rat = yield* start
            const client = new RatClient({ apiUrl: rat.url })
            yield* Effect.promise(async () => {
              if (round === 0) {
                for (const name of names) {
                  await pushPipeline(client, name, "-- @merge_strategy: append_only\nselect 1 as n")
                }
              }
              if (round === 3) {
                for (const id of ids) await client.runs.wait(id)
                return
              }
              for (const name of names) for (let n = 0; n < 3; n++) ids.push(await submitRun(client, name))
              // Killed in the middle of the work: at another point each round.
              await until("the first end", 60, async () => {
                const states = await Promise.all(ids.map((id) => client.runs.get(id)))
                return states.filter(({ status }) => status === "success").length > round * 4 ? true : undefined
              })
              await rat.killTree()
            })
            if (round < 3) continue
            yield* Effect.promise(async () => {
              const states = await Promise.all(ids.map((id) => client.runs.get(id)))
              assert.deepStrictEqual([...new Set(states.map(({ status }) => status))], ["success"])
              for (const name of names) {
                assert.deepStrictEqual(await rowsOf(client, `select count(*)::integer from silver.${name}`), [[9]])
              }
              // Nobody left a branch behind.
              const { references } = await api(server, "/trees?max-records=1000")
              const branches = references.map(({ name }: { readonly name: string }) => name)
              assert.deepStrictEqual(branches, ["main"])
            })
          }
        }),
      300_000,
    )

    it.live(
      "runs and publishes pipelines, sees other programs' tables, and is unavailable while Nessie is",
      () =>
        Effect.gen(function* () {
          const node = yield* testNode({ store: "file", environment })
          const { client } = node
          yield* Effect.promise(async () => {
            await pushPipeline(client, "numbers", "select i as n from range(5) t(i)")
            const run = await runPipeline(client, "numbers")
            assert.strictEqual(run.status, "success", run.error ?? "")
            assert.deepStrictEqual(await rowsOf(client, "select sum(n)::integer from silver.numbers"), [[10]])

            // What Nessie shows to others: the table's file, and the run in the commit.
            const shown = await content(server, "main", ["default", "silver", "numbers"])
            const [table] = (await client.tables.list({ namespace: "default" })).tables.filter(
              ({ name }) => name === "numbers",
            )
            assert.strictEqual(shown.type, "ICEBERG_TABLE")
            assert.strictEqual(table?.row_count, 5)
            const history = await api(server, "/trees/main/history?max-records=1")
            assert.deepStrictEqual(history.logEntries[0].commitMeta.allProperties["rat.run-id"], [run.id])

            // Another program gives the same table a second name; its numbers come from its metadata file.
            const { id: _, ...copied } = shown
            const put = { type: "PUT", key: { elements: ["default", "silver", "copied"] }, content: copied }
            await foreignCommit(server, [put])
            assert.deepStrictEqual(await rowsOf(client, "select sum(n)::integer from silver.copied"), [[10]])
            const found = (await client.tables.list({ namespace: "default" })).tables.find(
              ({ name }) => name === "copied",
            )
            assert.strictEqual(found?.row_count, 5)

            // A failing quality test keeps main as it is.
            await client.projects.push("default", {
              files: [
                { path: "pipelines/silver/numbers/pipeline.sql", content: "select i as n from range(7) t(i)" },
                {
                  path: "pipelines/silver/numbers/tests/quality/few.sql",
                  content: "-- @severity: error\nselect * from {{ this }} where n > 5",
                },
              ],
            })
            assert.strictEqual((await runPipeline(client, "numbers")).status, "failed")
            assert.deepStrictEqual(await rowsOf(client, "select count(*)::integer from silver.numbers"), [[5]])

            await stopNessie(server)
            const refused: RatError = await client.query.arrays("select * from silver.numbers").then(
              () => assert.fail("there is no catalog"),
              (error) => error,
            )
            assert.strictEqual(refused.status, 503, refused.message)
            assert.deepStrictEqual(await readiness(node.url), { code: 200, down: ["catalog"] })
          })
        }),
      180_000,
    )
  })
}
