import type { RenderResult, TemplateContext } from "../template/Template.ts"

/**
 * What a runner node asks of its slots. A run calls `render` (which starts a session and forgets the one before), `execute`, `copy`,
 * as often as merging needs it `sql`, and `quality`. Plain data: it goes over the slot's channel, and slot processes load this file.
 */

/** A template by the name that messages give it: the path inside the pipeline's folder. */
export interface TemplateFile {
  readonly path: string
  readonly source: string
}

export interface RenderArgs {
  readonly context: TemplateContext
  /** The pipeline's code. */
  readonly code: TemplateFile
  /** Quality tests; they are rendered as after the run's commit, when the table exists. */
  readonly tests: ReadonlyArray<TemplateFile>
}

export interface RenderReply {
  readonly code: RenderResult
  readonly tests: ReadonlyArray<RenderResult>
}

/** A table under its three-part name. */
export interface View {
  readonly database: string
  readonly schema: string
  readonly name: string
  readonly sql: string
}

export interface ExecuteArgs {
  /** Database in which unqualified names are looked up and created. */
  readonly home: string
  readonly views: ReadonlyArray<View>
  /** Most bytes that the engine may hold for this run; null: the slot's own limit. */
  readonly memoryLimitBytes: number | null
}

/** Asks for the largest value of a column, before a run's session begins; answers with text or null. */
export interface MaximumArgs {
  readonly home: string
  readonly relation: string
  readonly column: string
}

/** All statements but the last have run; the last one, the result, is only described. */
export interface ExecuteReply {
  readonly columns: ReadonlyArray<{ readonly name: string; readonly type: string }>
  /** Text of the last statement. */
  readonly query: string
  readonly statements: number
}

/** Runs the last statement, streaming its rows to files. */
export interface CopyArgs {
  /** A `copy` that holds the query of `ExecuteReply` and asks for `return_stats`. */
  readonly sql: string
  /** How often to tell the progress; null: it is not asked for. */
  readonly progressMs: number | null
}

export interface CopyReply {
  /** Rows of `return_stats`. */
  readonly files: ReadonlyArray<Readonly<Record<string, unknown>>>
}

/** One statement of ours; nothing of `execute` is left. Answers with rows as objects of JavaScript values. */
export interface SqlArgs {
  readonly sql: string
}

/** Told while a long statement runs. */
export interface CopyProgress {
  /** Share that is done, 0 to 1, as far as DuckDB can tell. */
  readonly progress: number
}

export interface QualityArgs {
  readonly home: string
  /** All that the tests may read; nothing of `execute` is left. */
  readonly views: ReadonlyArray<View>
  /** Tests by their index in `RenderArgs`, in the order in which they run. */
  readonly tests: ReadonlyArray<number>
  /** Of one test, in milliseconds. */
  readonly timeoutMs: number
  /** Most violating rows to answer with. */
  readonly sampleRows: number
}

/** One test's outcome. */
export interface QualityReply {
  readonly violations: number | null
  readonly columns: ReadonlyArray<{ readonly name: string; readonly type: string }>
  readonly rows: ReadonlyArray<ReadonlyArray<unknown>>
  /** Why the test itself could not run. */
  readonly error: string | null
  readonly durationMs: number
}

/** Templates and SQL to look at without running any of it. */
export interface CheckArgs {
  readonly files: ReadonlyArray<{ readonly file: TemplateFile; readonly context: TemplateContext }>
}

export interface CheckedFile {
  readonly issues: ReadonlyArray<{
    readonly line?: number
    readonly column?: number
    readonly code: string
    readonly message: string
  }>
}

export interface CheckReply {
  readonly files: ReadonlyArray<CheckedFile>
}
