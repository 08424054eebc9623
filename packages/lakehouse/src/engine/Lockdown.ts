import { type DuckDBConnection, type DuckDBPreparedStatement, StatementType } from "@duckdb/node-api"
import { SlotError } from "../slot/SlotServer.ts"
import { forbiddenCall, forbiddenStart, type Policy } from "./ForbiddenSql.ts"
import { type EngineLimits, positionAt, type SqlSource, sqlCodes, sqlError } from "./SqlError.ts"
import { type SqlStatement, sqlStatements } from "./SqlTokens.ts"

/**
 * What people's SQL may do. Three walls, each enough for most of it:
 *
 * 1. The text: statements by their first words and calls by name, to say early and clearly why not (ForbiddenSql).
 * 2. The engine's own word: every statement is extracted and prepared alone and must be exactly one, of a type on the
 *    policy's list. This is what decides; the text is only ever stricter.
 * 3. The instance: no external access except to the slot's `in/` and `out/`, no extensions, locked configuration, no
 *    database but the holder's own.
 */
const allowedTypes: { readonly [P in Policy]: ReadonlySet<StatementType> } = {
  query: new Set([StatementType.SELECT]),
  pipeline: new Set([
    StatementType.SELECT,
    StatementType.INSERT,
    StatementType.UPDATE,
    StatementType.DELETE,
    StatementType.MERGE_INTO,
    StatementType.CREATE,
    StatementType.ALTER,
    StatementType.DROP,
    StatementType.SET, // of variables only
  ]),
}

const refuse = (reason: string) => new SlotError(sqlCodes.forbidden, reason)

/**
 * The statements of a text that this policy lets pass by their words. Throws `sql.forbidden` for one that it does not
 * and `sql.error` when there is nothing to execute, or for queries more than one.
 */
export const checkedStatements = (sql: string, policy: Policy): ReadonlyArray<SqlStatement> => {
  const statements = sqlStatements(sql)
  if (statements.length === 0)
    throw new SlotError(sqlCodes.invalid, "There is no SQL to execute: the text is empty or only a comment.")
  if (policy === "query" && statements.length > 1)
    throw refuse("A query is one statement; this text holds several. Send them one by one.")
  for (const { tokens } of statements) {
    const refusal = forbiddenStart(tokens, policy) ?? forbiddenCall(tokens, policy)
    if (refusal !== undefined)
      throw new SlotError(sqlCodes.forbidden, refusal.reason, positionAt(sql, refusal.token.start))
  }
  return statements
}

/**
 * Refuses `from '/path'` in queries. What else lies in the slot's folder was planned for the same query, so nothing
 * could be read that may not be; but a path is no table, and no query should depend on where a slot keeps its files.
 * Only texts that hold a path in quotes are looked at. The engine's own syntax tree says where they stand.
 */
const refuseFileScan = async (connection: DuckDBConnection, { text, offset, tokens }: SqlStatement): Promise<void> => {
  const isPath = ({ kind, start, end }: SqlStatement["tokens"][number]) =>
    (kind === "text" || kind === "name") && /[/\\]/.test(text.slice(start - offset, end - offset))
  if (!tokens.some(isPath)) return
  const reader = await connection.runAndReadAll("select json_serialize_sql($1::varchar)", [text])
  const tree = String(reader.getRows()[0]?.[0])
  // Text of the person is escaped in the tree, so it cannot look like a field of it.
  const names = Array.from(tree.matchAll(/"table_name":("(?:[^"\\]|\\.)*")/g), ([, name]) => String(JSON.parse(name!)))
  if (tree.startsWith('{"error":true') || names.some((name) => /[/\\]/.test(name)))
    throw refuse("Files cannot be read by their path. Name a table as `layer.table`.")
}

/** A statement that may be executed. Whoever gets it destroys it. */
export interface CheckedStatement {
  readonly prepared: DuckDBPreparedStatement
  readonly type: StatementType
  /** Nothing was executed to prepare it. */
  readonly isAlone: boolean
}

/**
 * Prepares one statement and checks its type. `PIVOT` without a list of values is two statements to DuckDB, the first
 * of which collects the values into a temporary type: that one is executed here.
 */
export const prepareChecked = async (
  connection: DuckDBConnection,
  statement: SqlStatement,
  policy: Policy,
  limits: EngineLimits,
  sql: string = statement.text,
): Promise<CheckedStatement> => {
  const source = { text: sql, offset: sql === statement.text ? 0 : statement.offset, statement: statement.text }
  try {
    // First, because it says what is wrong with a text that is no SQL.
    const extracted = await connection.extractStatements(statement.text)
    if (policy === "query") await refuseFileScan(connection, statement)
    const isPivot = statement.tokens.some(({ kind, value }) => kind === "word" && value.startsWith("pivot"))
    if (extracted.count !== 1 && !isPivot)
      throw refuse("The text holds several statements where one was expected. Send them one by one.")
    for (let index = 0; index < extracted.count - 1; index++) {
      const before = await extracted.prepare(index)
      try {
        if (before.statementType !== StatementType.CREATE) throw refuse("Only SELECT may be pivoted.")
        await before.run()
      } finally {
        before.destroySync()
      }
    }
    const prepared = await extracted.prepare(extracted.count - 1)
    const type = prepared.statementType
    const isSetting = type === StatementType.SET && statement.tokens[1]?.value !== "variable"
    if (!allowedTypes[policy].has(type) || isSetting) {
      prepared.destroySync()
      throw refuse(
        policy === "query"
          ? `Queries only read: ${StatementType[type]} is not possible here.`
          : `${StatementType[type]} is not possible in a pipeline.`,
      )
    }
    if (prepared.parameterCount > 0) {
      prepared.destroySync()
      throw new SlotError(sqlCodes.invalid, "The text has parameters (`?`, `$1`), but there are no values for them.")
    }
    return { prepared, type, isAlone: extracted.count === 1 }
  } catch (error) {
    throw sqlError(error, limits, source)
  }
}

/** A query that may be executed. Whoever gets it destroys `prepared`. */
export interface CheckedQuery {
  readonly prepared: DuckDBPreparedStatement
  /** For `sqlError`: where positions of the engine's errors lie in the person's text. */
  readonly source: SqlSource
  readonly isExplain: boolean
}

/**
 * Prepares the one statement of a text that is a query. EXPLAIN ANALYZE executes what it explains, whatever that is, so
 * what it explains is checked as a query of its own.
 */
export const prepareQuery = async (
  connection: DuckDBConnection,
  sql: string,
  limits: EngineLimits,
): Promise<CheckedQuery> => {
  const statement = checkedStatements(sql, "query")[0]!
  const explained = explainedBy(statement, sql)
  if (explained === undefined) {
    const { prepared } = await prepareChecked(connection, statement, "query", limits, sql)
    return { prepared, source: { text: sql, offset: statement.offset, statement: statement.text }, isExplain: false }
  }
  const refusal = forbiddenStart(explained.statement.tokens, "query")
  if (refusal !== undefined)
    throw new SlotError(sqlCodes.forbidden, refusal.reason, positionAt(sql, refusal.token.start))
  const inner = await prepareChecked(connection, explained.statement, "query", limits, sql)
  inner.prepared.destroySync()
  const text = explained.prefix + explained.statement.text
  const source = { text: sql, offset: explained.statement.offset - explained.prefix.length, statement: text }
  try {
    const extracted = await connection.extractStatements(text)
    if (extracted.count !== 1) throw refuse("EXPLAIN is for one statement that reads.")
    const prepared = await extracted.prepare(0)
    if (prepared.statementType === StatementType.EXPLAIN) return { prepared, source, isExplain: true }
    prepared.destroySync()
    throw refuse("EXPLAIN is for one statement that reads.")
  } catch (error) {
    throw sqlError(error, limits, source)
  }
}

/** What EXPLAIN explains, and its first words written anew, so that nothing of the text is in them. */
const explainedBy = (
  { tokens }: SqlStatement,
  sql: string,
): { readonly prefix: string; readonly statement: SqlStatement } | undefined => {
  if (tokens[0]?.kind !== "word" || tokens[0].value !== "explain") return undefined
  const isWord = (index: number, word: string) => tokens[index]?.kind === "word" && tokens[index].value === word
  let at = 1
  let isAnalyze = false
  let format = ""
  if (isWord(1, "analyze")) {
    isAnalyze = true
    at = 2
  } else if (tokens[1]?.value === "(" && (isWord(2, "analyze") || isWord(2, "format"))) {
    const close = tokens.findIndex(({ kind, value }) => kind === "mark" && value === ")")
    for (let index = 2; index < close; index++) {
      if (isWord(index, "analyze")) isAnalyze = true
      if (isWord(index, "format") && tokens[index + 1]?.kind === "word") format = `format ${tokens[++index]!.value}`
    }
    at = close + 1
  }
  const [first, last] = [tokens[at], tokens.at(-1)!]
  if (first === undefined) throw new SlotError(sqlCodes.invalid, "EXPLAIN needs a statement to explain.")
  if (first.kind === "word" && first.value === "explain") throw refuse("EXPLAIN cannot explain itself.")
  const options = [isAnalyze ? "analyze" : "", format].filter((option) => option !== "")
  return {
    prefix: options.length === 0 ? "explain " : `explain (${options.join(", ")}) `,
    statement: { text: sql.slice(first.start, last.end), offset: first.start, tokens: tokens.slice(at) },
  }
}
