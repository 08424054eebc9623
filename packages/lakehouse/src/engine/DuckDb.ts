import { join } from "node:path"
import { type DuckDBConnection, DuckDBInstance } from "@duckdb/node-api"
import { quoteName, quoteText } from "../scan/SqlText.ts"
import type { SlotLimits } from "../slot/SlotProtocol.ts"
import { SlotError } from "../slot/SlotServer.ts"
import type { Policy } from "./ForbiddenSql.ts"
import { type CheckedQuery, type CheckedStatement, prepareChecked, prepareQuery } from "./Lockdown.ts"
import { sqlCodes, sqlError } from "./SqlError.ts"
import type { SqlStatement } from "./SqlTokens.ts"

/**
 * One holder's view of the engine: a connection with databases of its own. SQL that we write goes through `run`,
 * SQL that people write through `prepare`.
 */
export class DuckDbSession {
  readonly connection: DuckDBConnection
  readonly limits: SlotLimits

  constructor(connection: DuckDBConnection, limits: SlotLimits) {
    this.connection = connection
    this.limits = limits
  }

  /** Executes our own SQL, any number of statements, and answers with the rows of the last one. */
  async run(sql: string): Promise<ReadonlyArray<ReadonlyArray<unknown>>> {
    try {
      const result = await this.connection.run(sql)
      return await result.getRowsJson()
    } catch (error) {
      throw sqlError(error, this.limits)
    }
  }

  /** Prepares a statement that passed `checkedStatements`; `sql` is the whole text, for positions of errors. */
  prepare(statement: SqlStatement, policy: Policy, sql?: string): Promise<CheckedStatement> {
    return prepareChecked(this.connection, statement, policy, this.limits, sql)
  }

  /** Prepares a person's text that has to be one query. */
  prepareQuery(sql: string): Promise<CheckedQuery> {
    return prepareQuery(this.connection, sql, this.limits)
  }
}

/**
 * The locked-down engine of a slot: one in-memory instance that outlives its holders (making one costs 15 ms of CPU).
 * Invariants: between holders there is no database at all but DuckDB's own catalogs, so there is no place where a
 * holder could leave something; nothing outside of `in/`, `out/` and `spill/` of the slot can be opened; no setting
 * can be changed.
 */
export class DuckDb {
  private readonly instance: DuckDBInstance
  private readonly limits: SlotLimits
  private session: { readonly value: DuckDbSession; readonly databases: Array<string> } | undefined

  private constructor(instance: DuckDBInstance, limits: SlotLimits) {
    this.instance = instance
    this.limits = limits
  }

  static async open(limits: SlotLimits): Promise<DuckDb> {
    const instance = await DuckDBInstance.create(":memory:", {
      memory_limit: `${limits.memoryLimitBytes}B`,
      threads: String(limits.threads),
      temp_directory: join(limits.folder, "spill"),
      max_temp_directory_size: `${limits.spillLimitBytes}B`,
      autoinstall_known_extensions: "false",
      autoload_known_extensions: "false",
      allow_community_extensions: "false",
      // What was read for one holder must not be taken for the next one's file of the same name, size and time.
      enable_external_file_cache: "false",
      // Errors carry their position as a number only in this form.
      errors_as_json: "true",
    })
    // The order matters: directories can be allowed only before access is closed, and the default database
    // can go only when another one is in use; that one goes from a second connection.
    const first = await instance.connect()
    await first.run(`
      set allowed_directories = [${quoteText(join(limits.folder, "in"))}, ${quoteText(join(limits.folder, "out"))}];
      set enable_external_access = false;
      attach ':memory:' as starting;
      use starting;
      detach memory;
      set lock_configuration = true;`)
    first.closeSync()
    const second = await instance.connect()
    await second.run("detach starting")
    second.closeSync()
    return new DuckDb(instance, limits)
  }

  /**
   * Begins a holder's session with these databases, empty, the first of which is in use. A connection's objects
   * (temporary tables, variables) and databases end with `reset`.
   */
  async begin(databases: readonly [string, ...Array<string>]): Promise<DuckDbSession> {
    if (this.session !== undefined) throw new SlotError(sqlCodes.engine, "The slot already has a session.")
    const connection = await this.instance.connect()
    const value = new DuckDbSession(connection, this.limits)
    this.session = { value, databases: [...databases] }
    await value.run(
      `${databases.map((name) => `attach ':memory:' as ${quoteName(name)};`).join("")}use ${quoteName(databases[0])}`,
    )
    return value
  }

  /** Adds empty databases to the session, unless it has them. */
  async attach(databases: Iterable<string>): Promise<void> {
    const session = this.session
    if (session === undefined) throw new SlotError(sqlCodes.engine, "The slot has no session.")
    const missing = Array.from(new Set(databases)).filter((name) => !session.databases.includes(name))
    if (missing.length === 0) return
    session.databases.push(...missing)
    await session.value.run(missing.map((name) => `attach ':memory:' as ${quoteName(name)}`).join(";"))
  }

  /** The syntax tree of a text as JSON (`json_serialize_sql`): `"error": true` in it for what is no SELECT. */
  async syntaxTree(sql: string): Promise<string> {
    const connection = await this.instance.connect()
    try {
      const reader = await connection.runAndReadAll("select system.main.json_serialize_sql($1::varchar)", [sql])
      return String(reader.getRows()[0]?.[0])
    } finally {
      connection.closeSync()
    }
  }

  /** Stops the running statement, which then fails; takes about 1 ms. */
  interrupt(): void {
    this.session?.value.connection.interrupt()
  }

  /**
   * Lets `progress` tell of the session's next statements. DuckDB knows its progress only with its bar on, a setting of
   * each connection; these two pragmas are the way to it that the locked configuration leaves open.
   */
  async trackProgress(): Promise<void> {
    await this.session?.value.run("pragma enable_progress_bar; pragma disable_print_progress_bar")
  }

  /** Share of the running statement that is done, 0 to 1, where DuckDB can tell; needs `trackProgress`. */
  get progress(): number | undefined {
    const percentage = this.session?.value.connection.progress.percentage ?? -1
    return percentage < 0 ? undefined : percentage / 100
  }

  /** Ends the engine; for one that is not the slot's only one. */
  close(): void {
    this.session?.value.connection.closeSync()
    this.session = undefined
    this.instance.closeSync()
  }

  /** Ends the session. Rejects when something of it is left, which only a new process can remove. */
  async reset(): Promise<void> {
    const session = this.session
    if (session === undefined) return
    this.session = undefined
    session.value.connection.closeSync()
    const connection = await this.instance.connect()
    try {
      // One call: each costs a hop to another thread and back, which is most of what such statements cost.
      const left = await connection.runAndReadAll(
        [
          ...session.databases.map((name) => `detach database if exists ${quoteName(name)}`),
          "select database_name from system.main.duckdb_databases() where not internal",
        ].join(";"),
      )
      if (left.currentRowCount > 0) throw new Error(`database ${left.getRows()[0]?.[0]} is still there`)
    } finally {
      connection.closeSync()
    }
  }
}
