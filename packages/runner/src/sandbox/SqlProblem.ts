import { SlotError } from "@rat/lakehouse/slot"
import { lineOf } from "../template/Issue.ts"

/** Where a message's SQL came from, for people: the template, and its place in it when the engine named one. */
export interface SqlPlace {
  readonly path: string
  readonly source: string
  readonly at: { readonly line: number; readonly column: number } | null
}

/** Codes of files in landing zones that are not what they are read as. */
const fileCodes = { csv: "data.csv", parquet: "data.parquet", json: "data.json" } as const
const diskCode = "machine.disk"

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

const parquetFile = [
  /No magic bytes found at end of file '([^']+)'/,
  /File '([^']+)' (?:too small to be a Parquet file)/,
  /Footer length error in file '([^']+)'/,
]
const jsonFile = /Malformed JSON in file "([^"]+)", (?:at byte (\d+) )?in (?:line|record\/value) (\d+): ([^\n]+)/

/** What is wrong with a file that was read, at its place in the file. */
const fileProblem = (message: string): { readonly code: string; readonly text: string } | null => {
  const csv = csvMessage(message)
  if (csv !== null) return { code: fileCodes.csv, text: csv }
  for (const pattern of parquetFile) {
    const file = pattern.exec(message)?.[1]
    if (file === undefined) continue
    return {
      code: fileCodes.parquet,
      text: `${file}: the file is not Parquet, or only a part of it. Upload it again, or read it as what it is (read_csv, read_json).`,
    }
  }
  const json = jsonFile.exec(message)
  if (json === null) return null
  const [, file, byte, line, said] = json
  const place = [file, line, byte].filter((part) => part !== undefined).join(":")
  return {
    code: fileCodes.json,
    text: `${place}: the file does not parse as JSON: ${said} Correct the file, or tell read_json how to read it (format, ignore_errors).`,
  }
}

/** Characters of a message, and of the line that it shows. The SQL may have made it as long as it likes. */
const maxMessage = 4_000
const maxLine = 300

/** An engine error as the person who wrote the SQL should see it. */
export const sqlProblem = (error: SlotError, folder: string, place: SqlPlace): SlotError => {
  const problem = described(error, folder, place)
  return problem.message.length <= maxMessage
    ? problem
    : new SlotError(problem.code, `${problem.message.slice(0, maxMessage)}…`, problem.details)
}

const described = (error: SlotError, folder: string, place: SqlPlace): SlotError => {
  const message = withoutFolder(error.message, folder)
  if (/No space left on device|Failed to offload data/.test(message) && error.code !== "limit.memory") {
    return new SlotError(diskCode, "The disk of the runner is full. Free space and run again.", error.details)
  }
  const { path, at } = place
  const where = at === null ? path : `${path}:${at.line}:${at.column}`
  const file = fileProblem(message)
  if (file !== null) return new SlotError(file.code, `${file.text}\nRead at ${where}.`, at ?? undefined)
  if (at === null) {
    const advice = error.code === "limit.memory" ? " The setting memory_limit of the pipeline is the limit." : ""
    return new SlotError(error.code, `${where}: ${message}${advice}`)
  }
  const margin = `${at.line} | `
  const line = lineOf(place.source, at.line)
  const excerpt = line.length > maxLine ? "" : `\n${margin}${line}\n${" ".repeat(margin.length + at.column - 1)}^`
  return new SlotError(error.code, `${where}: ${message}${excerpt}`, at)
}
