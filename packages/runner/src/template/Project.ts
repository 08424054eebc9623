import { didYouMean, type NamespaceName, type ProjectFile, type ProjectIssue, RoleUnavailable } from "@rat/domain"
import { Effect } from "effect"
import type { CheckArgs, CheckReply } from "../sandbox/RunnerOps.ts"
import { CheckSlots } from "../sandbox/RunnerSlots.ts"
import { findCycles } from "./Cycles.ts"
import { effectiveConfig } from "./EffectiveConfig.ts"
import { type Issue, placeOf } from "./Issue.ts"
import { issueAt, type ProjectLayout, type ProjectPipeline, readLayout } from "./ProjectFiles.ts"
import { isQualityTest, readQualityHeader } from "./QualityHeader.ts"
import { parseReference } from "./Reference.ts"
import { strategyFlags } from "./StrategyFlags.ts"
import type { TemplateContext } from "./Template.ts"
import { literalCalls } from "./TemplateSource.ts"

interface Request {
  readonly namespace: NamespaceName
  readonly files: ReadonlyArray<ProjectFile>
  readonly known: ReadonlyArray<string>
}

const zonePrefix = "zone:"

/** Settings and headers of one pipeline. */
const settingIssues = (pipeline: ProjectPipeline): ReadonlyArray<ProjectIssue> => {
  const { folder, files } = pipeline
  const config = effectiveConfig(files.get("pipeline.sql") ?? "", files.get("config.yaml") ?? null)
  const tests = [...files].filter(([path]) => isQualityTest(path))
  return [
    ...config.codeIssues.map((issue) => issueAt(`${folder}pipeline.sql`, issue)),
    ...config.configIssues.map((issue) => issueAt(`${folder}config.yaml`, issue)),
    ...tests.flatMap(([path, source]) =>
      readQualityHeader(path, source).issues.map((issue) => issueAt(`${folder}${path}`, issue)),
    ),
  ]
}

/** References of the project's files that lead nowhere, and the graph of those of its pipelines that lead somewhere. */
const referenceIssues = ({ namespace, known }: Request, { pipelines, zones }: ProjectLayout) => {
  const issues: Array<ProjectIssue> = []
  const own = pipelines
    .filter(({ files }) => files.has("pipeline.sql"))
    .map(({ layer, name }) => `${namespace}.${layer}.${name}`)
  const tables = new Set([...known.filter((name) => !name.startsWith(zonePrefix)), ...own])
  const zoneNames = new Set([
    ...known.filter((name) => name.startsWith(zonePrefix)).map((name) => name.slice(zonePrefix.length)),
    ...zones,
  ])
  const short = [...tables].map((name) => (name.startsWith(`${namespace}.`) ? name.slice(namespace.length + 1) : name))
  const graph = new Map<string, Array<string>>()
  /** Path and place of the first reference from one pipeline to another. */
  const edges = new Map<string, { readonly path: string; readonly place: Partial<Issue> }>()

  for (const { layer, name, folder, files } of pipelines) {
    const self = `${namespace}.${layer}.${name}`
    graph.set(self, [])
    for (const [inside, source] of files) {
      if (inside !== "pipeline.sql" && !isQualityTest(inside)) continue
      const path = `${folder}${inside}`
      for (const { argument, offset } of literalCalls(source, "ref")) {
        const place = placeOf(source, offset)
        const parsed = parseReference(argument, namespace)
        if ("problem" in parsed) {
          issues.push(issueAt(path, { ...place, code: "ref.invalid", message: parsed.problem }))
          continue
        }
        const target = String(parsed.key)
        if (!tables.has(target) && target !== self) {
          issues.push(
            issueAt(path, {
              ...place,
              code: "ref.missing",
              message: `ref('${argument}'): there is no such pipeline or table.${didYouMean(argument, short)} Correct the name, or push that pipeline too.`,
            }),
          )
        }
        // A pipeline may read its own table, as of before the run.
        if (inside === "pipeline.sql" && target !== self) {
          graph.get(self)!.push(target)
          const edge = `${self} ${target}`
          if (!edges.has(edge)) edges.set(edge, { path, place })
        }
      }
      for (const { argument, offset } of literalCalls(source, "landing_zone")) {
        if (zoneNames.has(argument)) continue
        issues.push(
          issueAt(path, {
            ...placeOf(source, offset),
            code: "zone.missing",
            message: `landing_zone('${argument}'): there is no such landing zone.${didYouMean(argument, zoneNames)} \`rat upload --zone ${argument} FILE\` makes it.`,
          }),
        )
      }
    }
  }
  for (const cycle of findCycles(graph)) {
    const names = [...cycle, cycle[0]!].map((node) => node.slice(namespace.length + 1))
    const edge = edges.get(`${cycle[0]} ${cycle[1] ?? cycle[0]}`)
    if (edge === undefined) continue
    issues.push(
      issueAt(edge.path, {
        ...edge.place,
        code: "ref.cycle",
        message: `Pipelines read each other in a circle: ${names.join(" → ")}. Take one of the references out.`,
      }),
    )
  }
  return issues
}

/** Templates and SQL of all files, looked at in one slot; nothing of them is executed. */
const templateIssues = Effect.fnUntraced(function* (namespace: NamespaceName, layout: ProjectLayout) {
  const checks = layout.pipelines.flatMap((pipeline) => {
    const { config } = effectiveConfig(
      pipeline.files.get("pipeline.sql") ?? "",
      pipeline.files.get("config.yaml") ?? null,
    )
    const context: TemplateContext = {
      namespace,
      layer: pipeline.layer,
      name: pipeline.name,
      hasTable: false,
      landingFolder: "landing",
      runId: "00000000-0000-7000-8000-000000000000",
      runStartedAt: "2000-01-01T00:00:00.000Z",
      logicalTime: "2000-01-01T00:00:00.000Z",
      parameters: null,
      watermarkValue: null,
      flags: strategyFlags(config.merge_strategy),
    }
    return [...pipeline.files]
      .filter(([path]) => path === "pipeline.sql" || isQualityTest(path))
      .map(([path, source]) => ({
        file: { path: `${pipeline.folder}${path}`, source },
        // A test runs after the commit, when the table is there.
        context: path === "pipeline.sql" ? context : { ...context, hasTable: true },
      }))
  })
  if (checks.length === 0) return []
  const slots = yield* CheckSlots
  const check = Effect.scoped(
    Effect.flatMap(slots.acquire, (slot) => slot.call<CheckReply>("check", { files: checks } satisfies CheckArgs)),
  ).pipe(Effect.retry({ times: freshSlots, while: (error) => error._tag === "SlotDied" }))
  const reply = yield* check.pipe(
    Effect.catchTags({
      // Not the files' doing, as far as anybody knows: their author may push again.
      SlotDied: (error) => Effect.fail(cannotCheck(error.message)),
      SlotsBusy: (error) => Effect.fail(cannotCheck(error.message)),
      SlotOpFailed: (error) => (error.code.startsWith("limit.") ? Effect.succeed(error) : Effect.die(error)),
    }),
  )
  if ("reason" in reply)
    return [
      issueAt(checks[0]!.file.path, {
        code: reply.code,
        message: `Rendering this file or one of the ${checks.length - 1} others took too much. ${reply.reason} Look for loops over large ranges in the templates.`,
      }),
    ]
  return reply.files.flatMap(({ issues }, index) => issues.map((issue) => issueAt(checks[index]!.file.path, issue)))
})

/** How often a check whose process died is done again. */
const freshSlots = 2

const cannotCheck = (reason: string) =>
  new RoleUnavailable({ role: "runner", reason: `the files could not be checked. ${reason}` })

const byPlace = (a: ProjectIssue, b: ProjectIssue) =>
  a.path === b.path ? (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0) : a.path < b.path ? -1 : 1

/** Every problem of a project's files, in the order of files and lines. `RoleUnavailable`: they could not be looked at now. */
export const validate = Effect.fn("Project.validate")(function* (request: Request) {
  const layout = readLayout(request.files)
  const codeless = layout.pipelines.filter(
    ({ layer, name, files }) =>
      !files.has("pipeline.sql") &&
      !files.has("pipeline.py") &&
      !request.known.includes(`${request.namespace}.${layer}.${name}`),
  )
  const issues = [
    ...layout.issues,
    ...codeless.map(({ folder }) =>
      issueAt(`${folder}pipeline.sql`, {
        code: "file.missing",
        message: "The pipeline has files but no code. Write pipeline.sql.",
      }),
    ),
    ...layout.pipelines.flatMap(settingIssues),
    ...referenceIssues(request, layout),
    ...(yield* templateIssues(request.namespace, layout)),
  ]
  // Some mistakes are seen both in the text of a template and when it is rendered.
  const once = new Map(issues.map((issue) => [`${issue.path}:${issue.line}:${issue.column}:${issue.code}`, issue]))
  return [...once.values()].sort(byPlace)
})
