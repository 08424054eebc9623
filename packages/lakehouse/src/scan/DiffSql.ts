import { quoteName, quoteText } from "./SqlText.ts"

/** Rows to compare: `before` and `after` as queries with the same columns, null for no rows. */
export interface DiffRows {
  readonly columns: ReadonlyArray<string>
  /** Columns (of `columns`) that tell rows apart; without any, rows are only added or removed. */
  readonly key: ReadonlyArray<string>
  readonly before: string | null
  readonly after: string | null
  /** Most rows of each kind in the sample. */
  readonly limit: number
}

export interface DiffSql {
  /** Statements that count; they make `rat_rows` and `rat_keys` in the database in use. */
  readonly setup: string
  /**
   * A query with `kind` (`added`, `removed`, `changed`), `n` (how many there are; NULL in rows of the sample), `before` and `after`
   * (structs of all columns). Rows of the sample come by kind, then in the order of their keys.
   */
  readonly answer: string
}

const list = (names: ReadonlyArray<string>, of: (name: string) => string = (name) => name) => names.map(of).join(", ")

/**
 * Compares rows as multisets: what both sides have equally often is the same, wherever it lies. Of what is left, rows with one key on
 * both sides have changed, one by one in the order of all their columns; NULL is a key like others. Everything is hash aggregates, which
 * spill.
 */
export const diffSql = ({ after, before, columns, key, limit }: DiffRows): DiffSql => {
  const names = columns.map((_, index) => `c${index}`)
  const keys = key.map((name) => names[columns.indexOf(name)]!)
  const row = `{${columns.map((name, index) => `${quoteText(name)}: c${index}`).join(", ")}}`
  const rowsOf = (query: string, d: number) =>
    `select ${columns.map((name, index) => `${quoteName(name)} as c${index}`).join(", ")}, ${d} as d from (${query})`
  const ordered = list([...new Set([...keys, ...names])])
  if (before === null || after === null) {
    const rows =
      before !== null
        ? rowsOf(before, -1)
        : after !== null
          ? rowsOf(after, 1)
          : `${rowsOf(`select ${list(columns, (name) => `null as ${quoteName(name)}`)}`, 1)} where false`
    return {
      setup: `create view rat_rows as ${rows}`,
      answer: `${counted("rat_rows")} union all ${sampled(ordered, row, limit)}`,
    }
  }
  const sides = `${rowsOf(before, -1)} union all ${rowsOf(after, 1)}`
  const rows = `create table rat_rows as select ${list(names)}, sum(d)::bigint as d from (${sides}) group by ${list(names)} having sum(d) <> 0`
  if (keys.length === 0)
    return { setup: rows, answer: `${counted("rat_rows")} union all ${sampled(ordered, row, limit)}` }

  const perKey = `create table rat_keys as select ${list(keys)}, sum(greatest(d, 0))::bigint as came, sum(greatest(-d, 0))::bigint as gone from rat_rows group by ${list(keys)}`
  const counts = [
    ["changed", "least(came, gone)"],
    ["added", "greatest(came - gone, 0)"],
    ["removed", "greatest(gone - came, 0)"],
  ].map(([kind, n]) => `select '${kind}' as kind, sum(${n})::bigint as n, null as before, null as after from rat_keys`)
  const picked = ["came > 0 and gone > 0", "came > gone", "gone > came"]
    .map((where) => `(select * from rat_keys where ${where} order by ${list(keys)} limit ${limit})`)
    .join(" union ")
  const same = (left: string, right: string) =>
    keys.map((name) => `${left}.${name} is not distinct from ${right}.${name}`).join(" and ")
  // Equal rows of a key have numbers in a row, from `first` on; only those that the sample can need are listed one by one.
  const placed = `select r.*, least(p.came, p.gone) as pairs, sum(abs(d)) over (partition by ${list(keys, (name) => `r.${name}`)}, d > 0 order by ${list(names, (name) => `r.${name}`)} rows unbounded preceding)::bigint - abs(d) as first from rat_rows as r join (${picked}) as p on ${same("r", "p")}`
  const numbers = (from: string, to: string) =>
    `select ${list(keys)}, d, ${row} as r, unnest(range(greatest(first, ${from}), least(first + abs(d), ${to}))) as i from placed`
  const numbered = `${numbers("0", `least(pairs, ${limit})`)} union all ${numbers("pairs", `pairs + ${limit}`)}`
  const paired = `select case when g.d is null then 'added' when c.d is null then 'removed' else 'changed' end as kind, g.r as before, c.r as after, ${list(keys, (name) => `coalesce(c.${name}, g.${name}) as ${name}`)}, coalesce(c.i, g.i) as i from (from numbered where d < 0) as g full join (from numbered where d > 0) as c on ${same("g", "c")} and g.i = c.i`
  const sample = `select kind, null as n, before, after from (with placed as materialized (${placed}), numbered as materialized (${numbered}), paired as (${paired}) from paired qualify row_number() over (partition by kind order by ${list(keys)}, i) <= ${limit} order by kind, ${list(keys)}, i)`
  return { setup: `${rows};\n${perKey}`, answer: `${counts.join(" union all ")} union all ${sample}` }
}

const kindOf = "case when d > 0 then 'added' else 'removed' end"

const counted = (rows: string) =>
  `select ${kindOf} as kind, sum(abs(d))::bigint as n, null as before, null as after from ${rows} group by kind`

/** The first rows of each kind where nothing is paired. */
const sampled = (ordered: string, row: string, limit: number): string =>
  [
    ["d > 0", "'added'", "null", "r"],
    ["d < 0", "'removed'", "r", "null"],
  ]
    .map(
      ([where, kind, before, after]) =>
        `select ${kind} as kind, null as n, ${before} as before, ${after} as after from (select ${row} as r, unnest(range(least(abs(d), ${limit}))) from (from rat_rows where ${where} order by ${ordered} limit ${limit}) limit ${limit})`,
    )
    .join(" union all ")
