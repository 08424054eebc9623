import { type DuckDBPreparedStatement, StatementType } from "@duckdb/node-api"
import {
  checkedStatements,
  DuckDb,
  type DuckDbSession,
  quoteName,
  SlotError,
  type SlotLimits,
  type SqlPosition,
  type SqlStatement,
  sqlCodes,
  sqlError,
} from "@rat/lakehouse/slot"
import type { RenderResult, Template, TemplateContext } from "../template/Template.ts"
import { countRows } from "./CountedRows.ts"
import type {
  CheckArgs,
  CheckReply,
  CopyArgs,
  CopyProgress,
  CopyReply,
  ExecuteArgs,
  ExecuteReply,
  MaximumArgs,
  QualityArgs,
  QualityReply,
  RenderArgs,
  RenderReply,
  SqlArgs,
  TemplateFile,
  View,
} from "./RunnerOps.ts"
import { sqlProblem } from "./SqlProblem.ts"
import { checkTemplate } from "./TemplateCheck.ts"

/** A rendered template that is executed: what a place in its SQL leads back to. */
interface Script {
  readonly file: TemplateFile
  readonly context: TemplateContext
  readonly sql: string
}

/** Where our own statements run; there is nothing in it. */
const ownDatabase = "rat_merge"

/** The one function by which a query changes its session: what `random()` answers later. */
const touchesSession = /setseed/i

const columnsOf = (prepared: DuckDBPreparedStatement) =>
  Array.from({ length: prepared.columnCount }, (_, index) => ({
    name: prepared.columnName(index),
    type: String(prepared.columnType(index)),
  }))

const isPosition = (details: unknown): details is SqlPosition =>
  typeof details === "object" && details !== null && "position" in details

/** What one holder of the slot does with the engine. Everything of it is forgotten by `reset`. */
export class PipelineSession {
  readonly #limits: SlotLimits
  readonly #template: Template
  /** The slot's engine, and the one in use: another one when a pipeline asks for a smaller memory limit. */
  readonly #shared: DuckDb
  #engine: DuckDb
  #session: DuckDbSession | null = null
  #code: Script | null = null
  #tests: ReadonlyArray<Script | null> = []
  #result: SqlStatement | null = null
  /** The session that our own statements have to themselves. */
  #own: DuckDbSession | null = null
  /** The session has seen nothing of people's but one statement that reads: nothing of theirs can be left in it. */
  #isUntouched = false
  /** Views of the session by their quoted names. */
  #views = new Map<string, string>()

  private constructor(limits: SlotLimits, engine: DuckDb, template: Template) {
    this.#limits = limits
    this.#shared = engine
    this.#engine = engine
    this.#template = template
  }

  static async open(limits: SlotLimits, template: Template): Promise<PipelineSession> {
    return new PipelineSession(limits, await DuckDb.open(limits), template)
  }

  interrupt(): void {
    this.#engine.interrupt()
  }

  async reset(): Promise<void> {
    this.#session = null
    this.#code = null
    this.#tests = []
    this.#result = null
    this.#own = null
    this.#isUntouched = false
    const engine = this.#engine
    this.#engine = this.#shared
    if (engine === this.#shared) await engine.reset()
    else engine.close()
  }

  async render({ context, code, tests }: RenderArgs): Promise<RenderReply> {
    const rendered = async (file: TemplateFile, of: TemplateContext) => {
      const result = await this.#template.render(file.source, of)
      return { result, script: result._tag === "Rendered" ? { file, context: of, sql: result.sql } : null }
    }
    const main = await rendered(code, context)
    const others: Array<{ readonly result: RenderResult; readonly script: Script | null }> = []
    for (const test of tests) others.push(await rendered(test, { ...context, hasTable: true }))
    this.#code = main.script
    this.#tests = others.map(({ script }) => script)
    return { code: main.result, tests: others.map(({ result }) => result) }
  }

  /** The engine's syntax tree of a text, see `DuckDb.syntaxTree`. */
  tree(sql: string): Promise<string> {
    return this.#engine.syntaxTree(sql)
  }

  async maximum({ home, relation, column }: MaximumArgs): Promise<string | null> {
    const session = await this.#engine.begin([home])
    const rows = await session.run(`select cast(max(${quoteName(column)}) as varchar) from (${relation})`)
    await this.#engine.reset()
    return (rows[0]?.[0] ?? null) as string | null
  }

  async execute({ home, views, memoryLimitBytes }: ExecuteArgs): Promise<ExecuteReply> {
    const script = this.#code
    if (script === null) throw new SlotError("slot.defect", "Nothing was rendered.")
    if (memoryLimitBytes !== null && memoryLimitBytes !== this.#limits.memoryLimitBytes) {
      if (memoryLimitBytes > this.#limits.memoryLimitBytes) {
        const allowed = Math.floor(this.#limits.memoryLimitBytes / 1_048_576)
        throw new SlotError(
          "config.invalid",
          `memory_limit is larger than what this server gives to one run (${allowed} MiB). Lower it, or start the server with a larger RAT_RUNNER_MEMORY_LIMIT.`,
        )
      }
      this.#engine = await DuckDb.open({ ...this.#limits, memoryLimitBytes })
    }
    const session = await this.#begin(home, views)
    return await this.#placed(script, async () => {
      const { leavesNothing, prepared, statement, statements } = await this.#prepareLast(session, script)
      try {
        this.#result = statement
        this.#isUntouched = leavesNothing
        return { columns: columnsOf(prepared), query: statement.text, statements }
      } finally {
        prepared.destroySync()
      }
    })
  }

  /** Writes the result; a statement that takes long tells now and then how far it is. */
  async copy({ sql, progressMs }: CopyArgs, tell: (event: CopyProgress) => Promise<void>): Promise<CopyReply> {
    const [script, session, statement] = [this.#code, this.#session, this.#result]
    if (script === null || session === null || statement === null)
      throw new SlotError("slot.defect", "Nothing was executed.")
    if (progressMs !== null) await this.#engine.trackProgress()
    return await this.#placed(script, async () => {
      const telling =
        progressMs === null
          ? undefined
          : setInterval(() => {
              const progress = this.#engine.progress
              // A cancelled operation takes no more news.
              if (progress !== undefined) tell({ progress }).catch(() => {})
            }, progressMs)
      try {
        const result = await session.connection.runAndReadAll(sql)
        return { files: result.getRowObjectsJS() as CopyReply["files"] }
      } catch (error) {
        const start = sql.indexOf(statement.text)
        const problem = sqlError(error, session.limits, {
          text: script.sql,
          offset: statement.offset - start,
          statement: sql,
        })
        const position = isPosition(problem.details) ? problem.details.position : null
        // A place outside of the query is in what we wrote around it.
        const isInside =
          position !== null && position >= statement.offset && position < statement.offset + statement.text.length
        throw isInside ? problem : new SlotError(problem.code, problem.message)
      } finally {
        clearInterval(telling)
      }
    })
  }

  /**
   * Runs a statement of ours over files of the slot. In a session of its own: macros, views and temporary tables of the pipeline
   * must not stand in for what our SQL names.
   */
  async sql({ sql }: SqlArgs): Promise<ReadonlyArray<Readonly<Record<string, unknown>>>> {
    if (this.#own === null) {
      await this.#engine.reset()
      this.#session = null
      this.#isUntouched = false
      this.#own = await this.#engine.begin([ownDatabase])
    }
    try {
      return (await this.#own.connection.runAndReadAll(sql)).getRowObjectsJS()
    } catch (error) {
      throw sqlError(error, this.#own.limits)
    }
  }

  async quality(
    { home, views, tests, timeoutMs, sampleRows }: QualityArgs,
    signal: AbortSignal,
  ): Promise<ReadonlyArray<QualityReply>> {
    const session = await this.#sessionOfTests(home, views)
    const replies: Array<QualityReply> = []
    for (const index of tests) {
      const script = this.#tests[index]
      if (script === null || script === undefined) throw new SlotError("slot.defect", "The test was not rendered.")
      if (signal.aborted) throw new SlotError("cancelled", "Cancelled.")
      replies.push(await this.#test(session, script, timeoutMs, sampleRows))
    }
    return replies
  }

  async check({ files }: CheckArgs): Promise<CheckReply> {
    const session = await this.#engine.begin(["check"])
    const checked = []
    for (const { file, context } of files) checked.push(await checkTemplate(session, this.#template, file, context))
    return { files: checked }
  }

  /** A session of its own: what the pipeline left (tables, macros, views over views) must not decide about its tests. */
  async #sessionOfTests(home: string, views: ReadonlyArray<View>): Promise<DuckDbSession> {
    const [before, isUntouched] = [this.#session, this.#isUntouched]
    this.#isUntouched = false
    if (before !== null && isUntouched) {
      await this.#engine.attach([home, ...views.map((view) => view.database)])
      await this.#createViews(before, views)
      return before
    }
    this.#own = null
    await this.#engine.reset()
    return await this.#begin(home, views)
  }

  async #test(session: DuckDbSession, script: Script, timeoutMs: number, sampleRows: number): Promise<QualityReply> {
    const start = performance.now()
    const durationMs = () => Math.round((performance.now() - start) * 1_000) / 1_000
    let isLate = false
    const timer = setTimeout(() => {
      isLate = true
      this.#engine.interrupt()
    }, timeoutMs)
    try {
      return await this.#placed(script, async () => {
        const { prepared, statement } = await this.#prepareLast(session, script)
        try {
          const columns = columnsOf(prepared)
          const { count, rows } = await countRows(prepared, sampleRows)
          return { violations: count, columns, rows, error: null, durationMs: durationMs() }
        } catch (error) {
          throw sqlError(error, session.limits, {
            text: script.sql,
            offset: statement.offset,
            statement: statement.text,
          })
        } finally {
          prepared.destroySync()
        }
      })
    } catch (error) {
      if (!(error instanceof SlotError)) throw error
      const message = isLate
        ? `It did not finish within ${timeoutMs / 1_000} s (QUALITY_TEST_TIMEOUT_SECS).`
        : error.message
      return { violations: null, columns: [], rows: [], error: message, durationMs: durationMs() }
    } finally {
      clearTimeout(timer)
    }
  }

  /** Runs all statements but the last, which has to be one that reads. Whoever gets it destroys it. */
  async #prepareLast(session: DuckDbSession, script: Script) {
    const statements = checkedStatements(script.sql, "pipeline")
    const statement = statements.at(-1)!
    for (const before of statements.slice(0, -1)) {
      const { prepared } = await session.prepare(before, "pipeline", script.sql)
      try {
        await prepared.run()
      } catch (error) {
        throw sqlError(error, session.limits, { text: script.sql, offset: before.offset, statement: before.text })
      } finally {
        prepared.destroySync()
      }
    }
    const { isAlone, prepared, type } = await session.prepare(statement, "pipeline", script.sql)
    if (type !== StatementType.SELECT) {
      prepared.destroySync()
      throw new SlotError(sqlCodes.invalid, "The last statement must be a SELECT: its rows are the result.", {
        position: statement.offset,
      })
    }
    const leavesNothing = isAlone && statements.length === 1 && !touchesSession.test(statement.text)
    return { prepared, statement, statements: statements.length, leavesNothing }
  }

  async #begin(home: string, views: ReadonlyArray<View>): Promise<DuckDbSession> {
    const databases = new Set([home, ...views.map((view) => view.database)])
    const session = await this.#engine.begin([...databases] as [string, ...Array<string>])
    this.#session = session
    this.#views.clear()
    await this.#createViews(session, views)
    return session
  }

  async #createViews(session: DuckDbSession, views: ReadonlyArray<View>): Promise<void> {
    const nameOf = (view: View) => [view.database, view.schema, view.name].map(quoteName).join(".")
    const fresh = views.filter((view) => this.#views.get(nameOf(view)) !== view.sql)
    if (fresh.length === 0) return
    const schemas = new Set(fresh.map((view) => `${quoteName(view.database)}.${quoteName(view.schema)}`))
    await session.run(
      [
        ...Array.from(schemas, (schema) => `create schema if not exists ${schema}`),
        ...fresh.map((view) => `create or replace view ${nameOf(view)} as ${view.sql}`),
      ].join(";"),
    )
    for (const view of fresh) this.#views.set(nameOf(view), view.sql)
  }

  /** Errors of a script with their place in its template. */
  async #placed<A>(script: Script, use: () => Promise<A>): Promise<A> {
    try {
      return await use()
    } catch (error) {
      if (!(error instanceof SlotError)) throw error
      const { file, context } = script
      const at = isPosition(error.details)
        ? await this.#template.locate(file.source, context, error.details.position)
        : null
      throw sqlProblem(error, this.#limits.folder, { path: file.path, source: file.source, at })
    }
  }
}
