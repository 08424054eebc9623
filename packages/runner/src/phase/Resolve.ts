import { didYouMean } from "@rat/domain"
import { ScanPlanner, type Slot } from "@rat/lakehouse"
import { DateTime, Effect } from "effect"
import type { MaximumArgs, RenderArgs, RenderReply, View } from "../sandbox/RunnerOps.ts"
import { type Issue, lineOf } from "../template/Issue.ts"
import { databaseOf } from "../template/RelationName.ts"
import { strategyFlags } from "../template/StrategyFlags.ts"
import type { Rendered, TemplateContext } from "../template/Template.ts"
import { type ActiveRun, shownPath } from "./ActiveRun.ts"
import type { Code } from "./Code.ts"
import { withFilters } from "./Filters.ts"
import { type Inputs, landingFolder, makeInputs } from "./Inputs.ts"
import { type OwnTable, readOwnTable } from "./OwnTable.ts"
import { type ReadTable, resolveReference, resolveZone } from "./References.ts"
import { RunFailed } from "./RunFailed.ts"

/** Everything that execution needs, fixed. */
export interface Resolved {
  readonly own: OwnTable
  readonly views: ReadonlyArray<View>
  readonly inputs: Inputs
  readonly landingFileIds: ReadonlyArray<string>
  /** Tests that can run, by their place in the code's tests; the text says why one cannot. */
  readonly tests: ReadonlyArray<string | null>
}

const lookupConcurrency = 8

/** A template's problem with its place and the line it is in. */
export const describeIssue = (path: string, source: string, issue: Issue): string => {
  const place = [path, issue.line, issue.column].filter((part) => part !== undefined).join(":")
  if (issue.line === undefined) return `${place}: ${issue.message}`
  const margin = `${issue.line} | `
  const pointer = issue.column === undefined ? "" : `\n${" ".repeat(margin.length + issue.column - 1)}^`
  return `${place}: ${issue.message}\n${margin}${lineOf(source, issue.line)}${pointer}`
}

/**
 * The largest value of the watermark column in the table; null on the first run. From statistics alone where they tell (long
 * texts are cut in them, and deletes may have taken the largest value away), otherwise from the files that may hold it.
 */
const readWatermark = Effect.fnUntraced(function* (
  run: ActiveRun,
  code: Code,
  own: OwnTable,
  inputs: Inputs,
  slot: Slot,
) {
  const column = code.config.watermark_column
  if (column === null || own.base === null) return null
  const planner = yield* ScanPlanner
  const plan = yield* planner.plan(own.base.metadataLocation)
  const names = plan.columns.map(({ name }) => name)
  // The run may be the one that renames the column: until it has, the table knows the old name.
  const before = Object.entries(code.config.renamed_columns).find(([, to]) => isSameName(to, column))?.[0]
  const name =
    names.find((candidate) => isSameName(candidate, column)) ??
    names.find((candidate) => before !== undefined && isSameName(candidate, before))
  if (name === undefined) {
    return yield* new RunFailed({
      code: "config.watermark",
      reason: `watermark_column "${column}" is no column of table ${run.key}.${didYouMean(column, names)} Its columns are: ${names.join(", ")}.`,
    })
  }
  const answer = planner.maximum(plan, name)
  if (answer.kind === "value") return answer.value
  yield* inputs.addTable(answer.plan)
  return yield* slot.call<string | null>("maximum", {
    home: databaseOf(run.key.namespace),
    relation: answer.plan.relation(inputs.pathOf),
    column: name,
  } satisfies MaximumArgs)
})

const isSameName = (left: string, right: string) => left.toLowerCase() === right.toLowerCase()

/** Renders the templates in the slot, finds what they read on the run's branch and makes it readable there. */
export const resolve = Effect.fn("Resolve.resolve")(function* (run: ActiveRun, code: Code, slot: Slot) {
  const { target, key } = run
  const own = yield* readOwnTable(run)
  const inputs = yield* makeInputs(slot)
  const watermarkValue = yield* readWatermark(run, code, own, inputs, slot)
  const context: TemplateContext = {
    namespace: key.namespace,
    layer: key.layer,
    name: key.name,
    hasTable: own.base !== null,
    landingFolder: landingFolder(slot),
    runId: run.claimed.lease.runId,
    runStartedAt: DateTime.formatIso(yield* DateTime.now),
    watermarkValue,
    flags: strategyFlags(code.config.merge_strategy),
  }
  const reply = yield* slot.call<RenderReply>("render", {
    context,
    code: { path: shownPath(target, "pipeline.sql"), source: code.source },
    tests: code.tests.map((test) => ({ path: shownPath(target, test.path), source: test.source })),
  } satisfies RenderArgs)
  if (reply.code._tag === "Problem") {
    const { problem } = reply.code
    return yield* new RunFailed({
      code: problem.code,
      reason: describeIssue(shownPath(target, "pipeline.sql"), code.source, problem),
    })
  }

  const rendered = reply.code

  const planner = yield* ScanPlanner
  const tables = new Map<string, ReadTable>()
  const readable = (rendered: Rendered) =>
    Effect.gen(function* () {
      const found = yield* Effect.forEach(rendered.refs, (reference) => resolveReference(run, reference), {
        concurrency: lookupConcurrency,
      })
      for (const table of found) tables.set(String(table.key), table)
    })
  const readZones = (rendered: Rendered) =>
    Effect.forEach(rendered.zones, (zone) => Effect.tap(resolveZone(run, zone), (listing) => inputs.addZone(listing)), {
      concurrency: lookupConcurrency,
    })

  const [zones, , tests] = yield* Effect.all(
    [
      readZones(rendered),
      readable(rendered),
      Effect.forEach(
        reply.tests,
        (result, index) => {
          const test = code.tests[index]!
          if (result._tag === "Problem") {
            return Effect.succeed(describeIssue(shownPath(target, test.path), test.source, result.problem))
          }
          // The run's own table is there by the time the tests run, under whatever name they call it.
          const refs = result.refs.filter((reference) => !isSelf(run, reference))
          // Zones that only a test reads are readable, but they are no input of the run.
          const zones = result.zones.filter((zone) => !rendered.zones.includes(zone))
          return Effect.all([readable({ ...result, refs }), readZones({ ...result, zones })]).pipe(
            Effect.as(null),
            Effect.catchTag("RunFailed", (error) => Effect.succeed(`${shownPath(target, test.path)}: ${error.reason}`)),
          )
        },
        { concurrency: lookupConcurrency },
      ),
    ],
    { concurrency: "unbounded" },
  )
  if (rendered.usesThis && own.base !== null && !tables.has(String(key))) {
    tables.set(String(key), { key, plan: yield* planner.plan(own.base.metadataLocation) })
  }
  const texts = [reply.code, ...reply.tests].flatMap((result) => (result._tag === "Rendered" ? [result.sql] : []))
  const needed = yield* withFilters(slot, key.namespace, texts, tables)
  yield* Effect.forEach(needed.values(), ({ plan }) => inputs.addTable(plan), { concurrency: lookupConcurrency })
  const read = rendered.refs.concat(rendered.usesThis ? ["this"] : [])
  if (read.length > 0) run.log.add("debug", `Reads ${read.join(", ")}`)
  for (const listing of zones) {
    run.log.add("info", `Landing zone '${listing.zone}': ${listing.files.length} file(s)`)
  }
  return {
    own,
    inputs,
    landingFileIds: zones.flatMap((listing) => listing.files.map((file) => file.id)),
    views: Array.from(needed.values(), ({ key: table, plan }) => viewOf(table, plan.relation(inputs.pathOf))),
    tests,
  } satisfies Resolved as Resolved
})

const isSelf = (run: ActiveRun, reference: string): boolean =>
  reference === `${run.key.layer}.${run.key.name}` || reference === String(run.key)

export const viewOf = (key: { namespace: string; layer: string; name: string }, sql: string): View => ({
  database: databaseOf(key.namespace),
  schema: key.layer,
  name: key.name,
  sql,
})

export const isViewOf = (view: View, key: { namespace: string; layer: string; name: string }): boolean =>
  view.database === databaseOf(key.namespace) && view.schema === key.layer && view.name === key.name
