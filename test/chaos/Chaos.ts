import { existsSync, readdirSync } from "node:fs"
import { join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import { RatClient } from "@rat/client"
import { type Act, deckOf, makeActs } from "./Acts.ts"
import { chaosPipelines, pushChaosProject } from "./ChaosProject.ts"
import { startChaosServer } from "./ChaosServer.ts"
import { makeClients } from "./Clients.ts"
import { compareAnswers, compareRows } from "./Comparison.ts"
import { type Dice, makeDice } from "./Dice.ts"
import { readLedger } from "./Ledger.ts"

export interface ChaosOptions {
  /** Folder of the server's data, in which others may pass. */
  readonly data: string
  readonly seed: number
  /** How often all acts are performed, each time in another order. */
  readonly decks: number
  /** Longest pause between two acts, and between two submissions of a client. */
  readonly pauseMs: number
  readonly env: Readonly<Record<string, string>>
  readonly note?: (text: string) => void
}

export interface ChaosReport {
  /** Sentences about what is lost, doubled, left over or stuck; none is what is hoped for. */
  readonly complaints: ReadonlyArray<string>
  /** Number of runs by status. */
  readonly runs: Readonly<Record<string, number>>
  /** What the servers printed. */
  readonly output: string
}

/** Longest time until all runs have ended once nothing is broken any more. */
const restSeconds = 60
/** What a run leaves behind is put away after its end: lines, branches, slots, events. */
const settleMs = 1_500

const shuffled = (dice: Dice): ReadonlyArray<Act> =>
  Object.entries(deckOf)
    .flatMap(([act, count]) => Array.from({ length: count }, () => ({ act: act as Act, place: dice.roll() })))
    .sort((left, right) => left.place - right.place)
    .map(({ act }) => act)

const untilRest = async (client: RatClient) => {
  const deadline = performance.now() + restSeconds * 1000
  for (;;) {
    const count = async (status: "pending" | "running") => (await client.runs.list({ status, limit: 1 })).total
    const left = await Promise.all([count("pending"), count("running")]).catch(() => [1])
    if (left.every((runs) => runs === 0) || performance.now() > deadline) break
    await delay(200)
  }
  await delay(settleMs)
}

const entriesOf = (data: string) =>
  existsSync(join(data, "slots")) ? readdirSync(join(data, "slots"), { recursive: true, withFileTypes: true }) : []

/** Stack traces, also inside of lines of JSON, and what a runtime says when nobody handled something. */
const strange = /^\s+at |\\n\s+at |unhandled|MaxListenersExceeded/i

/**
 * Submits runs to a real server while it is broken in every way, lets it come to rest and compares what clients were told,
 * what the database says and what the tables hold.
 */
export const runChaos = async (options: ChaosOptions): Promise<ChaosReport> => {
  const { data, env, pauseMs } = options
  const dice = makeDice(options.seed)
  const server = await startChaosServer({ data, env })
  try {
    await pushChaosProject(new RatClient({ apiUrl: server.url }))
    const clients = makeClients({ url: server.url, dice, pauseMs })
    const { client, complaints } = clients
    const acts = makeActs({ server, clients, dice, data })
    for (let deck = 0; deck < options.decks; deck++) {
      for (const act of shuffled(dice)) {
        await delay(dice.between(0, pauseMs))
        options.note?.(act)
        await acts[act]()
      }
    }
    await clients.leave()
    await untilRest(client)

    const ledger = await readLedger(data)
    complaints.push(...ledger.complaints, ...compareAnswers(clients.accepted, clients.ends, ledger.runs))
    for (const { name, strategy } of chaosPipelines) {
      const good = ledger.runs.filter(({ pipeline, status }) => pipeline === name && status === "succeeded")
      if (good.length === 0) continue
      const expected = strategy === "append_only" ? good : good.filter(({ id }) => id === ledger.newest.get(name))
      const { rows } = await client.query.arrays(`select run, count(*)::integer from silver.${name} group by run`)
      const there = new Map(rows.map(([run, count]) => [String(run), Number(count)]))
      complaints.push(...compareRows(name, expected, there))
    }
    await delay(200)
    const entries = entriesOf(data)
    for (const file of entries) if (file.isFile()) complaints.push(`a slot keeps ${file.name} in ${file.parentPath}`)
    const folders = entries.filter(({ name }) => name === "spill").length
    const live = server.slots().length
    if (folders !== live) complaints.push(`${live} slots have ${folders} folders`)

    await server.end(async ({ stop }) => {
      const code = await stop()
      if (code !== 0) complaints.push(`the server ended with ${code}`)
    })
    // The kernel takes a moment to put away processes that were killed.
    await delay(500)
    for (const left of server.left()) complaints.push(`a process is left: ${left}`)
    for (const entry of entriesOf(data)) {
      if (entry.name === "spill") complaints.push(`a slot's folder is left: ${entry.parentPath}`)
    }
    const lines = server
      .output()
      .split("\n")
      .filter((line) => strange.test(line))
    if (lines.length > 0) complaints.push(`${lines.length} lines tell of stack traces, such as: ${lines[0]}`)
    const runs: Record<string, number> = {}
    for (const { status } of ledger.runs) runs[status] = (runs[status] ?? 0) + 1
    return { complaints, runs, output: server.output() }
  } catch (error) {
    await server.end(({ killTree }) => killTree())
    throw error
  }
}
