import { quoteName, type SqlToken, sqlTokens } from "@rat/lakehouse"
import { isAlias, type Travel, type TravelTarget, travelAt } from "./TimeTravel.ts"

/** A table that a text may name. */
export interface TableName {
  /** Null for a name of two parts. */
  readonly namespace: string | null
  readonly layer: string
  readonly name: string
  /** `snapshots` of `orders$snapshots`; null for the table itself. */
  readonly metadataTable: string | null
  /** Which state of the table is meant; null for the present one. */
  readonly travel: TravelTarget | null
}

/** A stretch of the text, in characters. */
interface Range {
  readonly start: number
  readonly end: number
}

/** One way to read a part of a name: `my-table` may be a table, or `my` minus `table`. */
interface Reading extends Range {
  readonly value: string
  /** The first token behind it. */
  readonly next: number
}

/** A way to read a table's name, with the state that is asked for behind it. */
interface NameReading extends Reading {
  readonly travel: Travel | undefined
  /** Whether the text gives the table another name. */
  readonly hasAlias: boolean
}

/** A place where the text says `layer.name` or `namespace.layer.name`. */
export interface NameSite {
  readonly layer: string
  /** Longest reading first. */
  readonly names: ReadonlyArray<NameReading>
  readonly namespaces: ReadonlyArray<Reading>
  /** Whether only a table can stand here, so that a hyphen cannot be a minus. */
  readonly isTable: boolean
}

const layers = new Set(["bronze", "silver", "gold"])

/** What a table follows. */
const tableWords = new Set(["from", "join", "describe", "desc", "summarize", "table", "show"])

const isMark = (token: SqlToken | undefined, mark: string) => token?.kind === "mark" && token.value === mark
const isName = (token: SqlToken | undefined) => token?.kind === "word" || token?.kind === "name"
const isBare = (token: SqlToken | undefined) => token?.kind === "word" || token?.kind === "number"

/** Readings of a part that starts (step 1) or ends (step -1) at a token: with as many `-word`s as follow without blanks. */
const readings = (tokens: ReadonlyArray<SqlToken>, at: number, step: 1 | -1): ReadonlyArray<Reading> => {
  const first = tokens[at]!
  const found: Array<Reading> = [{ value: first.value.toLowerCase(), start: first.start, end: first.end, next: at + 1 }]
  if (first.kind === "name") return found
  const touches = (left: SqlToken | undefined, right: SqlToken | undefined) =>
    left !== undefined && right !== undefined && left.end === right.start
  const isNext = (index: number) =>
    step === 1 ? touches(tokens[index - 1], tokens[index]) : touches(tokens[index], tokens[index + 1])
  let [start, end] = [first.start, first.end]
  let text = first.value
  let index = at + step
  while (isMark(tokens[index], "-") && isNext(index) && isBare(tokens[index + step]) && isNext(index + step)) {
    text = step === 1 ? `${text}-` : `-${text}`
    index += step
    // `2x` are two tokens.
    while (isBare(tokens[index]) && isNext(index)) {
      const token = tokens[index]!
      text = step === 1 ? text + token.value : token.value + text
      if (step === 1) end = token.end
      else start = token.start
      index += step
    }
    found.unshift({ value: text, start, end, next: index })
  }
  return found
}

/**
 * Every place that may name a table. A table's name always has its layer in front and there are three layers, so
 * looking at the tokens misses none; what only looks like one (a column `gold.name` of a table alias) is harmless, as
 * no such table exists or reading it is allowed anyway. What a name means in the end is up to the engine.
 */
export const nameSites = (sql: string): ReadonlyArray<NameSite> => {
  const tokens = sqlTokens(sql)
  const sites: Array<NameSite> = []
  for (const [index, token] of tokens.entries()) {
    if (!isName(token) || !layers.has(token.value.toLowerCase())) continue
    if (!isMark(tokens[index + 1], ".") || !isName(tokens[index + 2])) continue
    const hasNamespace = isMark(tokens[index - 1], ".") && isName(tokens[index - 2])
    const before = tokens[index - 1]
    sites.push({
      layer: token.value.toLowerCase(),
      names: readings(tokens, index + 2, 1).map((reading) => {
        const travel = travelAt(sql, tokens, reading.next)
        return { ...reading, travel, hasAlias: isAlias(tokens[travel?.next ?? reading.next]) }
      }),
      namespaces: hasNamespace ? readings(tokens, index - 2, -1) : [],
      isTable: !hasNamespace && before?.kind === "word" && tableWords.has(before.value),
    })
  }
  return sites
}

const candidates = (site: NameSite) => {
  const namespaces = site.namespaces.length === 0 ? [null] : site.namespaces.map(({ value }) => value)
  return namespaces.flatMap((namespace) => site.names.map((name) => ({ name, table: tableOf(site, namespace, name) })))
}

/** All tables that a site may mean, the most likely one first. */
export const tablesOf = (site: NameSite): ReadonlyArray<TableName> => candidates(site).map(({ table }) => table)

const tableOf = ({ layer }: NameSite, namespace: string | null, { travel, value }: NameReading): TableName => {
  const at = value.lastIndexOf("$")
  return {
    namespace,
    layer,
    name: at < 0 ? value : value.slice(0, at),
    metadataTable: at < 0 ? null : value.slice(at + 1),
    travel: travel?.target ?? null,
  }
}

/** What the session calls it: the name in the text, or one that says which state of the table it is. */
export const viewNameOf = ({ metadataTable, name, travel }: TableName): string => {
  const base = metadataTable === null ? name : `${name}$${metadataTable}`
  switch (travel?.kind) {
    case "snapshot":
      return `${base} as of ${travel.snapshotId}`
    case "ref":
      // A name with a slash in it would look like a file's path.
      return `${base} as of ${encodeURIComponent(travel.name)}`
    case "timestamp":
      return `${base} as of ${new Date(travel.ms).toISOString()}`
    default:
      return base
  }
}

/** A text with some stretches replaced, and the way back for positions of errors. */
export interface RewrittenSql {
  readonly sql: string
  /** Offset in the original of an offset in `sql`. */
  readonly originalOf: (position: number) => number
}

interface Edit extends Range {
  readonly text: string
}

const rewrite = (sql: string, edits: ReadonlyArray<Edit>): RewrittenSql => {
  const sorted = [...edits].sort((left, right) => left.start - right.start)
  let result = ""
  let at = 0
  /** Where stretches begin in both texts. */
  const marks: Array<{ readonly from: number; readonly to: number }> = []
  for (const { start, end, text } of sorted) {
    if (start < at) continue // the same site twice
    result += sql.slice(at, start)
    marks.push({ from: result.length, to: start })
    result += text
    marks.push({ from: result.length, to: end })
    at = end
  }
  result += sql.slice(at)
  return {
    sql: result,
    originalOf: (position) => {
      const index = marks.findLastIndex(({ from }) => from <= position)
      if (index < 0) return position
      const mark = marks[index]!
      const limit = marks[index + 1]?.to ?? sql.length
      return Math.min(mark.to + position - mark.from, limit)
    },
  }
}

/**
 * Names of databases that would mean something else to the engine. They get a name that no namespace can have.
 */
const taken = new Set([...layers, "system", "temp", "main", "memory", "information_schema", "pg_catalog"])
export const databaseOf = (namespace: string): string => (taken.has(namespace) ? `${namespace}:` : namespace)

/**
 * Quotes what the engine would not read as the name that is meant: namespaces (`default` is a reserved word) and names
 * with hyphens. `isTable` says which reading exists.
 */
export const quoteNames = (
  sql: string,
  sites: ReadonlyArray<NameSite>,
  isTable: (table: TableName) => boolean,
): RewrittenSql => {
  const edits: Array<Edit> = []
  for (const site of sites) {
    const found = candidates(site).find(({ table }) => isTable(table))
    const name = found?.name ?? (site.isTable ? site.names[0] : undefined)
    if (name?.travel !== undefined) {
      // The table keeps the name that the rest of the text calls it by. Of one that does not exist the engine says so.
      const view = quoteName(found === undefined ? name.value : viewNameOf(found.table))
      const alias = name.hasAlias ? "" : ` as ${quoteName(name.value)}`
      edits.push({ start: name.start, end: name.travel.end, text: `${view}${alias}` })
    } else if (name !== undefined && site.names.length > 1) edits.push({ ...name, text: quoteName(name.value) })
    const namespace = site.namespaces.find(({ value }) => value === found?.table.namespace)
    if (namespace !== undefined) edits.push({ ...namespace, text: quoteName(databaseOf(namespace.value)) })
    else if (site.namespaces.length > 0) {
      const bare = site.namespaces.at(-1)!
      edits.push({ ...bare, text: quoteName(bare.value) })
    }
  }
  return rewrite(sql, edits)
}
