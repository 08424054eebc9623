import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { hasDuckDb, isThorough, type Lake, skips, startLake } from "./Lake.ts"
import { type StrategyCase, strategyCases } from "./StrategyModel.ts"

/*
 * Pipelines of every strategy, several runs each, with keys that are NULL or occur twice, a new column, a wider one, other
 * orders and empty results. After each run we, PyIceberg, DuckDB and Spark have the rows of a model in plain SQL.
 */

const layouts = [
  { version: 2, settings: [] },
  { version: 3, settings: [] },
  { version: 2, settings: ["partition_by: ['bucket[3](id)', part]", "sort_by: [v desc]"] },
  { version: 3, settings: ["partition_by: [part]"] },
] as const

interface Column {
  readonly name: string
  readonly type: string
}

const columns: ReadonlyArray<Column> = [
  { name: "id", type: "integer" },
  { name: "part", type: "varchar" },
  { name: "v", type: "integer" },
  { name: "name", type: "varchar" },
]
const wider = columns.map((column) => (column.name === "v" ? { ...column, type: "bigint" } : column))
const evolved = [...wider, { name: "extra", type: "decimal(9,2)" }]

interface Round {
  readonly rows: number
  /** Keys are below this, so that small rounds meet some rows of a large table. */
  readonly keys: number
  readonly columns: ReadonlyArray<Column>
}

const rounds: ReadonlyArray<Round> = [
  { rows: 400, keys: 500, columns },
  { rows: 12, keys: 500, columns },
  { rows: 9, keys: 40, columns: evolved },
  { rows: 0, keys: 1, columns: evolved },
  { rows: 15, keys: 500, columns: evolved.toReversed() },
]

const seed = Number(process.env.RAT_TEST_SEED ?? 20_261)

/** Numbers below `bound`, the same for one seed. */
const random = (start: number) => {
  let state = start >>> 0
  return (bound: number) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * bound)
  }
}

const literal = (column: Column, next: (bound: number) => number, keys: number): string => {
  if (column.name === "id") return next(12) === 0 ? "null" : String(next(keys))
  if (column.name === "part") return ["'a'", "'b/c'", "'ü'", "null"][next(4)]!
  if (column.name === "name") return next(5) === 0 ? "null" : `'n${next(3)}''s'`
  if (column.name === "extra") return next(3) === 0 ? "null" : `${next(100)}.5`
  const isWide = column.type === "bigint" && next(4) === 0
  return next(6) === 0 ? "null" : isWide ? "9007199254740993" : String(next(3))
}

/** A query of a round's rows, in their order. */
const queryOf = (round: Round, next: (bound: number) => number): string => {
  const casts = round.columns.map(({ name, type }) => `${name}::${type} as ${name}`).join(", ")
  const names = round.columns.map(({ name }) => name).join(", ")
  const count = Math.max(round.rows, 1)
  const values = Array.from({ length: count }, (_, index) => {
    const row = round.columns.map((column) => literal(column, next, round.keys))
    return `(${index}, ${row.join(", ")})`
  })
  return `select ${casts} from (values ${values.join(", ")}) t(n, ${names})${round.rows === 0 ? " where false" : ""} order by n`
}

const nameOf = ({ settings, strategy }: StrategyCase, layout: (typeof layouts)[number]) =>
  [
    `${strategy}${settings.length === 0 ? "" : ` (${settings.join(", ")})`}`,
    `v${layout.version}`,
    ...layout.settings,
  ].join(", ")

describe.skipIf(!hasDuckDb)(`Merge strategies in foreign readers${skips}`, () => {
  let lake: Lake
  let withDeletes = 0
  beforeAll(async () => {
    lake = await startLake()
    // Iceberg 1.10's vectorized reader cannot widen an int whose Parquet column says so twice (INT32 with the annotation
    // INT(32), as DuckDB writes it).
    await lake.spark?.sql("set spark.sql.iceberg.vectorization.enabled=false")
    console.log(`Merge strategies: RAT_TEST_SEED=${seed}`)
  }, 180_000)
  afterAll(() => lake?.stop())

  /** One moment for a run: the latest that the table has, when it is later than those of the runs before. */
  const momentOf = async (table: string, added: ReadonlyArray<string>) => {
    if (added.length === 0) return null
    const greatest = added.length === 1 ? added[0] : `greatest(${added.join(", ")})`
    const [row] = await lake.ours(`select max(${greatest}) from silver.${table}`)
    return (row?.[0] as string | null | undefined) ?? null
  }

  const check = async (strategyCase: StrategyCase, layout: (typeof layouts)[number], number: number) => {
    const { client, compare, duckdb } = lake
    const table = `case_${number}`
    const next = random(seed + number)
    const tables = { m: `m${number}`, s: `s${number}` }
    const config = [
      `merge_strategy: ${strategyCase.strategy}`,
      `format_version: ${layout.version}`,
      ...strategyCase.settings,
      ...layout.settings,
    ].join("\n")
    const made = [...columns, ...strategyCase.added.map((name) => ({ name, type: "timestamptz" }))]
    await duckdb.sql(`create table ${tables.m} (${made.map(({ name, type }) => `${name} ${type}`).join(", ")})`)
    let before: string | null = null
    let all: ReadonlyArray<Column> = columns
    for (const [index, round] of rounds.entries()) {
      const sql = queryOf(round, next)
      const folder = `pipelines/silver/${table}`
      await client.projects.push("default", {
        files: [
          { path: `${folder}/pipeline.sql`, content: sql },
          { path: `${folder}/config.yaml`, content: `${config}\n` },
        ],
      })
      const run = await client.runs.create({ namespace: "default", layer: "silver", pipeline: table })
      const end = await client.runs.wait(run.run_id)
      assert.strictEqual(end.status, "success", `round ${index}: ${end.error}`)
      for (const { name, type } of round.columns) {
        const old = all.find((column) => column.name === name)
        if (old === undefined) await duckdb.sql(`alter table ${tables.m} add column ${name} ${type}`)
        else if (old.type !== type) await duckdb.sql(`alter table ${tables.m} alter ${name} type ${type}`)
      }
      all = evolved.filter(({ name }) => [...all, ...round.columns].some((column) => column.name === name))
      all = all.map((column) => round.columns.find(({ name }) => name === column.name) ?? column)
      const latest = await momentOf(table, strategyCase.added)
      const moment = latest === null || latest === before ? "'1970-01-01'::timestamptz" : `'${latest}'::timestamptz`
      before = latest ?? before
      await duckdb.sql(`create or replace table ${tables.s} as select (row_number() over ()) as n, * from (${sql})`)
      const facts = round.columns.map(({ name }) => name)
      for (const statement of strategyCase.apply(tables, facts, moment)) await duckdb.sql(statement)
      await compare({
        table,
        columns: [...all.map(({ name }) => name), ...strategyCase.added],
        model: tables.m,
        label: `round ${index}`,
      })
    }
    const [files] = await lake.ours(`select count(*) from silver."${table}$files" where content > 0`)
    withDeletes += Number(files?.[0]) > 0 ? 1 : 0
  }

  let number = 0
  for (const [at, strategyCase] of strategyCases.entries()) {
    for (const [index, layout] of layouts.entries()) {
      const own = number++
      // Beside all other tests each strategy has two layouts, one of each version, one of them partitioned.
      if (!isThorough && (index === 0 || index === 3) !== (at % 2 === 0)) continue
      it(nameOf(strategyCase, layout), { timeout: 120_000 }, () => check(strategyCase, layout, own))
    }
  }

  it("left delete files for the readers to apply, in v2 and v3", () => {
    assert.isAbove(withDeletes, 5)
  })
})
