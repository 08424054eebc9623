import { Logger } from "effect"
import { type LogRecord, logRecord } from "./LogRecord.ts"

const colours: { readonly [level in LogRecord["level"]]: string } = {
  trace: "90",
  debug: "90",
  info: "32",
  warn: "33",
  error: "31",
  fatal: "31",
}

const show = (value: unknown): string =>
  typeof value === "string" && /^[^\s"=]+$/.test(value) ? value : (JSON.stringify(value) ?? "")

/** One line for people: local time, level, message, `field=value`; more lines only for the stack of a defect. */
export const formatPretty = (record: LogRecord, coloured: boolean): string => {
  const paint = (code: string, text: string) => (coloured ? `\u001b[${code}m${text}\u001b[0m` : text)
  const time = new Date(record.timestamp)
  const clock = [time.getHours(), time.getMinutes(), time.getSeconds()].map((part) => String(part).padStart(2, "0"))
  const fields = Object.entries({
    ...record.fields,
    ...(record.error === undefined || record.error === record.message ? {} : { error: record.error }),
  }).map(([name, value]) => paint("90", `${name}=${show(value)}`))
  const line = [clock.join(":"), paint(colours[record.level], record.level.toUpperCase().padEnd(5)), record.message]
  const stack = record.stack === undefined ? "" : `\n${paint("90", record.stack)}`
  return [...line, ...fields].join(" ") + stack
}

export const prettyLogger = (coloured: boolean): Logger.Logger<unknown, void> =>
  Logger.make((options) => {
    process.stderr.write(`${formatPretty(logRecord(options), coloured)}\n`)
  })
