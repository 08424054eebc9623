import { createRequire } from "node:module"
import { servePeer } from "./Peer.ts"

/**
 * `GraphileProcess.ts FOLDER DATABASE_URL WIDTH`: graphile-worker, a job queue over Postgres, with its load in the same process. It
 * has no workflows: a step is a job that adds the next one, the way they are built with it.
 */

interface Job {
  readonly id: string
  readonly step: number
}
interface Helpers {
  readonly addJob: (task: string, payload: Job) => Promise<unknown>
}
interface Worker {
  readonly run: (options: Record<string, unknown>) => Promise<Helpers>
  readonly runMigrations: (options: Record<string, unknown>) => Promise<void>
  readonly Logger: new (factory: () => () => void) => unknown
}

const [folder = "", connectionString = "", width = "16"] = process.argv.slice(2)
const { Logger, run, runMigrations } = createRequire(`${folder}/`)("graphile-worker") as Worker
const ended = new Map<string, () => void>()
let number = 0
const options = {
  connectionString,
  concurrency: Number(width),
  maxPoolSize: 25,
  noHandleSignals: true,
  logger: new Logger(() => () => {}),
}
await runMigrations(options)
const runner = await run({
  ...options,
  taskList: {
    step: async ({ id, step }: Job, { addJob }: Helpers) => {
      if (step < 3) await addJob("step", { id, step: step + 1 })
      else ended.get(id)?.()
    },
  },
})
servePeer(null, async () => {
  const id = String(++number)
  const done = new Promise<void>((resolve) => ended.set(id, resolve))
  await runner.addJob("step", { id, step: 1 })
  await done
  ended.delete(id)
})
