import { Logger } from "effect"
import { type LogRecord, logRecord } from "./LogRecord.ts"

/** One JSON object on one line. Fields that are called like a part of the record get an underscore behind their name. */
export const formatJson = ({ error, fields, level, message, spanId, stack, timestamp, traceId }: LogRecord): string => {
  const own = { timestamp, level, message, trace_id: traceId, span_id: spanId, error, stack }
  const others = Object.entries(fields).map(([name, value]) => [name in own ? `${name}_` : name, value] as const)
  return JSON.stringify({ ...own, ...Object.fromEntries(others) })
}

/** Writes to stderr: stdout belongs to the data of a command. */
export const jsonLogger: Logger.Logger<unknown, void> = Logger.make((options) => {
  process.stderr.write(`${formatJson(logRecord(options))}\n`)
})
