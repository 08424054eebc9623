import { readFileSync } from "node:fs"
import { join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import { chaosPipelines } from "./ChaosProject.ts"
import type { ChaosServer } from "./ChaosServer.ts"
import type { Clients } from "./Clients.ts"
import type { Dice } from "./Dice.ts"

/** How often each act is in a deck. */
export const deckOf = {
  "cancel a run": 5,
  "follow and leave": 3,
  "query and leave": 3,
  "query a branch": 2,
  "kill a slot": 4,
  "kill Postgres": 2,
  "kill the node": 1,
  "kill everything": 1,
  "stop and start": 1,
} as const

export type Act = keyof typeof deckOf

const kill = (pid: number) => {
  try {
    process.kill(pid, "SIGKILL")
  } catch {
    // It has ended meanwhile.
  }
}

/** What people and fate do to a server. Rejects only when a server cannot be started again. */
export const makeActs = (options: {
  readonly server: ChaosServer
  readonly clients: Clients
  readonly dice: Dice
  readonly data: string
}): Readonly<Record<Act, () => Promise<void>>> => {
  const { server, clients, dice, data } = options
  const { client } = clients
  const unlessAway = (act: () => Promise<void>) => () => act().catch(() => {})

  return {
    // Of its own, so that runs are met in all their phases.
    "cancel a run": unlessAway(async () => {
      const { name } = dice.pick(chaosPipelines)
      const { run_id } = await client.runs.create({ namespace: "default", layer: "silver", pipeline: name })
      await delay(dice.between(0, name.startsWith("slow") ? 600 : 60))
      await client.runs.cancel(run_id)
      clients.sawStatus(run_id, "cancelled")
    }),
    "follow and leave": async () => {
      const id = clients.someRun()
      if (id === undefined) return
      clients.visit(async (signal) => {
        for await (const update of client.runs.follow(id, { signal })) clients.sawUpdate(id, update)
      })
    },
    "query and leave": async () => {
      const sql = `select count(*), max(run) from silver.${dice.pick(chaosPipelines).name}, range(200)`
      clients.visit((signal) => client.query.arrays(sql, { signal }))
    },
    // A run that was cancelled early has no branch yet, one that failed early no table: then this is refused.
    "query a branch": unlessAway(async () => {
      const { runs } = await client.runs.list({ status: dice.pick(["failed", "cancelled"]), limit: 20 })
      const run = runs.find(({ branch }) => branch !== null)
      if (run?.branch == null) return
      await client.query.arrays({ sql: `select count(*) from silver.${run.pipeline}`, branch: run.branch })
    }),
    "kill a slot": async () => {
      const [first, ...rest] = server.slots()
      if (first !== undefined) kill(dice.pick([first, ...rest]))
    },
    "kill Postgres": unlessAway(async () => {
      const lock = readFileSync(join(data, "postgres", "cluster", "postmaster.pid"), "utf8")
      kill(Number.parseInt(lock, 10))
    }),
    "kill the node": () =>
      server.restart(async ({ pid }) => {
        kill(pid)
        // Sometimes the next start meets what is still ending.
        await delay(dice.between(0, 300))
      }),
    "kill everything": () => server.restart(({ killTree }) => killTree()),
    "stop and start": () =>
      server.restart(async ({ stop }) => {
        const code = await stop()
        if (code !== 0) clients.complaints.push(`a server that was asked to stop ended with ${code}`)
      }),
  }
}
