import { Effect } from "effect"
import { Output } from "../output/Output.ts"
import { countedText, durationText } from "../output/Quantity.ts"
import { paintStatus, type Style } from "../output/Style.ts"
import type { EndedRun, QualityResult } from "./FollowRun.ts"

/** `silver.flights` of a run; its kind when it has no table. */
export const runTitle = (run: EndedRun["run"]): string =>
  run.layer === null || run.pipeline === null ? run.kind : `${run.layer}.${run.pipeline}`

/** Longest sample of violating rows that is shown; the API has up to ten. */
const sampleRows = 3

const cellText = (cell: unknown): string => (typeof cell === "string" ? cell : JSON.stringify(cell))

/** What a test that did not pass means, where to look and what to do. */
const findingLines = (result: QualityResult, style: Style): ReadonlyArray<string> => {
  const count = result.violations === null ? "could not run" : countedText(result.violations, "row")
  const lines = [`  ${paintStatus(style, result.status)}  ${result.name}: ${count}`]
  const indented = (text: string) => lines.push(`          ${text}`)
  if (result.description !== "") indented(result.description)
  if (result.error !== null) indented(result.error)
  const columns = result.sample_columns.map((column) => column.name)
  for (const row of result.sample_rows.slice(0, sampleRows)) {
    indented(style.dim(columns.map((name, index) => `${name}=${cellText(row[index])}`).join(" ")))
  }
  if (result.remediation !== "") indented(`→ ${result.remediation}`)
  return lines
}

/** One line for the run, and what its tests found. */
export const reportText = (ended: EndedRun, style: Style): string => {
  const { run, quality } = ended
  const passed = quality.filter((result) => result.status === "passed").length
  const facts = [
    paintStatus(style, run.status),
    run.rows_written === null ? undefined : countedText(run.rows_written, "row"),
    run.duration_ms === null ? undefined : durationText(run.duration_ms),
    quality.length === 0 ? undefined : `${passed} of ${quality.length} tests passed`,
  ].filter((fact) => fact !== undefined)
  const findings = quality
    .filter((result) => result.status !== "passed")
    .flatMap((result) => findingLines(result, style))
  return [`${style.bold(runTitle(run))}  ${facts.join(", ")}`, ...findings].join("\n")
}

export const printReport = Effect.fnUntraced(function* (ended: EndedRun) {
  const output = yield* Output
  yield* output.data(reportText(ended, output.dataStyle))
})
