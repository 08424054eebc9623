import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import { assert, describe, it } from "@effect/vitest"
import { RatClient } from "@rat/client"
import { checkCluster, untilRest } from "./Chaos.ts"
import { pushWorkload, startClients } from "./Clients.ts"
import { startCluster } from "./Cluster.ts"
import { makeDice } from "./Dice.ts"
import { openLedger } from "./Ledger.ts"

const seed = Number(process.env.CHAOS_SEED ?? Date.now() % 1_000_000)
const restarts = 10

/** The goal is two seconds; the rest is for machines that do other things, too. */
const backWithinMs = 10_000

describe("Postgres that is killed and started again ten times under load", () => {
  it("takes nothing with it that was acknowledged, and writes are accepted again soon after it", {
    timeout: 300_000,
  }, async ({ annotate }) => {
    const dice = makeDice(seed)
    const folder = mkdtempSync(join(tmpdir(), `rat-chaos-postgres-${seed}-`))
    const cluster = await startCluster({
      folder,
      roles: [
        ["api", "control", "runner", "query"],
        ["api", "control", "runner", "query"],
      ],
      store: "folder",
    })
    try {
      const ledger = openLedger(cluster.logs)
      const nodes = cluster.withRole("api")
      await pushWorkload(new RatClient({ apiUrl: nodes[0]!.url }), ledger)
      const clients = startClients({ nodes, ledger, dice: dice.of("clients"), count: 4, pauseMs: 800, runs: 100_000 })

      const accepted: Array<string> = []
      /** Tries all the time until the node takes a run. */
      const untilServed = async (url: string) => {
        const client = new RatClient({ apiUrl: url, timeoutMs: 1_000, maxRetries: 0 })
        for (;;) {
          const run = await client.runs.create({ namespace: "default", kind: "noop" }).catch(() => undefined)
          if (run !== undefined) return accepted.push(run.run_id)
          await delay(20)
        }
      }
      const backMs: Array<number> = []
      for (let restart = 0; restart < restarts; restart++) {
        await delay(dice.between(500, 2_500))
        await (restart % 2 === 0 ? cluster.postgres.kill() : cluster.postgres.stopAtOnce())
        await delay(dice.between(0, 2_000))
        await cluster.postgres.start()
        const since = performance.now()
        await Promise.all(
          nodes.map(async ({ url }) => {
            await untilServed(url)
            backMs.push(Math.round(performance.now() - since))
          }),
        )
      }
      await clients.leave()
      await cluster.heal()
      await untilRest(cluster)

      const complaints = await checkCluster(cluster, ledger)
      const where = `CHAOS_SEED=${seed}, logs: ${cluster.logs}`
      assert.deepStrictEqual(complaints, [], where)
      const rows = await cluster.database.rows<{ readonly id: string; readonly status: string }>(
        "select id, status from run where kind = 'noop'",
      )
      const succeeded = new Set(rows.filter(({ status }) => status === "succeeded").map(({ id }) => id))
      assert.deepStrictEqual(
        accepted.filter((id) => !succeeded.has(id)),
        [],
        where,
      )
      const sorted = backMs.toSorted((left, right) => left - right)
      await annotate(
        `${ledger.accepted.size} runs; writes were accepted again after ${sorted.join(", ")} ms (seed ${seed})`,
      )
      assert.isBelow(sorted.at(-1)!, backWithinMs, where)
      assert.deepStrictEqual(await cluster.drain(), [], where)
      await cluster.close()
      rmSync(folder, { recursive: true, force: true })
    } catch (error) {
      await cluster.close()
      throw error
    }
  })
})
