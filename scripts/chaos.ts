/**
 * `npm run chaos -- [--runs 1000] [--nodes 5] [--seed N] [--store folder|s3] [--only "kill a node"] [--acts N] [--pause MS]
 * [--json]`: breaks a real cluster in every way while it works, then looks for what was lost. With `--json` the last line of
 * the output is the report. Exit code 1 when something is wrong.
 */
import { parseArgs } from "node:util"
import { runChaos } from "../test/chaos/Chaos.ts"
import { type Act, deckOf } from "../test/chaos/Deck.ts"

const usage = (problem: string): never => {
  console.error(`${problem}
Usage: npm run chaos -- [--runs N] [--nodes N] [--seed N] [--store folder|s3] [--only ACT]… [--acts N] [--pause MS] [--clients N] [--json]
Acts: ${Object.keys(deckOf).join(", ")}`)
  return process.exit(2)
}

const read = () => {
  try {
    return parseArgs({
      options: {
        runs: { type: "string", default: "1000" },
        nodes: { type: "string", default: "5" },
        seed: { type: "string", default: String(Date.now() % 1_000_000) },
        store: { type: "string" },
        only: { type: "string", multiple: true },
        acts: { type: "string" },
        pause: { type: "string" },
        clients: { type: "string" },
        json: { type: "boolean", default: false },
      },
    }).values
  } catch (error) {
    return usage((error as Error).message)
  }
}

const values = read()
const number = (name: "runs" | "nodes" | "seed" | "acts" | "pause" | "clients"): number | undefined => {
  const text = values[name]
  if (text === undefined) return undefined
  return /^\d+$/.test(text) ? Number(text) : usage(`--${name} takes a whole number, not "${text}".`)
}
const { store, only } = values
if (store !== undefined && store !== "folder" && store !== "s3") usage(`--store is folder or s3, not "${store}".`)
for (const act of only ?? []) if (!(act in deckOf)) usage(`There is no act "${act}".`)
const acts = number("acts")
const pauseMs = number("pause")
const clients = number("clients")

for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, () => process.exit(130))

const report = await runChaos({
  seed: number("seed")!,
  nodes: number("nodes")!,
  runs: number("runs")!,
  ...(acts === undefined ? {} : { acts }),
  ...(pauseMs === undefined ? {} : { pauseMs }),
  ...(clients === undefined ? {} : { clients }),
  ...(store === "folder" || store === "s3" ? { store } : {}),
  ...(only === undefined ? {} : { only: only as ReadonlyArray<Act> }),
  say: (line) => console.error(line),
})
if (!values.json) {
  const { complaints, ...rest } = report
  for (const [name, value] of Object.entries(rest)) console.log(`${name.padEnd(14)} ${JSON.stringify(value) ?? "-"}`)
  for (const complaint of complaints) console.log(`WRONG: ${complaint}`)
  console.log(complaints.length === 0 ? "Nothing was lost." : `Repeat: ${report.repeat}`)
} else console.log(JSON.stringify(report))
process.exit(report.complaints.length === 0 ? 0 : 1)
