import type { SqlToken } from "./SqlTokens.ts"

/**
 * Whose SQL it is. `query`: one statement that reads, typed by anybody. `pipeline`: statements that prepare a result
 * inside of the run's own database.
 */
export type Policy = "query" | "pipeline"

/** Why a text is refused and which token is to blame. */
export interface Refusal {
  readonly reason: string
  readonly token: SqlToken
}

const own = "the database of a run or query is its own and ends with it"
const settings = "The engine's settings are fixed for everybody"

/** First words of statements that leave the statement's own world, with what to do instead. */
const starts: { readonly [word: string]: { readonly [P in Policy]: string } } = {
  copy: {
    query: "COPY reads and writes files. Ask for the result as CSV, Parquet or Arrow instead (`Accept` header).",
    pipeline:
      "COPY reads and writes files. The last SELECT of a pipeline is its result; files come in by landing_zone().",
  },
  ...both(["attach", "detach"], `ATTACH and DETACH are not possible: ${own}. Name tables as \`layer.table\`.`),
  ...both(["set", "reset", "pragma"], `SET, RESET and PRAGMA are not possible. ${settings}.`),
  ...both(["use"], "USE is not possible. Name tables as `layer.table` or `namespace.layer.table`."),
  ...both(["load", "install", "update extensions"], "Extensions cannot be installed or loaded."),
  ...both(["export", "import"], "EXPORT and IMPORT read and write files and are not possible."),
  ...both(["call"], "CALL is not possible. Table functions are used in FROM."),
  ...both(["checkpoint", "force", "vacuum", "analyze"], `Maintenance statements have nothing to do here: ${own}.`),
  ...both(
    ["begin", "start", "commit", "rollback", "abort", "end"],
    "Transactions are not possible. A run is published as a whole or not at all; a query sees one state of its tables.",
  ),
  ...both(["prepare", "execute", "deallocate"], "Prepared statements are not possible. Write the statement itself."),
  ...both(["create secret", "drop secret"], "Secrets cannot be made or dropped in SQL."),
  ...both(["alter database"], `ALTER DATABASE is not possible: ${own}.`),
  ...queryOnly(["insert", "update", "delete", "merge", "create", "alter", "drop", "truncate", "comment"]),
  explain: { query: "", pipeline: "EXPLAIN is for queries; a pipeline has to have a result." },
}

function both(words: ReadonlyArray<string>, reason: string) {
  return Object.fromEntries(words.map((word) => [word, { query: reason, pipeline: reason }]))
}

function queryOnly(words: ReadonlyArray<string>) {
  return Object.fromEntries(
    words.map((word) => [
      word,
      {
        query: `Queries only read: a query starts with SELECT, WITH, FROM, VALUES, DESCRIBE, SHOW, SUMMARIZE or EXPLAIN, not with ${word.toUpperCase()}. Pipelines write tables.`,
        pipeline: "",
      },
    ]),
  )
}

/** The statement's first words as `starts` names them: `create or replace temp secret` is `create secret`. */
const startOf = (tokens: ReadonlyArray<SqlToken>): string => {
  const words = tokens.slice(0, 6).map((token) => (token.kind === "word" ? token.value : ""))
  const [first = "", second = ""] = words
  if (first === "create" || first === "drop") {
    const kind = words.slice(1).find((word) => !["or", "replace", "temp", "temporary", "persistent"].includes(word))
    return kind === "secret" ? `${first} secret` : first
  }
  if ((first === "alter" && second === "database") || (first === "update" && second === "extensions"))
    return `${first} ${second}`
  return first
}

/** Nothing is said of a word that starts no statement: that is a typing error, and the engine says where. */
export const forbiddenStart = (tokens: ReadonlyArray<SqlToken>, policy: Policy): Refusal | undefined => {
  const token = tokens[0]
  if (token === undefined) return undefined
  const start = startOf(tokens)
  // A session variable lives and ends with the connection, so pipelines may have them.
  if (policy === "pipeline" && (start === "set" || start === "reset") && tokens[1]?.value === "variable")
    return undefined
  const reason = starts[start]?.[policy]
  return reason === undefined || reason === "" ? undefined : { reason, token }
}

/** Functions that run text as SQL, read memory, or change or show the state of the engine. */
const engineFunctions = new Set([
  "query", "json_execute_serialized_sql", "arrow_scan", "arrow_scan_dumb", "seq_scan", "checkpoint", "force_checkpoint",
  "enable_logging", "disable_logging", "truncate_duckdb_logs", "enable_profiling", "disable_profiling",
  "enable_peg_parser", "disable_peg_parser", "check_peg_parser", "duckdb_secrets", "which_secret", "duckdb_logs",
  "duckdb_logs_parsed", "duckdb_log_contexts", "duckdb_external_file_cache", "duckdb_temporary_files",
  "duckdb_settings", "current_setting", "write_log", "read_duckdb", "duckdb_prepared_statements",
  "duckdb_profiling_settings", "pragma_user_agent", "getenv",
]) // biome-ignore format: a list of words

/** Functions that open files by name. A query names tables; what a pipeline may open is in its slot's folder. */
const fileFunctions = new Set([
  "read_csv", "read_csv_auto", "sniff_csv", "read_json", "read_json_auto", "read_json_objects",
  "read_json_objects_auto", "read_ndjson", "read_ndjson_auto", "read_ndjson_objects", "read_parquet", "parquet_scan",
  "parquet_metadata", "parquet_schema", "parquet_file_metadata", "parquet_full_metadata", "parquet_kv_metadata",
  "parquet_bloom_probe", "read_text", "read_blob", "glob", "query_table",
]) // biome-ignore format: a list of words

/** Views that show the engine's settings and logs. */
const engineViews = new Set(["pg_settings", "duckdb_logs"])

/** The first forbidden function that the tokens call, quoted or not, or view that they name. */
export const forbiddenCall = (tokens: ReadonlyArray<SqlToken>, policy: Policy): Refusal | undefined => {
  for (const [index, token] of tokens.entries()) {
    if (token.kind !== "word" && token.kind !== "name") continue
    const name = token.value.toLowerCase()
    if (engineViews.has(name)) return { reason: `"${name}" shows the engine's inside and is not available.`, token }
    const next = tokens[index + 1]
    if (next?.kind !== "mark" || next.value !== "(") continue
    if (engineFunctions.has(name))
      return { reason: `The function ${name}() reaches into the engine and is not available in SQL of people.`, token }
    if (policy === "query" && fileFunctions.has(name))
      return {
        reason: `The function ${name}() opens files and is not available in queries. Name a table as \`layer.table\`; files are loaded through a landing zone.`,
        token,
      }
  }
  return undefined
}
