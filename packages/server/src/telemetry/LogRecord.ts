import { Cause, type Logger, References } from "effect"
import { redactFields, redactText } from "./Redaction.ts"

/** A log entry in the platform's one format. Fields have the names of STYLE.md and come from `Effect.annotateLogs`. */
export interface LogRecord {
  /** ISO 8601, UTC. */
  readonly timestamp: string
  readonly level: "trace" | "debug" | "info" | "warn" | "error" | "fatal"
  readonly message: string
  readonly traceId?: string
  readonly spanId?: string
  /** What failed and why, of the whole chain of causes; never a stack trace. */
  readonly error?: string
  /** Of a defect only: a failure that the code expects needs none. */
  readonly stack?: string
  readonly fields: Readonly<Record<string, unknown>>
}

const isFields = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && [Object.prototype, null].includes(Object.getPrototypeOf(value))

const describe = (error: Error): string => {
  const parts: Array<string> = []
  for (let at: unknown = error, depth = 0; at instanceof Error && depth < 5; at = at.cause, depth++) {
    if (at.message !== "" && !parts.some((part) => part.includes(at.message))) parts.push(at.message)
  }
  return parts.length === 0 ? error.name : parts.join(": ")
}

/** Effect takes several messages: texts are the message, plain objects are fields, errors are the error. */
const split = (messages: ReadonlyArray<unknown>) => {
  const texts: Array<string> = []
  const errors: Array<Error> = []
  const fields: Record<string, unknown> = {}
  for (const message of messages) {
    if (message instanceof Error) errors.push(message)
    else if (isFields(message)) Object.assign(fields, message)
    else texts.push(String(message))
  }
  return { texts, errors, fields }
}

export const logRecord = ({ cause, date, fiber, logLevel, message }: Logger.Options<unknown>): LogRecord => {
  const { texts, errors, fields } = split(Array.isArray(message) ? message : [message])
  const failures = Cause.prettyErrors(cause)
  const described = [...errors, ...failures].map(describe)
  const defect = Cause.hasDies(cause) ? failures.find(({ stack }) => stack !== undefined) : undefined
  const span = fiber.cache.span
  const [started] = fiber.getRef(References.CurrentLogSpans)
  return {
    timestamp: date.toISOString(),
    level: logLevel.toLowerCase() as LogRecord["level"],
    message: redactText(texts.join(" ") || described[0] || ""),
    ...(span === undefined ? {} : { traceId: span.traceId.padStart(32, "0"), spanId: span.spanId }),
    ...(described.length === 0 ? {} : { error: redactText(described.join("; ")) }),
    ...(defect?.stack === undefined ? {} : { stack: redactText(defect.stack) }),
    fields: redactFields({
      ...(started === undefined ? {} : { duration_ms: date.getTime() - started[1] }),
      ...fiber.getRef(References.CurrentLogAnnotations),
      ...fields,
    }),
  }
}
