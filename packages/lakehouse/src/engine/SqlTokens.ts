/** A piece of SQL text that is neither white space nor a comment. `start` and `end` are offsets in characters. */
export interface SqlToken {
  /** `word`: an unquoted name or keyword; `name`: a quoted one; `text`: any string literal; `mark`: one other character. */
  readonly kind: "word" | "name" | "text" | "number" | "mark"
  /** Words in lower case, quoted names without their quotes, marks and numbers as they are; of strings nothing. */
  readonly value: string
  readonly start: number
  readonly end: number
}

/** DuckDB turns every kind of Unicode space into a blank before it reads the text, so these separate words as well. */
const isSpace = (code: number): boolean =>
  code === 32 ||
  (code >= 9 && code <= 13) ||
  code === 0xa0 ||
  code === 0x1680 ||
  (code >= 0x2000 && code <= 0x200f) ||
  (code >= 0x2028 && code <= 0x202f) ||
  code === 0x205f ||
  code === 0x2060 ||
  code === 0x3000 ||
  code === 0xfeff

const isDigit = (code: number): boolean => code >= 48 && code <= 57
const isWordStart = (code: number): boolean =>
  (code >= 65 && code <= 90) || (code >= 97 && code <= 122) || code === 95 || (code > 127 && !isSpace(code))
/** `$` may be inside of a word, though not at its start. */
const isWordPart = (code: number): boolean => isWordStart(code) || isDigit(code) || code === 36

/**
 * Tokens of a text by the rules of DuckDB's lexer (that of Postgres): nested block comments, `''` and `""` inside of
 * quotes, backslashes in `E'…'`, dollar quotes. What is not closed reaches to the end; DuckDB refuses such a text.
 * Numbers are cut short (`1e5` is a number and a word), which changes nothing for names, calls and statements.
 */
export const sqlTokens = (sql: string): ReadonlyArray<SqlToken> => {
  const tokens: Array<SqlToken> = []
  const length = sql.length
  let at = 0

  const quotedEnd = (from: number, quote: string, hasEscapes: boolean): number => {
    let index = from
    while (index < length) {
      const character = sql[index]
      if (hasEscapes && character === "\\") index += 2
      else if (character !== quote) index++
      else if (sql[index + 1] === quote) index += 2
      else return index + 1
    }
    return length
  }

  const commentEnd = (from: number): number => {
    let depth = 1
    let index = from + 2
    while (index < length && depth > 0) {
      if (sql.startsWith("/*", index)) {
        depth++
        index += 2
      } else if (sql.startsWith("*/", index)) {
        depth--
        index += 2
      } else index++
    }
    return Math.min(index, length)
  }

  const dollarTag = /\$(?:[A-Za-z_\u0080-\uffff][A-Za-z0-9_\u0080-\uffff]*)?\$/y

  while (at < length) {
    const code = sql.charCodeAt(at)
    const start = at
    if (isSpace(code)) at++
    else if (sql.startsWith("--", at)) {
      while (at < length && sql[at] !== "\n" && sql[at] !== "\r") at++
    } else if (sql.startsWith("/*", at)) at = commentEnd(at)
    else if (isWordStart(code)) {
      while (at < length && isWordPart(sql.charCodeAt(at))) at++
      const word = sql.slice(start, at).toLowerCase()
      if (sql[at] === "'" && ["e", "x", "b", "n"].includes(word)) {
        at = quotedEnd(at + 1, "'", word === "e")
        tokens.push({ kind: "text", value: "", start, end: at })
      } else tokens.push({ kind: "word", value: word, start, end: at })
    } else if (isDigit(code)) {
      while (at < length && (isDigit(sql.charCodeAt(at)) || sql[at] === "_")) at++
      tokens.push({ kind: "number", value: sql.slice(start, at), start, end: at })
    } else if (code === 39) {
      at = quotedEnd(at + 1, "'", false)
      tokens.push({ kind: "text", value: "", start, end: at })
    } else if (code === 34) {
      at = quotedEnd(at + 1, '"', false)
      const value = sql.slice(start + 1, sql[at - 1] === '"' ? at - 1 : at).replaceAll('""', '"')
      tokens.push({ kind: "name", value, start, end: at })
    } else {
      dollarTag.lastIndex = at
      const tag = code === 36 ? dollarTag.exec(sql)?.[0] : undefined
      if (tag === undefined) {
        at++
        tokens.push({ kind: "mark", value: sql[start]!, start, end: at })
      } else {
        const close = sql.indexOf(tag, at + tag.length)
        at = close < 0 ? length : close + tag.length
        tokens.push({ kind: "text", value: "", start, end: at })
      }
    }
  }
  return tokens
}

/** One statement of a text, without its semicolon. */
export interface SqlStatement {
  readonly text: string
  /** Where it starts in the whole text, in characters. */
  readonly offset: number
  /** Its tokens; positions are those in the whole text. */
  readonly tokens: ReadonlyArray<SqlToken>
}

/** The statements of a text, empty ones left out. */
export const sqlStatements = (sql: string): ReadonlyArray<SqlStatement> => {
  const statements: Array<SqlStatement> = []
  let tokens: Array<SqlToken> = []
  const flush = () => {
    const [first, last] = [tokens[0], tokens.at(-1)]
    if (first !== undefined && last !== undefined)
      statements.push({ text: sql.slice(first.start, last.end), offset: first.start, tokens })
    tokens = []
  }
  for (const token of sqlTokens(sql)) {
    if (token.kind === "mark" && token.value === ";") flush()
    else tokens.push(token)
  }
  flush()
  return statements
}
