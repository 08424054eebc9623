import { quoteText } from "../scan/SqlText.ts"
import type { ModelDefault, ResultColumn } from "./ModelEvolution.ts"
import { canWiden, duckTypeOfColumn, type Kind, type ModelVersion } from "./ModelTable.ts"

/** Numbers below a limit. */
export type Dice = (below: number) => number

export const pick = <A>(dice: Dice, values: ReadonlyArray<A>): A => values[dice(values.length)]!

/** As often as they are run: those that change single rows of large files more than those that replace them. */
const strategyNames = [
  "full_refresh",
  "append_only",
  "incremental",
  "incremental",
  "incremental",
  "delete_insert",
  "delete_insert",
  "delete_insert",
  "scd2",
  "scd2",
  "snapshot",
  "soft_delete",
] as const

/** A run of a pipeline, before anything is known of what its table becomes. */
export interface RandomRun {
  readonly strategy: (typeof strategyNames)[number]
  readonly result: ReadonlyArray<ResultColumn>
  /** Values by column of the result; as `Row` has them. */
  readonly rows: ReadonlyArray<ReadonlyArray<string | null>>
  readonly onChange: "evolve" | "fail" | "ignore"
  readonly allowDestructive: boolean
  readonly rename: { readonly from: string; readonly to: string } | null
  readonly defaults: ReadonlyMap<string, ModelDefault>
  readonly formatVersion: 2 | 3 | null
  readonly dedup: boolean
  readonly closesMissing: boolean
  readonly folds: boolean
}

/** So few values that keys meet, and so many that not all rows of a file go at once; NULL is one. */
const values: Readonly<Record<Kind, readonly [narrow: ReadonlyArray<string>, wide: ReadonlyArray<string>]>> = {
  int: [["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "-7"], ["9000000000"]],
  text: [["a", "b", "c", "d", "e", "f", "g", "ä", "", "it's", "x/y z%"], []],
  float: [["0.5", "1.25", "-2.0", "nan"], ["0.1"]],
  decimal: [["1.50", "-0.01", "9999.99"], ["12345678.90"]],
  date: [["2020-01-01", "2020-01-02", "2020-02-29", "2021-12-31", "2022-06-15", "1969-07-20"], ["2021-12-31 12:30:00"]],
  bool: [["true", "false"], []],
  moment: [[], []],
}

const value = (dice: Dice, { isWide, kind }: ResultColumn): string | null => {
  const [narrow, wide] = values[kind]
  return dice(10) === 0 ? null : pick(dice, isWide ? [...narrow, ...wide] : narrow)
}

const defaults: ReadonlyArray<ModelDefault> = [
  { kind: "int", json: 77, value: "77" },
  { kind: "text", json: "other", value: "other" },
  { kind: "bool", json: true, value: "true" },
  { kind: "float", json: 0.5, value: "0.5" },
  { kind: "decimal", json: "2.25", value: "2.25" },
]

const kinds: ReadonlyArray<Kind> = ["int", "text", "float", "decimal", "date", "bool"]
const names = ["k1", "k2", "p", "d", "a", "b", "c", "e"]

const firstColumns: ReadonlyArray<ResultColumn> = [
  { name: "k1", kind: "int", isWide: false },
  { name: "k2", kind: "text", isWide: false },
  { name: "p", kind: "int", isWide: false },
  { name: "d", kind: "date", isWide: false },
]

/** Another kind that no value of the first one could be taken for. */
const unlike: Partial<Record<Kind, Kind>> = { int: "text", text: "int", bool: "text" }

/** Numbers of rows. */
const few = [0, 1, 1, 1, 2, 2, 5]
const many = [0, 1, 1, 1, 2, 2, 5, 9, 30, 30]

/** A run on a table. About one in ten is to be refused. */
export const randomRun = (dice: Dice, base: ModelVersion | null): RandomRun => {
  const strategy = pick(dice, strategyNames)
  const table = (base?.columns ?? firstColumns).filter(({ kind }) => kind !== "moment")
  let result = table.map(({ isWide, kind, name }): ResultColumn => ({ name, kind, isWide: isWide && dice(3) > 0 }))
  const free = names.filter((name) => !table.some((column) => column.name === name))
  const change = (at: number, next: Partial<ResultColumn>) => {
    result = result.map((column, index) => (index === at ? { ...column, ...next } : column))
  }
  let rename: RandomRun["rename"] = null
  if (base !== null) {
    if (dice(8) === 0) {
      const at = dice(result.length)
      if (canWiden(result[at]!.kind)) change(at, { isWide: true })
    }
    if (dice(10) === 0 && result.length > 2) result = result.toSpliced(dice(result.length), 1)
    if (dice(10) === 0 && free.length > 0) {
      const at = dice(result.length)
      const to = pick(dice, free)
      rename = { from: result[at]!.name, to }
      change(at, { name: to })
    } else if (dice(12) === 0) rename = { from: pick(dice, names), to: pick(dice, names) }
    if (dice(8) === 0 && free.length > 0 && rename === null) {
      result = [...result, { name: pick(dice, free), kind: pick(dice, kinds), isWide: false }]
    }
    if (dice(40) === 0) {
      const at = dice(result.length)
      const kind = unlike[result[at]!.kind]
      if (kind !== undefined) change(at, { kind, isWide: false })
    }
  }
  if (rename !== null && rename.from === rename.to) rename = null
  if (dice(2) === 0) result = result.toSorted(() => dice(3) - 1)
  const named = new Map<string, ModelDefault>()
  if (dice(8) === 0) {
    const { kind, name } = pick(dice, [...table, ...result])
    const found = defaults.find((each) => each.kind === kind)
    if (found !== undefined) named.set(name, found)
  }
  const isMuch = (base?.rows.length ?? 0) > 80
  // Branches whose tables only got rows are merged where others are refused: they should be frequent.
  const isPlainAppend = base !== null && dice(4) === 0
  return {
    strategy: isMuch && dice(3) === 0 ? "full_refresh" : isPlainAppend ? "append_only" : strategy,
    result,
    rows: Array.from({ length: base === null ? 30 : pick(dice, isMuch ? few : many) }, () =>
      result.map((column) => value(dice, column)),
    ),
    onChange: dice(12) === 0 ? pick(dice, ["fail", "ignore"] as const) : "evolve",
    allowDestructive: dice(4) > 0,
    rename,
    defaults: named,
    formatVersion: dice(base === null ? 1 : 12) === 0 ? pick(dice, [2, 3] as const) : null,
    dedup: !isPlainAppend && dice(2) === 0,
    closesMissing: dice(6) === 0,
    folds: !isPlainAppend && dice(2) === 0,
  }
}

/** The query whose rows are the run's. */
export const queryOf = ({ result, rows }: Pick<RandomRun, "result" | "rows">): string => {
  const list = result.map((column) => `"${column.name}"::${duckTypeOfColumn(column)} as "${column.name}"`).join(", ")
  const lines = (rows.length === 0 ? [result.map(() => null)] : rows).map(
    (row, index) => `(${[index, ...row.map((cell) => (cell === null ? "null" : quoteText(cell)))].join(", ")})`,
  )
  const columns = result.map(({ name }) => `"${name}"`).join(", ")
  return `select ${list} from (values ${lines.join(", ")}) as t(rat_model_order, ${columns}) where ${rows.length > 0} order by rat_model_order`
}

const toldColumn = (column: ResultColumn) => `${column.name} ${duckTypeOfColumn(column)}`

/** A run in one line, for the log of a failure. */
export const toldRun = (run: RandomRun, base: ModelVersion | null): string => {
  const table = base === null ? "nothing" : `v${base.formatVersion} (${base.columns.map(toldColumn).join(", ")})`
  const { defaults, dedup, result, rows, strategy, ...rest } = run
  const settings = { ...rest, defaults: [...defaults.keys()], ...(strategy === "append_only" ? { dedup } : {}) }
  return `${strategy} into ${table} of (${result.map(toldColumn).join(", ")}) ${JSON.stringify(rows)} with ${JSON.stringify(settings)}`
}
