import { watch } from "node:fs"
import { join } from "node:path"
import { RatClient } from "@rat/client"
import { Effect, Option, Queue, type Scope } from "effect"
import { Argument, Command } from "effect/cli"
import { CliFailure } from "../failure/CliFailure.ts"
import { listenFlag, quietLog, serverAt, startLocalNode, urlOfListen } from "../node/LocalNode.ts"
import { apiUrlOf, request, urlFlag } from "../option/Connection.ts"
import { namespaceFlag } from "../option/NamespaceOption.ts"
import { Output } from "../output/Output.ts"
import { untilSignal } from "../process/Signals.ts"
import { pipelineGraph, withDownstream } from "../project/PipelineGraph.ts"
import { loadProject, type Project, pipelineOfPath } from "../project/Project.ts"
import { printIssues, pushProject } from "../project/PushProject.ts"
import { runInOrder } from "../run/RunInOrder.ts"
import { printReport } from "../run/RunReport.ts"
import { givenNamespace, pushedText } from "./Push.ts"

/** Editors write a file in several steps: what comes within this time is one save. */
const quietMs = 150

/** Signals once for each burst of changes to the project's own files. */
const changesOf = (folder: string): Effect.Effect<Queue.Dequeue<void>, never, Scope.Scope> =>
  Effect.gen(function* () {
    const changes = yield* Queue.sliding<void>(1)
    yield* Effect.acquireRelease(
      Effect.sync(() => {
        let timer: NodeJS.Timeout | undefined
        const watcher = watch(folder, { recursive: true }, (_, path) => {
          const segments = (path ?? "").split(/[/\\]/)
          const isOurs = path === "rat.yaml" || segments[0] === "pipelines"
          if (!isOurs || segments.some((segment) => segment.startsWith("."))) return
          clearTimeout(timer)
          timer = setTimeout(() => Queue.offerUnsafe(changes, undefined), quietMs)
        })
        return () => {
          clearTimeout(timer)
          watcher.close()
        }
      }),
      (close) => Effect.sync(close),
    )
    return changes
  })

/** Pipelines of the project whose table does not exist yet. */
const withoutTable = Effect.fnUntraced(function* (client: RatClient, project: Project) {
  const { tables } = yield* request((signal) =>
    client.tables.list({ namespace: project.namespace, limit: 200 }, { signal }),
  )
  const present = new Set(tables.map((table) => `${table.layer}.${table.name}`))
  return [...pipelineGraph(project).keys()].filter((pipeline) => !present.has(pipeline))
})

/** One round: push what is in the folder, run what changed and what reads it. */
const round = Effect.fnUntraced(function* (
  client: RatClient,
  start: string,
  namespace: string | undefined,
  isFirst: boolean,
) {
  const output = yield* Output
  const project = yield* loadProject(start, namespace)
  const outcome = yield* pushProject(client, project, { prune: true, dryRun: false })
  if (outcome._tag === "Refused") return yield* printIssues(project, outcome.issues)
  const { written, deleted } = outcome.answer
  const graph = pipelineGraph(project)
  const changed = [...written, ...deleted]
    .map(pipelineOfPath)
    .filter((pipeline): pipeline is string => pipeline !== undefined && graph.has(pipeline))
  const missing = isFirst ? yield* withoutTable(client, project) : []
  const chosen = withDownstream(graph, [...changed, ...missing])
  if (chosen.size === 0) return yield* output.note(isFirst ? "Everything is up to date." : "Nothing to run.")
  yield* output.note(output.noteStyle.dim(`${new Date().toTimeString().slice(0, 8)}  ${pushedText(outcome.answer)}`))
  yield* runInOrder(client, graph, chosen, {
    namespace: project.namespace,
    trigger: "dev",
    onStep: (step) =>
      step._tag === "Ran"
        ? Effect.gen(function* () {
            yield* printReport(step.ended)
            const { error } = step.ended.run
            if (error !== null) yield* output.alert(output.noteStyle.red(error))
          }).pipe(Effect.provideService(Output, output))
        : output.data(`${output.dataStyle.bold(step.pipeline)}  skipped: ${step.because} did not succeed`),
  })
})

export const dev = Command.make(
  "dev",
  {
    folder: Argument.String("folder").pipe(
      Argument.withDefault("."),
      Argument.withDescription("Folder of the project, or one inside it"),
    ),
    listen: listenFlag,
    namespace: namespaceFlag,
    url: urlFlag,
  },
  Effect.fn(function* (choice) {
    const output = yield* Output
    const namespace = yield* givenNamespace(choice.namespace)
    const { folder } = yield* loadProject(choice.folder, namespace)
    yield* Effect.scoped(
      Effect.gen(function* () {
        const isNamed = Option.isSome(choice.url) || process.env.RAT_URL !== undefined
        let url = isNamed ? yield* apiUrlOf(choice.url) : urlOfListen(choice.listen)
        if ((yield* serverAt(url)) !== undefined) yield* output.note(`Using the RAT server at ${url}.`)
        else if (!isNamed) {
          const data = process.env.RAT_DATA ?? join(folder, ".rat")
          url = (yield* startLocalNode({ data: Option.some(data), listen: choice.listen, logLevel: quietLog() })).url
          yield* output.note(`Started RAT at ${url}; its data is in ${data}.`)
        }
        const client = new RatClient({ apiUrl: url })
        const changes = yield* changesOf(folder)
        // What goes wrong in one round is told; the next save is another chance.
        const attempt = (isFirst: boolean) =>
          round(client, folder, namespace, isFirst).pipe(
            Effect.catchIf(
              (error) => error instanceof CliFailure,
              (failure) => output.alert(output.noteStyle.red(failure.message)),
            ),
            Effect.andThen(output.note(output.noteStyle.dim(`Watching ${folder} (Ctrl-C stops)`))),
          )
        const rounds = attempt(true).pipe(
          Effect.andThen(Effect.forever(Effect.andThen(Queue.take(changes), attempt(false)))),
        )
        yield* Effect.raceFirst(rounds, untilSignal)
      }),
    )
    yield* output.note("Stopped.")
  }),
).pipe(
  Command.withDescription(
    "Work on a project: start a server for it (or use the one that runs), push it, run it, and on every save push again and run what changed and what reads that.",
  ),
  Command.withShortDescription("Run a project again on every save"),
  Command.withExamples([{ command: "rat dev", description: "In the folder of a project" }]),
)
