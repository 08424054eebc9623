import { statSync } from "node:fs"
import { basename } from "node:path"
import { RatClient } from "@rat/client"
import { Effect } from "effect"
import { Command, Flag } from "effect/cli"
import { flightsFiles, flightsProject, flightsQueries } from "../demo/FlightsData.ts"
import { CliFailure } from "../failure/CliFailure.ts"
import { ExitCode } from "../failure/ExitCode.ts"
import { dataFlag, listenFlag, quietLog, serverAt, startLocalNode, urlOfListen } from "../node/LocalNode.ts"
import { request } from "../option/Connection.ts"
import { tableText } from "../output/Listing.ts"
import { Output } from "../output/Output.ts"
import { bytesText, durationText } from "../output/Quantity.ts"
import { pipelineGraph } from "../project/PipelineGraph.ts"
import { loadProject } from "../project/Project.ts"
import { printIssues, pushProject } from "../project/PushProject.ts"
import { isGood, runInOrder } from "../run/RunInOrder.ts"
import { printReport } from "../run/RunReport.ts"
import { pushedText, refusedFailure } from "./Push.ts"
import { printPlace, serveUntilStopped, urlHint } from "./Up.ts"
import { ensureZone, uploadFile } from "./Upload.ts"

const uploadTimeoutMs = 5 * 60_000

/** Sends the data unless an earlier demo did: stored names end with the file's own. */
const loadData = Effect.fnUntraced(function* (client: RatClient, namespace: string) {
  const output = yield* Output
  for (const { zone, path } of flightsFiles()) {
    const size = statSync(path).size
    yield* ensureZone(client, namespace, zone)
    const { files } = yield* request((signal) => client.landing.files(namespace, zone, { limit: 200 }, { signal }))
    const isThere = files.some((file) => file.filename.endsWith(basename(path)) && file.size_bytes === size)
    if (isThere) yield* output.note(`  ${namespace}/${zone}: ${basename(path)} is there already`)
    else {
      yield* uploadFile(client, namespace, zone, path, uploadTimeoutMs)
      yield* output.note(`  ${namespace}/${zone}: ${basename(path)}, ${bytesText(size)}`)
    }
  }
})

const show = Effect.fnUntraced(function* (client: RatClient, namespace: string) {
  const output = yield* Output
  for (const { title, sql } of flightsQueries) {
    const result = yield* request((signal) => client.query.arrays({ sql, namespace }, { signal }))
    const columns = result.columns.map((column, index) => ({
      title: column.name,
      cell: (row: (typeof result.rows)[number]) => String(row[index] ?? ""),
      isNumber: /INT|DOUBLE|DECIMAL/.test(column.type),
    }))
    yield* output.data(`\n${output.dataStyle.bold(title)}`)
    yield* output.data(tableText(columns, result.rows, output.dataStyle, output.dataColumns))
  }
})

/** Loads, pushes, runs and shows; fails when a run does. */
const play = Effect.fnUntraced(function* (url: string) {
  const output = yield* Output
  const client = new RatClient({ apiUrl: url })
  const project = yield* loadProject(flightsProject)
  const { namespace } = project
  const step = (text: string) => output.note(output.noteStyle.bold(text))

  yield* step("Loading data into landing zones")
  yield* loadData(client, namespace)

  yield* step("Pushing examples/flights")
  const outcome = yield* pushProject(client, project, { prune: true, dryRun: false })
  if (outcome._tag === "Refused") {
    yield* printIssues(project, outcome.issues)
    return yield* refusedFailure(project, outcome.issues.length)
  }
  yield* output.note(`  ${pushedText(outcome.answer)}`)

  yield* step("Running the pipelines, each on a branch of its own, tested there, then published")
  const graph = pipelineGraph(project)
  const steps = yield* runInOrder(client, graph, graph.keys(), {
    namespace,
    trigger: "demo",
    onStep: (done) =>
      done._tag === "Ran"
        ? Effect.provideService(printReport(done.ended), Output, output)
        : output.data(`${done.pipeline}  skipped: ${done.because} did not succeed`),
  })
  const bad = steps.find((done) => done._tag === "Ran" && !isGood(done))
  if (bad?._tag === "Ran") {
    return yield* new CliFailure({
      message: `${bad.pipeline} ended as ${bad.ended.run.status}: ${bad.ended.run.error ?? "no reason was given"}`,
      next: `See its log with \`rat logs ${bad.ended.run.id}${urlHint(url)}\` while a server runs.`,
      exitCode: ExitCode.failed,
    })
  }
  yield* show(client, namespace)
})

const printNext = Effect.fnUntraced(function* (url: string) {
  const output = yield* Output
  const hint = urlHint(url)
  yield* output.data(`\n${output.dataStyle.bold("Try next")}, in another terminal:`)
  yield* output.data(`  ./rat query${hint} "select * from gold.worst_routes_by_month limit 10"`)
  yield* output.data(`  ./rat tables${hint}`)
  yield* output.data(`  ./rat runs${hint}`)
  yield* output.data(`  ./rat init my-project      a first pipeline of your own (examples/flights is the one to copy)`)
})

export const demo = Command.make(
  "demo",
  {
    data: dataFlag,
    listen: listenFlag,
    exit: Flag.Boolean("exit").pipe(
      Flag.withoutNegation,
      Flag.withDefault(false),
      Flag.withDescription("End after showing the results, instead of serving until Ctrl-C"),
    ),
  },
  Effect.fn(function* (choice) {
    const output = yield* Output
    const started = performance.now()
    const took = () => durationText(performance.now() - started)
    const found = urlOfListen(choice.listen)
    const version = yield* serverAt(found)
    if (version !== undefined) {
      yield* output.note(`Using the RAT server that runs at ${found} (version ${version}).`)
      yield* play(found)
      yield* output.data(`\nDone in ${took()}. The server at ${found} goes on.`)
      return yield* printNext(found)
    }
    yield* output.note("Starting RAT…")
    yield* Effect.scoped(
      Effect.gen(function* () {
        const node = yield* startLocalNode({ ...choice, logLevel: quietLog() })
        yield* output.note(`  ${node.url}, up after ${took()}`)
        yield* play(node.url)
        yield* output.data(`\nDone in ${took()}.`)
        if (choice.exit) {
          yield* output.data(
            `Everything is kept in ${node.dataFolder}; \`./rat up\` with the same --data serves it again.`,
          )
          return
        }
        yield* printPlace(node)
        yield* printNext(node.url)
        yield* serveUntilStopped
      }),
    )
    if (!choice.exit) yield* output.note("Stopped. `rat up` finds everything as it was.")
  }),
).pipe(
  Command.withDescription(
    "See it work: start the platform (or use the one that runs), load three million real flights, run the example project, show its results, and go on serving.",
  ),
  Command.withShortDescription("See it work on real data"),
  Command.withExamples([
    { command: "rat demo", description: "Start, load, run, show; Ctrl-C stops" },
    { command: "rat demo --exit", description: "The same, without serving afterwards" },
  ]),
)
