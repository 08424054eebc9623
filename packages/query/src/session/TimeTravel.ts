import type { SqlToken } from "@rat/lakehouse"

/** Which state of a table a text asks for. */
export type TravelTarget =
  /** A snapshot's number. */
  | { readonly kind: "snapshot"; readonly snapshotId: bigint }
  /** A branch or tag: of the catalog, or of the table's own. */
  | { readonly kind: "ref"; readonly name: string }
  | { readonly kind: "timestamp"; readonly ms: number }
  /** It asks for something, but not in a way that is understood. */
  | { readonly kind: "problem"; readonly reason: string }

/** A clause behind a table's name, and where it ends in the text (in characters). */
export interface Travel {
  readonly target: TravelTarget
  readonly end: number
  /** The first token behind it. */
  readonly next: number
}

const isMark = (token: SqlToken | undefined, mark: string) => token?.kind === "mark" && token.value === mark
const isWord = (token: SqlToken | undefined, ...words: ReadonlyArray<string>) =>
  token?.kind === "word" && words.includes(token.value)

/** The value of a plain string literal. */
const literalOf = (sql: string, token: SqlToken | undefined): string | undefined => {
  if (token?.kind !== "text" || sql[token.start] !== "'") return undefined
  return sql.slice(token.start + 1, token.end - 1).replaceAll("''", "'")
}

const timestampPattern =
  /^(\d{4})-(\d{2})-(\d{2})(?:[ T](\d{2}):(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?\s*(Z|UTC|[+-]\d{2}(?::?\d{2})?)?)?$/i

/** Milliseconds since 1970; UTC where the text has no offset. Undefined when it is no point in time. */
export const parseTravelTime = (text: string): number | undefined => {
  const match = timestampPattern.exec(text.trim())
  if (match === null) return undefined
  const [, year, month, day, hour = "0", minute = "0", second = "0", fraction = "", zone = "Z"] = match
  const ms = Date.UTC(Number(year), Number(month) - 1, Number(day), Number(hour), Number(minute), Number(second))
  const date = new Date(ms)
  const isDay = date.getUTCDate() === Number(day) && date.getUTCMonth() === Number(month) - 1
  if (!isDay || Number(hour) > 23 || Number(minute) > 59) return undefined
  const offset = /^([+-])(\d{2}):?(\d{2})?$/.exec(zone)
  const minutes = offset === null ? 0 : (Number(offset[2]) * 60 + Number(offset[3] ?? 0)) * (offset[1] === "-" ? -1 : 1)
  return ms + Number(fraction.slice(0, 3).padEnd(3, "0")) - minutes * 60_000
}

const versionOf = (text: string): TravelTarget =>
  /^\d+$/.test(text) ? { kind: "snapshot", snapshotId: BigInt(text) } : { kind: "ref", name: text }

const timeOf = (text: string): TravelTarget => {
  const ms = parseTravelTime(text)
  if (ms !== undefined) return { kind: "timestamp", ms }
  return {
    kind: "problem",
    reason: `"${text}" is no point in time. Write it like '2026-01-31' or '2026-01-31 18:30:00+01:00' (UTC without an offset).`,
  }
}

/** `orders for version as of …`, `orders version as of …`, the same with `timestamp`, `system_version` and `system_time`. */
const asOf = (sql: string, tokens: ReadonlyArray<SqlToken>, at: number): Travel | undefined => {
  let index = isWord(tokens[at], "for") ? at + 1 : at
  const isVersion = isWord(tokens[index], "version", "system_version")
  if (!isVersion && !isWord(tokens[index], "timestamp", "system_time")) return undefined
  if (!isWord(tokens[index + 1], "as") || !isWord(tokens[index + 2], "of")) return undefined
  index += 3
  if (isVersion && tokens[index]?.kind === "number") {
    return { target: versionOf(tokens[index]!.value.replaceAll("_", "")), end: tokens[index]!.end, next: index + 1 }
  }
  if (!isVersion && isWord(tokens[index], "timestamp", "timestamptz", "date")) index++
  const text = literalOf(sql, tokens[index])
  const token = tokens[index] ?? tokens[index - 1]!
  const target: TravelTarget =
    text === undefined
      ? {
          kind: "problem",
          reason: isVersion
            ? "After `version as of` comes a snapshot's number or the name of a branch or tag in quotes, as they are."
            : "After `timestamp as of` comes a point in time in quotes, like '2026-01-31 18:30:00'; it cannot be computed.",
        }
      : isVersion
        ? versionOf(text)
        : timeOf(text)
  return { target, end: token.end, next: index + 1 }
}

/** DuckDB's `orders at (version => …)` and `orders at (timestamp => …)`. */
const atClause = (sql: string, tokens: ReadonlyArray<SqlToken>, at: number): Travel | undefined => {
  if (!isWord(tokens[at], "at") || !isMark(tokens[at + 1], "(")) return undefined
  const isVersion = isWord(tokens[at + 2], "version")
  if (!isVersion && !isWord(tokens[at + 2], "timestamp")) return undefined
  if (!isMark(tokens[at + 3], "=") || !isMark(tokens[at + 4], ">")) return undefined
  let index = at + 5
  let depth = 1
  let close = index
  while (close < tokens.length && depth > 0) {
    if (isMark(tokens[close], "(")) depth++
    else if (isMark(tokens[close], ")")) depth--
    close++
  }
  const last = tokens[close - 1]
  if (depth > 0 || last === undefined) return undefined
  const inner = tokens.slice(index, close - 1)
  if (!isVersion && isWord(inner[0], "timestamp", "timestamptz", "date")) index++
  const [value, ...cast] = tokens.slice(index, close - 1)
  const text = value?.kind === "number" ? value.value.replaceAll("_", "") : literalOf(sql, value)
  const isPlain = cast.length === 0 || (cast.length === 3 && isMark(cast[0], ":") && isMark(cast[1], ":"))
  const target: TravelTarget =
    text === undefined || !isPlain
      ? {
          kind: "problem",
          reason: `\`at (${isVersion ? "version" : "timestamp"} => …)\` takes a literal here; it cannot be computed.`,
        }
      : isVersion
        ? versionOf(text)
        : timeOf(text)
  return { target, end: last.end, next: close }
}

/** `orders@branch`, without blanks. */
const atSign = (sql: string, tokens: ReadonlyArray<SqlToken>, at: number): Travel | undefined => {
  const [before, mark, first] = [tokens[at - 1], tokens[at], tokens[at + 1]]
  if (!isMark(mark, "@") || before?.end !== mark!.start || first === undefined || mark!.end !== first.start)
    return undefined
  if (first.kind === "name") return { target: versionOf(first.value), end: first.end, next: at + 2 }
  let next = at + 1
  let end = mark!.end
  for (; next < tokens.length; next++) {
    const token = tokens[next]!
    const fits = token.kind === "word" || token.kind === "number" || ["-", ".", "/"].some((sign) => isMark(token, sign))
    if (!fits || token.start !== end) break
    end = token.end
  }
  const text = sql.slice(first.start, end)
  return text === "" ? undefined : { target: versionOf(text), end, next }
}

/** The clause that begins at a token, which follows a table's name. */
export const travelAt = (sql: string, tokens: ReadonlyArray<SqlToken>, at: number): Travel | undefined =>
  atSign(sql, tokens, at) ?? asOf(sql, tokens, at) ?? atClause(sql, tokens, at)

/** Words that may follow a table without being its alias. */
const notAliases = new Set([
  "where", "group", "order", "having", "limit", "offset", "union", "except", "intersect", "join", "inner", "left", "right", "full",
  "cross", "natural", "asof", "positional", "semi", "anti", "on", "using", "window", "qualify", "sample", "tablesample", "using",
  "pivot", "unpivot", "for", "select", "from", "with", "set", "values", "fetch",
]) // biome-ignore format: a list of words

/** Whether the token gives the table before it another name. */
export const isAlias = (token: SqlToken | undefined): boolean =>
  token?.kind === "name" || (token?.kind === "word" && !notAliases.has(token.value))
