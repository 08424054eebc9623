import { mkdtempSync } from "node:fs"
import { rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, layer } from "@effect/vitest"
import { RatClient, ValidationError } from "@rat/client"
import { Context, Effect, Layer } from "effect"
import { type Cluster, startCluster } from "../chaos/Cluster.ts"
import { executing, pushPipeline, rowsOf, runPipeline, slowSql, submitRun, until } from "../support/Pipelines.ts"

/** One role a node, so that everything that roles say to each other goes over the wire. */
class Nodes extends Context.Service<Nodes, Cluster>()("test/e2e/ClusterNodes") {
  static readonly layer = Layer.effect(
    Nodes,
    Effect.acquireRelease(
      Effect.promise(async () => {
        const folder = mkdtempSync(join(tmpdir(), "rat-cluster-"))
        const cluster = await startCluster({
          folder,
          roles: [["api"], ["control"], ["runner"], ["query"], ["control", "runner", "query"]],
          store: "folder",
        })
        return { cluster, folder }
      }),
      ({ cluster, folder }) =>
        Effect.promise(async () => {
          await cluster.close()
          await rm(folder, { recursive: true, force: true })
        }),
    ).pipe(Effect.map(({ cluster }) => cluster)),
  )
}

const use = (act: (client: RatClient, cluster: Cluster) => Promise<void>) =>
  Effect.flatMap(Nodes, (cluster) =>
    Effect.promise(() => act(new RatClient({ apiUrl: cluster.nodes[0]!.url, maxRetries: 0 }), cluster)),
  )

layer(Nodes.layer, { excludeTestServices: true, timeout: "150 seconds" })("A cluster of processes", (it) => {
  it.effect(
    "every node is seen with its roles, and the actors are spread over the control nodes",
    () =>
      use(async (client) => {
        const { nodes, missing_roles, shards } = await until("the shards are spread", 15, async () => {
          const seen = await client.cluster.get()
          const busy = seen.nodes.filter((node) => node.shards > 0)
          return busy.length === 2 && busy.every((node) => node.shards < seen.shards) ? seen : undefined
        })
        assert.deepStrictEqual(missing_roles, [])
        assert.deepStrictEqual(nodes.map(({ roles }) => roles.join()).sort(), [
          "api",
          "control",
          "control,runner,query",
          "query",
          "runner",
        ])
        assert.strictEqual(
          nodes.reduce((sum, node) => sum + node.shards, 0),
          shards,
        )
        assert.strictEqual(nodes.filter(({ is_self }) => is_self).length, 1)
        for (const node of nodes) assert.deepInclude(node, { health: "ok", status: "ready" })
      }),
    60_000,
  )

  it.effect(
    "what roles ask of each other comes through: checks, runs, logs, queries, schemas, diffs, maintenance, refusals",
    () =>
      use(async (client) => {
        const wrong = { path: "pipelines/silver/wrong/pipeline.sql", content: "selec 1" }
        const refused = await client.projects.push("default", { files: [wrong] }).then(
          () => undefined,
          (error: unknown) => error,
        )
        assert.instanceOf(refused, ValidationError)

        for (const word of ["a", "b"]) {
          await pushPipeline(client, "words", `select 1 as id, '${word}' as word`)
          const run = await runPipeline(client, "words")
          assert.strictEqual(run.status, "success", run.error ?? "")
        }
        const lines: Array<string> = []
        for await (const update of client.runs.follow(await submitRun(client, "words"))) {
          if (update.type === "log") lines.push(update.entry.message)
        }
        assert.isNotEmpty(lines)
        assert.deepStrictEqual(await rowsOf(client, "select id, word from silver.words"), [[1, "b"]])
        const table = await client.tables.get("default", "silver", "words")
        assert.deepStrictEqual(
          table.columns.map(({ name }) => name),
          ["id", "word"],
        )
        const { snapshots } = await client.tables.snapshots("default", "silver", "words")
        const diff = await client.tables.diff("default", "silver", "words", {
          a: { snapshot_id: snapshots.at(-1)!.snapshot_id },
          b: { snapshot_id: snapshots[0]!.snapshot_id },
          key: ["id"],
        })
        assert.strictEqual(diff.rows_changed, 1)
        const plan = await client.maintenance.plan("default", "silver", "words")
        assert.isObject(plan)
        const bad = await client.query.arrays("select nope").then(
          () => undefined,
          (error: unknown) => error,
        )
        assert.instanceOf(bad, ValidationError)
        // Several at once go to both nodes that can, one of which has other roles too.
        const many = await Promise.all(Array.from({ length: 8 }, (_, n) => rowsOf(client, `select ${n} as n`)))
        assert.deepStrictEqual(
          many.map((rows) => rows[0]?.[0]),
          [0, 1, 2, 3, 4, 5, 6, 7],
        )
        const csv = await new Response(await client.query.bytes("select 1 as a", "csv")).text()
        assert.strictEqual(csv.trim(), "a\n1")
      }),
    120_000,
  )

  it.effect(
    "a run whose runner is killed goes on elsewhere within seconds, and is cancelled wherever it runs",
    () =>
      use(async (client, cluster) => {
        await pushPipeline(client, "slow", slowSql(6_000_000))
        const id = await submitRun(client, "slow")
        await executing(client, id)
        const { nodes } = await client.cluster.get()
        const runner = nodes.find((node) => node.running > 0)
        const holder = cluster.nodes.find((node) => node.url === runner?.url)
        if (holder === undefined) return assert.fail("no node has the run")
        await holder.kill()
        const killedAt = performance.now()
        await until("the next attempt", 20, async () => {
          const run = await client.runs.get(id)
          return run.attempt === 2 && run.status === "running" ? run : undefined
        })
        // The bar is 3 s on a machine that has nothing else to do; what is measured is in docs/benchmarks.md.
        assert.isBelow(performance.now() - killedAt, 10_000)
        await client.runs.cancel(id)
        assert.strictEqual((await client.runs.wait(id)).status, "cancelled")
        await holder.start()
      }),
    120_000,
  )

  it.effect(
    "a node without the role api answers health checks, and says where the API is",
    () =>
      use(async (_, cluster) => {
        const runner = cluster.nodes[2]!
        assert.strictEqual((await fetch(`${runner.url}/health/live`)).status, 200)
        const response = await fetch(`${runner.url}/api/v1/runs`)
        assert.strictEqual(response.status, 404)
        assert.match(await response.text(), /does not have the role \\"api\\"/)
      }),
    30_000,
  )
})
