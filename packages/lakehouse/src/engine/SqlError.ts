import { SlotError } from "../slot/SlotServer.ts"

/** Codes of what the engine refuses or fails at. Stable: they end in a run's `code` and choose the HTTP status. */
export const sqlCodes = {
  /** The text is wrong: syntax, unknown names, types, a value that cannot be cast. */
  invalid: "sql.error",
  /** The statement, function or file is not for the person's SQL. */
  forbidden: "sql.forbidden",
  memory: "limit.memory",
  /** The engine itself is broken; its slot is replaced. */
  engine: "engine.error",
} as const

/** 1-based line and column and 0-based offset, all in characters. */
export interface SqlPosition {
  readonly line: number
  readonly column: number
  readonly position: number
}

export const positionAt = (text: string, position: number): SqlPosition => {
  const before = text.slice(0, position)
  const lineStart = before.lastIndexOf("\n") + 1
  return { line: before.split("\n").length, column: position - lineStart + 1, position }
}

/** DuckDB counts bytes; editors and people count characters (UTF-16 units here, as JavaScript and LSP do). */
const charactersOf = (text: string, bytes: number): number => Buffer.from(text).subarray(0, bytes).toString().length

interface EngineMessage {
  readonly exception_type: string
  readonly exception_message: string
  readonly position?: string
}

/** What DuckDB said, when it was told to say it as JSON (setting `errors_as_json`). Text may stand before the JSON. */
const parseMessage = (message: string): EngineMessage => {
  const start = message.indexOf('{"exception_type"')
  if (start >= 0) {
    try {
      return JSON.parse(message.slice(start)) as EngineMessage
    } catch {} // falls through to the plain form
  }
  const plain = /^(?:Failed to extract statements: )?([A-Z][A-Za-z -]*) Error: ([\s\S]*)$/.exec(message)
  return { exception_type: plain?.[1] ?? "Engine", exception_message: plain?.[2] ?? message }
}

const size = (bytes: number) => `${Math.round(bytes / 2 ** 20)} MiB`

/** Limits as they stand in messages. */
export interface EngineLimits {
  readonly memoryLimitBytes: number
  readonly spillLimitBytes: number
}

/** A statement as the engine got it, and where it stands in the text that a person sent, in characters. */
export interface SqlSource {
  readonly text: string
  readonly offset: number
  readonly statement: string
}

/** Thrown by the engine for a statement; `details` is its `SqlPosition`, where DuckDB names one. */
export const sqlError = (error: unknown, limits: EngineLimits, source?: SqlSource): SlotError => {
  if (error instanceof SlotError) return error
  const { exception_type: type, exception_message: said, position } = parseMessage((error as Error).message ?? "")
  const where =
    source === undefined || position === undefined
      ? undefined
      : positionAt(source.text, source.offset + charactersOf(source.statement, Number(position)))
  switch (type) {
    case "Out of Memory":
      return new SlotError(
        sqlCodes.memory,
        said.includes("max_temp_directory_size")
          ? `The statement needs more than its ${size(limits.memoryLimitBytes)} of memory and ${size(limits.spillLimitBytes)} of disk for intermediate data. Select fewer rows or columns, aggregate earlier, or raise the limits.`
          : `The statement needs more than its ${size(limits.memoryLimitBytes)} of memory. Select fewer rows or columns, aggregate earlier, or raise the limit.`,
      )
    case "Permission":
      return new SlotError(
        sqlCodes.forbidden,
        `${said.replace(/ - file system operations are disabled by configuration$/, "")}: files and addresses outside of what was planned for this statement cannot be read or written.`,
        where,
      )
    case "INTERNAL":
    case "Fatal":
    case "FATAL":
      return new SlotError(sqlCodes.engine, `The SQL engine failed: ${said.split("\n")[0]}`, where)
    default:
      return new SlotError(sqlCodes.invalid, `${type} Error: ${said.trim()}`, where)
  }
}
