import { createRequire } from "node:module"
import { servePeer } from "./Peer.ts"

/** `DbosProcess.ts FOLDER DATABASE_URL`: DBOS, a library over Postgres, with its load in the same process. */

interface Dbos {
  readonly setConfig: (config: Record<string, unknown>) => void
  readonly launch: () => Promise<void>
  readonly registerWorkflow: (workflow: () => Promise<void>, options: { readonly name: string }) => () => Promise<void>
  readonly startWorkflow: (
    workflow: () => Promise<void>,
  ) => () => Promise<{ readonly getResult: () => Promise<unknown> }>
  readonly runStep: (step: () => Promise<void>, options: { readonly name: string }) => Promise<void>
}

const [folder = "", databaseUrl = ""] = process.argv.slice(2)
const { DBOS } = createRequire(`${folder}/`)("@dbos-inc/dbos-sdk") as { readonly DBOS: Dbos }
const nothing = async () => {}
const workflow = DBOS.registerWorkflow(
  async () => {
    for (const name of ["one", "two", "three"]) await DBOS.runStep(nothing, { name })
  },
  { name: "three" },
)
// As many sessions as our node has.
DBOS.setConfig({ name: "bench", systemDatabaseUrl: databaseUrl, systemDatabasePoolSize: 25, logLevel: "error" })
await DBOS.launch()
servePeer(null, async () => (await DBOS.startWorkflow(workflow)()).getResult())
