import { blocksPublish, type CheckpointCommit, Column, QualityResult } from "@rat/domain"
import { ScanPlanner, type Slot } from "@rat/lakehouse"
import { Effect, type Schema } from "effect"
import { RunnerConfig } from "../RunnerConfig.ts"
import type { QualityArgs, QualityReply } from "../sandbox/RunnerOps.ts"
import { databaseOf } from "../template/RelationName.ts"
import type { ActiveRun } from "./ActiveRun.ts"
import type { Code, QualityFile } from "./Code.ts"
import { isViewOf, type Resolved, viewOf } from "./Resolve.ts"
import { RunFailed } from "./RunFailed.ts"

/** Violating rows that are stored with a result, and shown in the log and in the run's error. */
const sampleRows = 10
const shownRows = 3
/** Characters of one value in log and error. */
const shownCell = 40

const statusOf = (test: QualityFile, reply: QualityReply): QualityResult["status"] => {
  if (reply.error !== null) return "error"
  if (reply.violations === 0) return "passed"
  return test.header.severity === "error" ? "failed" : "warned"
}

const resultOf = (test: QualityFile, reply: QualityReply): QualityResult =>
  new QualityResult({
    name: test.header.name,
    status: statusOf(test, reply),
    severity: test.header.severity,
    description: test.header.description,
    tags: test.header.tags,
    remediation: test.header.remediation,
    violations: reply.violations,
    sample_columns: reply.columns.map((column) => new Column(column)),
    sample_rows: reply.rows as ReadonlyArray<ReadonlyArray<Schema.Json>>,
    error: reply.error,
    duration_ms: reply.durationMs,
  })

const cell = (value: unknown): string => {
  const text = typeof value === "string" ? value : JSON.stringify(value)
  return text.length > shownCell ? `${text.slice(0, shownCell - 1)}…` : text
}

/** The first violating rows as an aligned table. */
const sampleTable = (result: QualityResult): string => {
  const rows = [
    result.sample_columns.map((column) => column.name),
    ...result.sample_rows.slice(0, shownRows).map((row) => row.map(cell)),
  ]
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  return rows
    .map((row) => `  ${row.map((text, column) => text.padEnd(widths[column]!)).join(" | ")}`.trimEnd())
    .join("\n")
}

const logResult = (run: ActiveRun, result: QualityResult): void => {
  const { log } = run
  if (result.status === "error") {
    log.add(result.severity, `Quality test '${result.name}' errored: ${result.error}`)
    return
  }
  const isPass = result.status === "passed"
  const outcome = `${isPass ? "pass" : "fail"} (${result.violations} rows, ${Math.round(result.duration_ms)}ms)`
  log.add(isPass ? "info" : result.severity, `Quality test '${result.name}': ${outcome}`)
  if (isPass) return
  if (result.description !== "") log.add("info", `Quality test '${result.name}' description: ${result.description}`)
  if (result.remediation !== "") log.add("info", `Quality test '${result.name}' remediation: ${result.remediation}`)
  if (result.sample_rows.length > 0) log.add("info", `Sample violations for '${result.name}':\n${sampleTable(result)}`)
}

/** Why the tests keep the data from being published, one paragraph for each of them. */
export const blockingSummary = (results: ReadonlyArray<QualityResult>): string =>
  [
    "Quality tests failed: nothing was published. The data can be read on the run's branch.",
    ...results.filter(blocksPublish).map((result) => {
      const lines =
        result.status === "error"
          ? [`- ${result.name} could not run: ${result.error}`]
          : [
              `- ${result.name}: ${result.violations} violating row(s)${result.description === "" ? "" : ` (${result.description})`}`,
            ]
      if (result.remediation !== "") lines.push(`  What to do: ${result.remediation}`)
      if (result.sample_rows.length > 0) lines.push(sampleTable(result))
      return lines.join("\n")
    }),
  ].join("\n")

/**
 * Runs the quality tests on the run's branch: `this` is the table with the new data. Answers with every result; whether
 * they block is `requirePassing`'s.
 */
export const runQualityTests = Effect.fn("Quality.run")(function* (
  run: ActiveRun,
  code: Code,
  resolved: Resolved,
  committed: CheckpointCommit,
  slot: Slot,
) {
  if (code.tests.length === 0) {
    run.log.add("info", "No quality tests found — skipping")
    return []
  }
  run.log.add("info", `Found ${code.tests.length} quality test(s)`)
  const config = yield* RunnerConfig
  const planner = yield* ScanPlanner
  const plan = yield* planner.plan(committed.metadataLocation)
  yield* resolved.inputs.addTable(plan)
  // Where the pipeline read its own table, that was the one before the run.
  const others = resolved.views.filter((view) => !isViewOf(view, run.key))
  const able = resolved.tests.flatMap((problem, index) => (problem === null ? [index] : []))
  const replies = yield* slot.call<ReadonlyArray<QualityReply>>("quality", {
    home: databaseOf(run.key.namespace),
    views: [...others, viewOf(run.key, plan.relation(resolved.inputs.pathOf))],
    tests: able,
    timeoutMs: config.qualityTimeoutSeconds * 1_000,
    sampleRows,
  } satisfies QualityArgs)
  const results = code.tests.map((test, index) => {
    const problem = resolved.tests[index] ?? null
    const reply =
      problem === null
        ? replies[able.indexOf(index)]!
        : { violations: null, columns: [], rows: [], error: problem, durationMs: 0 }
    return resultOf(test, reply)
  })
  for (const result of results) logResult(run, result)
  return results
})

/** Fails when a test of severity error did not pass. */
export const requirePassing = (results: ReadonlyArray<QualityResult>) =>
  results.some(blocksPublish)
    ? Effect.fail(new RunFailed({ code: "quality.failed", reason: blockingSummary(results) }))
    : Effect.void
