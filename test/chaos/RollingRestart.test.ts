import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import { assert, describe, it } from "@effect/vitest"
import { RatClient, RatError } from "@rat/client"
import { startBalancer } from "./Balancer.ts"
import { checkCluster, untilRest } from "./Chaos.ts"
import { pushWorkload } from "./Clients.ts"
import { mixOf, startCluster } from "./Cluster.ts"
import { makeDice } from "./Dice.ts"
import { openLedger } from "./Ledger.ts"
import { keyOf, layer, type Pipeline, pipelines } from "./Workload.ts"

const seed = Number(process.env.CHAOS_SEED ?? Date.now() % 1_000_000)
const people = 5

/** Those whose runs never fail on purpose. */
const reliable = pipelines.filter(
  ({ files, kind }) =>
    (kind === "append" || kind === "counter") && files.length === 2 && !files[0]!.content.includes("error("),
) as unknown as readonly [Pipeline, ...Array<Pipeline>]

describe("a rolling restart under load", () => {
  it("fails no request and no run", { timeout: 300_000 }, async ({ annotate }) => {
    const dice = makeDice(seed)
    const folder = mkdtempSync(join(tmpdir(), `rat-chaos-rolling-${seed}-`))
    const cluster = await startCluster({ folder, roles: mixOf(4), store: "folder" })
    try {
      const ledger = openLedger(cluster.logs)
      const nodes = cluster.withRole("api")
      await pushWorkload(new RatClient({ apiUrl: nodes[0]!.url }), ledger)
      const balancer = startBalancer(nodes)
      await delay(1_000)

      const failures: Array<string> = []
      let requests = 0
      let isOver = false
      /** One request to one node; a full queue is an answer. */
      const send = async (what: string, request: (client: RatClient, node: string) => Promise<unknown>) => {
        const node = balancer.next()
        if (node === undefined) {
          failures.push(`${what}: no node is ready`)
          return
        }
        requests++
        await request(new RatClient({ apiUrl: node.url, timeoutMs: 30_000, maxRetries: 0 }), node.name).catch(
          (error) => {
            if (error instanceof RatError && error.status === 429) return
            failures.push(
              `${new Date().toISOString()} ${what} at ${node.name}: ${String(error)} ${String(error?.cause ?? "")}`,
            )
          },
        )
      }
      const person = async (name: string) => {
        const own = dice.of(name)
        for (let number = 0; !isOver; number++) {
          const { namespace, name: pipeline } = own.pick(reliable)
          const key = `${name}-${number}`
          await send("POST run", async (client, node) => {
            const { run_id } = await client.runs.create({ namespace, layer, pipeline }, { idempotencyKey: key })
            ledger.accept(key, { run: run_id, pipeline: keyOf({ namespace, name: pipeline }), uploads: [] }, node)
          })
          await send("GET runs", (client) => client.runs.list({ limit: 5 }))
          const run = ledger.accepted.get(key)?.run
          if (run !== undefined) await send("GET run", (client) => client.runs.get(run))
          await send("GET tables", (client) => client.tables.list())
          if (number % 3 === 0) await send("POST query", (client) => client.query.arrays("select 42"))
          await delay(own.between(50, 400))
        }
      }
      const everybody = Promise.all(Array.from({ length: people }, (_, index) => person(`person${index + 1}`)))
      await delay(3_000)
      for (const node of cluster.nodes) {
        const code = await node.stop()
        if (code !== 0) failures.push(`node ${node.name} was asked to stop and ended with ${code}`)
        await node.start()
        while ((await node.lacks()) !== null) await delay(100)
        await delay(500)
      }
      isOver = true
      await everybody
      await balancer.close()
      await untilRest(cluster)

      const where = `CHAOS_SEED=${seed}, logs: ${cluster.logs}`
      assert.deepStrictEqual(failures, [], where)
      assert.deepStrictEqual(await checkCluster(cluster, ledger), [], where)
      const unsuccessful = await cluster.database.rows("select id, status, error from run where status <> 'succeeded'")
      assert.deepStrictEqual(unsuccessful, [], where)
      await annotate(`${requests} requests and ${ledger.accepted.size} runs, none failed (seed ${seed})`)
      assert.deepStrictEqual(await cluster.drain(), [], where)
      await cluster.close()
      rmSync(folder, { recursive: true, force: true })
    } catch (error) {
      await cluster.close()
      throw error
    }
  })
})
