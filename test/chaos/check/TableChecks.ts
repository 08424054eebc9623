import type { ClusterStore } from "../ClusterStore.ts"
import type { Database } from "../Database.ts"
import type { Ledger } from "../Ledger.ts"
import { amountOf, counterKeys, keyOf, layer, type Pipeline, pipelineOf, pipelines } from "../Workload.ts"
import { type Lake, openLake } from "./Lake.ts"
import type { RunRecord } from "./RunChecks.ts"

type Rows = ReadonlyArray<Readonly<Record<string, unknown>>>

const few = 5
const inShort = (complaints: ReadonlyArray<string>): ReadonlyArray<string> =>
  complaints.length <= few
    ? complaints
    : [...complaints.slice(0, few), `… and ${complaints.length - few} more of that table`]

const byRun = (rows: Rows): ReadonlyMap<string, Rows> => Map.groupBy(rows, ({ run }) => String(run))

/** The rows that each successful run should have left, and no others. `rowsOf` answers with what is wrong with one run's rows. */
const compareRuns = (
  rows: Rows,
  good: ReadonlySet<string>,
  problemOf: (run: string, rows: Rows) => string | undefined,
) => {
  const there = byRun(rows)
  return [
    ...Array.from(there.keys()).flatMap((run) =>
      good.has(run) ? [] : [`holds rows of run ${run}, which did not succeed`],
    ),
    ...Array.from(good).flatMap((run) => {
      const problem = problemOf(run, there.get(run) ?? [])
      return problem === undefined ? [] : [`run ${run} ${problem}`]
    }),
  ]
}

const checkAppend = (rows: Rows, good: ReadonlySet<string>, count: number) =>
  compareRuns(rows, good, (run, own) => {
    const amounts = own.map(({ amount, n }) => Number(amount) - Number(n))
    const numbers = own.map(({ n }) => Number(n)).sort((left, right) => left - right)
    if (own.length !== count) return `left ${own.length} rows instead of ${count}`
    if (numbers.some((n, index) => n !== index)) return `left the rows ${numbers.join()}`
    return amounts.every((amount) => amount === amountOf(run))
      ? undefined
      : `added ${amounts[0]} instead of ${amountOf(run)}`
  })

const checkCounter = (rows: Rows, good: ReadonlySet<string>) => {
  const expected = new Map<number, { total: number; runs: number }>()
  for (const run of good) {
    const amount = amountOf(run)
    const before = expected.get(amount % counterKeys) ?? { total: 0, runs: 0 }
    expected.set(amount % counterKeys, { total: before.total + amount, runs: before.runs + 1 })
  }
  const complaints = rows.flatMap(({ k, total, runs, run }) => {
    const wanted = expected.get(Number(k))
    if (wanted === undefined) return [`has a row for key ${k}, to which nobody added anything`]
    if (!good.has(String(run))) return [`key ${k} was written by run ${run}, which did not succeed`]
    return Number(total) === wanted.total && Number(runs) === wanted.runs
      ? []
      : [`key ${k} counts ${total} of ${runs} runs instead of ${wanted.total} of ${wanted.runs}`]
  })
  return rows.length === expected.size
    ? complaints
    : [...complaints, `has ${rows.length} rows instead of ${expected.size}`]
}

const checkLanding = (rows: Rows, good: ReadonlySet<string>, ledger: Ledger) => {
  const before = new Map(Array.from(ledger.accepted.values(), ({ run, uploads }) => [run, uploads]))
  return compareRuns(rows, good, (run, own) => {
    const names = own.map(({ upload }) => String(upload))
    if (new Set(names).size !== names.length) return `read an upload twice: ${names.join()}`
    const wrong = own.find(({ upload, amount }) => ledger.uploads.get(String(upload))?.amount !== Number(amount))
    if (wrong !== undefined)
      return `read ${JSON.stringify(wrong.upload)} with ${wrong.amount}, which is not what was uploaded`
    const missed = before.get(run)?.find((name) => !names.includes(name))
    return missed === undefined ? undefined : `did not read ${missed}, whose upload had been acknowledged`
  })
}

const checkWhole = (rows: Rows, goodThere: ReadonlySet<string>, of: Pipeline) =>
  rows.flatMap(({ run, rows: count, amount }) => {
    const wanted = of.kind === "append" ? of.rows : 0
    const sum = wanted * amountOf(String(run)) + (wanted * (wanted - 1)) / 2
    if (!goodThere.has(String(run))) return [`saw rows of run ${run} of ${of.name}, which did not succeed`]
    return Number(count) === wanted && Number(amount) === sum ? [] : [`saw ${count} rows with ${amount} of run ${run}`]
  })

/** Reads every table with a foreign reader and compares it with what the successful runs should have left there. */
export const checkTables = async (options: {
  readonly database: Database
  readonly store: ClusterStore
  readonly ledger: Ledger
  readonly runs: ReadonlyArray<RunRecord>
}): Promise<ReadonlyArray<string>> => {
  const { ledger, runs } = options
  const tables = await options.database.rows<{
    readonly key: string
    readonly metadata_location: string
    readonly row_count: bigint
  }>(
    `select namespace || '.' || name as key, metadata_location, row_count from catalog_table
     where layer = $1 and metadata_location is not null`,
    [layer],
  )
  const goodOf = (key: string) =>
    new Set(runs.filter(({ pipeline, status }) => pipeline === key && status === "succeeded").map(({ id }) => id))

  const complaints: Array<string> = []
  const lake: Lake = openLake(options.store)
  try {
    for (const pipeline of pipelines) {
      const key = keyOf(pipeline)
      const good = goodOf(key)
      const table = tables.find((candidate) => candidate.key === key)
      if (table === undefined) {
        if (good.size > 0) complaints.push(`table ${key} is not there although ${good.size} runs succeeded`)
        continue
      }
      const problems: Array<string> = []
      try {
        problems.push(...(await lake.missing(table.metadata_location)))
        const rows = await lake.rows(table.metadata_location)
        if (rows.length !== Number(table.row_count))
          problems.push(`has ${rows.length} rows, the catalog says ${table.row_count}`)
        if (pipeline.kind === "append") problems.push(...checkAppend(rows, good, pipeline.rows))
        else if (pipeline.kind === "counter") problems.push(...checkCounter(rows, good))
        else if (pipeline.kind === "landing") problems.push(...checkLanding(rows, good, ledger))
        else {
          const of = keyOf({ namespace: pipeline.namespace, name: pipeline.of })
          problems.push(...checkWhole(rows, goodOf(of), pipelineOf.get(of)!))
        }
      } catch (error) {
        problems.push(`cannot be read: ${String(error)}`)
      }
      complaints.push(...inShort(problems).map((problem) => `table ${key} ${problem}`))
    }
  } finally {
    lake.close()
  }
  return complaints
}
