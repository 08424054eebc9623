import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import { RatClient } from "@rat/client"
import { memoryOf } from "../support/Processes.ts"
import { openStage } from "./Acts.ts"
import { pushWorkload, startClients } from "./Clients.ts"
import { type Cluster, mixOf, startCluster } from "./Cluster.ts"
import type { StoreKind } from "./ClusterStore.ts"
import { checkEvents } from "./check/EventChecks.ts"
import { checkLeftovers, checkSlots } from "./check/Leftovers.ts"
import { checkRows } from "./check/RowChecks.ts"
import { checkRuns, readRuns } from "./check/RunChecks.ts"
import { checkTables } from "./check/TableChecks.ts"
import { type Act, deal } from "./Deck.ts"
import { makeDice } from "./Dice.ts"
import { type LedgerWriter, openLedger } from "./Ledger.ts"
import { measureRecovery, summarise, type Times } from "./Recovery.ts"

export interface ChaosOptions {
  readonly seed: number
  readonly nodes: number
  /** Accepted runs after which the test ends. */
  readonly runs: number
  /** Longest pause between two acts, in milliseconds; longer on a machine on which nodes start slowly. */
  readonly pauseMs?: number
  /** The first so many acts, then none; without it as many as there is time for. */
  readonly acts?: number
  /** No other acts than these. */
  readonly only?: ReadonlyArray<Act>
  /** Decided by the seed unless given. */
  readonly store?: StoreKind
  readonly clients?: number
  /** Longest pause of a client between two submissions, in milliseconds. */
  readonly clientPauseMs?: number
  readonly say?: (line: string) => void
}

export interface ChaosReport {
  readonly seed: number
  readonly nodes: number
  readonly store: StoreKind
  /** Sentences about what is lost, doubled, left over or stuck; none is what is hoped for. */
  readonly complaints: ReadonlyArray<string>
  readonly accepted: number
  /** Runs by status. */
  readonly runs: Readonly<Record<string, number>>
  readonly acts: Readonly<Record<string, number>>
  readonly attempts: { readonly lost: number; readonly failed: number }
  /** Of runs that a node held when it was lost, until they went on with another attempt, by how it was lost. */
  readonly recovery: Readonly<Record<string, Times>>
  /** From a client's first try until a run was accepted. */
  readonly acceptance: Times
  /** Answers that clients got: `ok`, `none`, or the HTTP status of an error. */
  readonly answers: Readonly<Record<string, number>>
  readonly seconds: number
  /** Most memory that all nodes took together, slots included, in bytes. */
  readonly memory_bytes: number
  /** What prints the same acts again. */
  readonly repeat: string
  /** Folder with what every process printed and with what clients were told; undefined when nothing is wrong. */
  readonly logs: string | undefined
}

/** Longest time until all runs have ended once nothing is broken any more. */
const restSeconds = 120
/** What a run leaves behind is put away after its end: lines, branches, slots, events. */
const settleMs = 3_000
/** A machine on which a cluster starts within this many seconds has the usual pace. */
const usualStartSeconds = 6
const slowestPace = 6
/** Longest time that submissions may go on after the last act. */
const submitSeconds = 600

const count = (items: Iterable<string>) => {
  const counts: Record<string, number> = {}
  for (const item of items) counts[item] = (counts[item] ?? 0) + 1
  return counts
}

/** All runs have ended, in the eyes of the database. */
export const untilRest = async ({ database }: Cluster) => {
  const deadline = performance.now() + restSeconds * 1000
  for (;;) {
    const open = await database
      .rows<{ readonly open: number }>(
        "select count(*)::integer as open from run where status not in ('succeeded', 'failed', 'cancelled')",
      )
      .then(
        ([row]) => Number(row?.open),
        () => undefined,
      )
    if (open === 0 || performance.now() > deadline) break
    await delay(200)
  }
  await delay(settleMs)
}

/** Everything that the checker finds in a cluster at rest. */
export const checkCluster = async (cluster: Cluster, ledger: LedgerWriter): Promise<ReadonlyArray<string>> => {
  const { database, store } = cluster
  const runs = await readRuns(database)
  return [
    ...ledger.complaints,
    ...(await checkRows(database)),
    ...(await checkEvents(database)),
    ...checkRuns(ledger, runs),
    ...(await checkTables({ database, store, ledger, runs })),
    ...checkSlots(cluster),
  ]
}

/**
 * Submits runs to a real cluster while it is broken in every way, lets it come to rest and compares what clients were told,
 * what the database says and what the tables hold.
 */
export const runChaos = async (options: ChaosOptions): Promise<ChaosReport> => {
  const { seed, nodes, runs, say = () => {} } = options
  const dice = makeDice(seed)
  const store = options.store ?? dice.of("store").pick(["folder", "s3"])
  const started = performance.now()
  const folder = mkdtempSync(join(tmpdir(), `rat-chaos-${seed}-`))
  const acts: Array<string> = []
  const complaints: Array<string> = []
  let memory = 0
  const cluster = await startCluster({ folder, roles: mixOf(nodes), store })
  const pace = Math.min(slowestPace, Math.max(1, (performance.now() - started) / 1000 / usualStartSeconds))
  const ledger = openLedger(cluster.logs)
  try {
    say(`${nodes} nodes, store ${store}, seed ${seed}, pace ${pace.toFixed(1)}, logs ${cluster.logs}`)
    await pushWorkload(new RatClient({ apiUrl: cluster.withRole("api")[0]!.url }), ledger)
    const clients = startClients({
      nodes: cluster.withRole("api"),
      ledger,
      dice: dice.of("clients"),
      count: options.clients ?? 6,
      pauseMs: options.clientPauseMs ?? 2_500,
      runs,
    })
    const stage = openStage(cluster)
    let isOver = false
    const submitted = clients.done.then(() => {
      isOver = true
    })
    const cards = deal(dice.of("acts"), {
      pauseMs: options.pauseMs ?? 2_500,
      ...(options.only === undefined ? {} : { only: options.only }),
    })
    while (!isOver && (options.acts === undefined || acts.length < options.acts)) {
      const card = cards.next().value
      await Promise.race([delay(card.pauseMs * pace), submitted])
      if (isOver) break
      const target = stage.play(card)
      ledger.write({ act: card.act, target, length: card.length })
      if (target === null) continue
      acts.push(card.act)
      say(
        `${((performance.now() - started) / 1000).toFixed(1)} s: ${card.act} (${target}); ${ledger.accepted.size} runs accepted`,
      )
      memory = Math.max(
        memory,
        cluster.nodes.reduce((sum, node) => sum + (node.isUp() ? memoryOf(node.pid()) : 0), 0),
      )
    }
    await Promise.race([submitted, delay(options.acts === undefined ? 0 : submitSeconds * 1000)])
    await stage.clear()
    complaints.push(...stage.complaints)
    say("healing")
    await cluster.heal()
    await clients.leave()
    await untilRest(cluster)
    say("checking")
    complaints.push(...(await checkCluster(cluster, ledger)))

    const { database } = cluster
    const records = await readRuns(database)
    const recovery = await measureRecovery(database, stage.losses)
    const outcomes = await database.rows<{ readonly outcome: string }>("select outcome from run_attempt")
    const attempts = count(outcomes.map(({ outcome }) => outcome))
    complaints.push(...(await cluster.drain()))
    // The kernel takes a moment to put away processes that were killed.
    await delay(500)
    complaints.push(...checkLeftovers(cluster))
    await cluster.close()
    const isGood = complaints.length === 0
    const report: ChaosReport = {
      seed,
      nodes,
      store,
      complaints,
      accepted: ledger.accepted.size,
      runs: count(records.map(({ status }) => status)),
      acts: count(acts),
      attempts: { lost: attempts.lost ?? 0, failed: attempts.failed ?? 0 },
      recovery,
      acceptance: summarise(ledger.waits),
      answers: Object.fromEntries(ledger.answers),
      seconds: Math.round((performance.now() - started) / 1000),
      memory_bytes: memory,
      repeat: `npm run chaos -- --runs ${runs} --nodes ${nodes} --seed ${seed}${options.store === undefined ? "" : ` --store ${store}`}`,
      logs: isGood ? undefined : cluster.logs,
    }
    if (isGood) rmSync(folder, { recursive: true, force: true })
    else writeFileSync(join(cluster.logs, "report.json"), `${JSON.stringify(report, null, 2)}\n`)
    return report
  } catch (error) {
    await cluster.close()
    throw new Error(`chaos with seed ${seed} broke off; logs: ${cluster.logs}`, { cause: error })
  }
}
