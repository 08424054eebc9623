import { createHash } from "node:crypto"
import { type CheckpointCommit, type CheckpointInputs, didYouMean, type ZoneListing } from "@rat/domain"
import { type Merged, type RefState, ScanPlanner, type Slot } from "@rat/lakehouse"
import { DateTime, Effect, Result } from "effect"
import type { MaximumArgs, RenderArgs, RenderReply, View } from "../sandbox/RunnerOps.ts"
import { type Issue, lineOf } from "../template/Issue.ts"
import { databaseOf } from "../template/RelationName.ts"
import { strategyFlags } from "../template/StrategyFlags.ts"
import type { Rendered, TemplateContext } from "../template/Template.ts"
import { type ActiveRun, shownPath } from "./ActiveRun.ts"
import type { Code } from "./Code.ts"
import { withFilters } from "./Filters.ts"
import { type Inputs, landingFolder, makeInputs } from "./Inputs.ts"
import { committedBefore, type OwnTable, readOwnTable } from "./OwnTable.ts"
import { type ReadTable, resolveReference, resolveZone } from "./References.ts"
import { RunFailed } from "./RunFailed.ts"

/** Everything that execution needs, fixed. */
export interface Resolved {
  readonly own: OwnTable
  readonly digest: string
  /** What earlier attempts have done with these very inputs. */
  readonly done: { readonly written: Merged | null; readonly committed: CheckpointCommit | null }
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

/** Names everything that decides what the run computes. Folders of the slot, which differ from one to the other, are no part of it. */
const digestOf = (
  slot: Slot,
  inputs: Omit<CheckpointInputs, "digest" | "startedAt" | "watermark">,
  sql: string,
): string =>
  createHash("sha256")
    .update(JSON.stringify([inputs.baseCommit, inputs.ownBase, inputs.zones, sql.replaceAll(slot.folder, "")]))
    .digest("hex")
    .slice(0, 32)

/**
 * Renders the templates in the slot, finds what they read on the run's branch and makes it readable there. What an earlier attempt
 * resolved is kept: files of landing zones and the run's start always, the watermark while the table is the one that it was read from.
 */
export const resolve = Effect.fn("Resolve.resolve")(function* (
  run: ActiveRun,
  code: Code,
  slot: Slot,
  branch: RefState,
) {
  const { target, key, progress } = run
  const own = yield* readOwnTable(run)
  const inputs = yield* makeInputs(slot)
  const kept = progress.inputs()
  const ownBase = own.base?.metadataLocation ?? null
  const watermark =
    kept !== null && kept.ownBase === ownBase ? kept.watermark : yield* readWatermark(run, code, own, inputs, slot)
  const startedAt = kept?.startedAt ?? DateTime.formatIso(yield* DateTime.now)
  const context: TemplateContext = {
    namespace: key.namespace,
    layer: key.layer,
    name: key.name,
    hasTable: own.base !== null,
    landingFolder: landingFolder(slot),
    runId: run.claimed.lease.runId,
    runStartedAt: startedAt,
    logicalTime: DateTime.formatIso(run.claimed.logicalTime ?? run.claimed.createdAt),
    parameters: run.claimed.parameters,
    watermarkValue: watermark,
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

  const listings = yield* Effect.forEach(
    [...new Set([...rendered.zones, ...zonesOfTests(reply)])],
    (zone) => Effect.map(Effect.result(resolveZone(run, zone)), (listing) => [zone, listing] as const),
    { concurrency: lookupConcurrency },
  ).pipe(Effect.map((found) => new Map(found)))
  /** A zone that cannot be read is the problem of whoever reads it: the run's, or one test's. */
  const zonesOf = (rendered: Rendered) =>
    Effect.forEach(rendered.zones, (zone) => Effect.fromResult(listings.get(zone)!))
  const zones = yield* zonesOf(rendered)

  const fixed = {
    baseCommit: branch.base?.toString() ?? null,
    ownBase,
    zones: [...listings.values()].flatMap((listing): CheckpointInputs["zones"] =>
      Result.isSuccess(listing)
        ? [{ ...listing.success, isTestOnly: !rendered.zones.includes(listing.success.zone) }]
        : [],
    ),
  }
  const digest = digestOf(slot, fixed, rendered.sql)
  progress.resolve({ ...fixed, watermark, startedAt, digest })
  const done = { written: progress.written(), committed: committedBefore(own, digest, progress.committed()) }
  // Whatever is left to do then, nothing is executed: only the tests read.
  const executes = done.written === null && done.committed === null

  const planner = yield* ScanPlanner
  const tables = new Map<string, ReadTable>()
  const readable = (refs: ReadonlyArray<string>) =>
    Effect.gen(function* () {
      const found = yield* Effect.forEach(refs, (reference) => resolveReference(run, reference), {
        concurrency: lookupConcurrency,
      })
      for (const table of found) tables.set(String(table.key), table)
    })
  const linkZones = (listed: ReadonlyArray<ZoneListing>) =>
    Effect.forEach(listed, (listing) => inputs.addZone(listing), { concurrency: lookupConcurrency, discard: true })

  const [, , tests] = yield* Effect.all(
    [
      executes ? linkZones(zones) : Effect.void,
      executes ? readable(rendered.refs) : Effect.void,
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
          return Effect.all([readable(refs), Effect.flatMap(zonesOf(result), linkZones)]).pipe(
            Effect.as(null),
            Effect.catchTag("RunFailed", (error) => Effect.succeed(`${shownPath(target, test.path)}: ${error.reason}`)),
          )
        },
        { concurrency: lookupConcurrency },
      ),
    ],
    { concurrency: "unbounded" },
  )
  if (executes && rendered.usesThis && own.base !== null && !tables.has(String(key))) {
    tables.set(String(key), { key, plan: yield* planner.plan(own.base.metadataLocation) })
  }
  const texts = [...(executes ? [rendered] : []), ...reply.tests].flatMap((result) =>
    result._tag === "Rendered" ? [result.sql] : [],
  )
  const needed = yield* withFilters(slot, key.namespace, texts, tables)
  yield* Effect.forEach(needed.values(), ({ plan }) => inputs.addTable(plan), { concurrency: lookupConcurrency })
  if (executes) {
    const read = rendered.refs.concat(rendered.usesThis ? ["this"] : [])
    if (read.length > 0) run.log.add("debug", `Reads ${read.join(", ")}`)
    for (const listing of zones) {
      run.log.add("info", `Landing zone '${listing.zone}': ${listing.files.length} file(s)`)
    }
  }
  return {
    own,
    digest,
    done,
    inputs,
    landingFileIds: zones.flatMap((listing) => listing.files.map((file) => file.id)),
    views: Array.from(needed.values(), ({ key: table, plan }) => viewOf(table, plan.relation(inputs.pathOf))),
    tests,
  } satisfies Resolved as Resolved
})

const zonesOfTests = (reply: RenderReply): ReadonlyArray<string> =>
  reply.tests.flatMap((result) => (result._tag === "Rendered" ? result.zones : []))

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
