import { SlotError } from "@rat/lakehouse/slot"
import { lineOf } from "../template/Issue.ts"

/** Where a message's SQL came from, for people: the template and its place, or the compiled SQL when it cannot be told. */
export interface SqlPlace {
  readonly path: string
  readonly source: string
  readonly line: number
  readonly column: number
}

export const csvCode = "data.csv"
const diskCode = "limit.disk"

/** Spellings of what DuckDB says about a CSV row that does not parse (1.5.5). */
const csvRow = /CSV Error on Line: (\d+)\nOriginal Line: ?(.*)\n([^\n]+)/
const csvFile = /file = (.+)/
const csvSniff = /Error when sniffing file "([^"]+)"\.\n([^\n]+)/
const failedValue = /Could not convert string "((?:[^"\\]|\\.)*)"/

/** Paths without the folder of the slot, which tells nobody anything: `landing/raw/x.csv`. */
const withoutFolder = (message: string, folder: string): string =>
  message.replaceAll(`${folder}/in/landing/`, "landing/").replaceAll(`${folder}/in/`, "").replaceAll(`${folder}/`, "")

const csvMessage = (message: string): string | null => {
  const row = csvRow.exec(message)
  const file = csvFile.exec(message)?.[1]
  if (row !== null) {
    const [, line, text = "", said] = row
    const value = failedValue.exec(said ?? "")?.[1]
    const at = value === undefined ? -1 : text.indexOf(value)
    const place = [file ?? "CSV file", line, at === -1 ? undefined : at + 1]
      .filter((part) => part !== undefined)
      .join(":")
    return `${place}: the file does not parse as CSV. ${said}\n${line} | ${text}\nCorrect the file, or tell read_csv how to read it (types, delim, quote, skip, nullstr, ignore_errors).`
  }
  const sniffed = csvSniff.exec(message)
  return sniffed === null
    ? null
    : `${sniffed[1]}: the file does not parse as CSV. ${sniffed[2]}.\nCorrect the file, or tell read_csv how to read it (delim, quote, header, columns, strict_mode, null_padding).`
}

/** An engine error as the person who wrote the SQL should see it. */
export const sqlProblem = (error: SlotError, folder: string, place: SqlPlace | null): SlotError => {
  const message = withoutFolder(error.message, folder)
  if (/No space left on device|Failed to offload data/.test(message) && error.code !== "limit.memory") {
    return new SlotError(diskCode, "The disk of the runner is full. Free space and run again.", error.details)
  }
  const csv = csvMessage(message)
  const text = csv ?? message
  if (place === null) return new SlotError(csv === null ? error.code : csvCode, text, error.details)
  const margin = `${place.line} | `
  return new SlotError(
    csv === null ? error.code : csvCode,
    csv === null
      ? `${place.path}:${place.line}:${place.column}: ${text}\n${margin}${lineOf(place.source, place.line)}\n${" ".repeat(margin.length + place.column - 1)}^`
      : `${text}\nRead at ${place.path}:${place.line}:${place.column}.`,
    { line: place.line, column: place.column },
  )
}
