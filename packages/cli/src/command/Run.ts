import { Effect, Option } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { CliFailure } from "../failure/CliFailure.ts"
import { ExitCode } from "../failure/ExitCode.ts"
import { connect, urlFlag } from "../option/Connection.ts"
import { namespaceFlag, namespaceOf } from "../option/NamespaceOption.ts"
import { addressText, type PipelineAddress, parseAddress } from "../option/PipelineArgument.ts"
import { givenOf, parameterFlags } from "../option/RunParameters.ts"
import { timeoutFlag } from "../option/Timeout.ts"
import { jsonText } from "../output/Listing.ts"
import { Output } from "../output/Output.ts"
import { durationText } from "../output/Quantity.ts"
import type { PipelineGraph } from "../project/PipelineGraph.ts"
import { pipelineGraph } from "../project/PipelineGraph.ts"
import { loadProject } from "../project/Project.ts"
import { findProjectFolder } from "../project/ProjectSettings.ts"
import { logLine, submitRun } from "../run/FollowRun.ts"
import { isGood, runInOrder, type Step } from "../run/RunInOrder.ts"
import { printReport } from "../run/RunReport.ts"

/** Dependencies between the pipelines that were named, when the project that they come from is at hand. */
const graphOf = Effect.fnUntraced(function* (addresses: ReadonlyArray<PipelineAddress>, namespace: string) {
  const names = addresses.map((address) => `${address.layer}.${address.name}`)
  const folder = findProjectFolder(process.cwd())
  const known: PipelineGraph =
    folder === undefined || names.length < 2 ? new Map() : pipelineGraph(yield* loadProject(folder, namespace))
  return new Map(names.map((name) => [name, known.get(name) ?? new Set<string>()]))
})

/** The end of a command of which not every run succeeded; names what to look at. */
const failureOfSteps = (steps: ReadonlyArray<Step>): CliFailure | undefined => {
  const bad = steps.filter((step) => !isGood(step))
  const first = bad.find((step) => step._tag === "Ran")
  if (first === undefined) return undefined
  const { run } = first.ended
  const skipped = bad.filter((step) => step._tag === "Skipped").map((step) => step.pipeline)
  const also = skipped.length === 0 ? "" : ` Not run because of it: ${skipped.join(", ")}.`
  const branch = run.branch === null ? "" : `; its data: \`rat query --branch ${run.branch} "select …"\``
  return new CliFailure({
    message: `${first.pipeline} ended as ${run.status}${run.error === null ? "." : `: ${run.error}`}${also}`,
    next: `See its log with \`rat logs ${run.id}\`${branch}.`,
    exitCode: ExitCode.failed,
  })
}

export const run = Command.make(
  "run",
  {
    pipelines: Argument.String("pipeline").pipe(
      Argument.withDescription("layer.name or namespace.layer.name"),
      Argument.variadic(),
    ),
    all: Flag.Boolean("all").pipe(
      Flag.withoutNegation,
      Flag.withDefault(false),
      Flag.withDescription("Every pipeline of the project in this folder, each behind those it reads"),
    ),
    detach: Flag.Boolean("detach").pipe(
      Flag.withAlias("d"),
      Flag.withoutNegation,
      Flag.withDefault(false),
      Flag.withDescription("Submit only: print the run ids and do not wait"),
    ),
    json: Flag.Boolean("json").pipe(
      Flag.withoutNegation,
      Flag.withDefault(false),
      Flag.withDescription("Print the runs as JSON (logs stay on stderr)"),
    ),
    ...parameterFlags,
    namespace: namespaceFlag,
    url: urlFlag,
    timeout: timeoutFlag("Longest wait for the runs' ends; they go on behind it"),
  },
  Effect.fn(function* (choice) {
    const output = yield* Output
    const namespace = yield* namespaceOf(choice.namespace)
    if (choice.all === choice.pipelines.length > 0) {
      return yield* new CliFailure({
        message: choice.all ? "Name pipelines or say --all, not both." : "Which pipeline?",
        next: "Write `rat run silver.orders`, or `rat run --all` in the folder of a project.",
        exitCode: ExitCode.usage,
      })
    }
    const given = yield* givenOf(choice)
    const client = yield* connect({ url: choice.url, timeout: Option.none() })

    let graph: PipelineGraph
    let target = namespace
    if (choice.all) {
      const project = yield* loadProject(".", Option.isSome(choice.namespace) ? namespace : undefined)
      target = project.namespace
      graph = pipelineGraph(project)
    } else {
      const addresses = yield* Effect.forEach(choice.pipelines, (text) => parseAddress(text, namespace))
      const namespaces = new Set(addresses.map((address) => address.namespace))
      if (namespaces.size > 1) {
        return yield* new CliFailure({
          message: `These pipelines are in several namespaces: ${[...namespaces].join(", ")}.`,
          next: "Run those of each namespace with a command of their own.",
          exitCode: ExitCode.usage,
        })
      }
      target = addresses[0]!.namespace
      graph = yield* graphOf(addresses, target)
    }

    if (choice.detach) {
      const submitted: Array<{ pipeline: string; run_id: string }> = []
      for (const pipeline of graph.keys()) {
        const address = yield* parseAddress(pipeline, target)
        const run_id = yield* submitRun(client, address, "manual", given)
        submitted.push({ pipeline: addressText(address), run_id })
      }
      if (choice.json) return yield* output.data(jsonText({ submitted }))
      for (const { run_id } of submitted) yield* output.data(run_id)
      return yield* output.note("Follow a run with `rat logs -f RUN`.")
    }

    const open = new Map<string, string>()
    const isOne = graph.size === 1
    const stillRunning = Effect.suspend(() =>
      Effect.forEach(open.values(), (runId) =>
        output.alert(`Run ${runId} goes on. Follow it: rat logs -f ${runId}   Stop it: rat cancel ${runId}`),
      ),
    )
    const following = runInOrder(client, graph, graph.keys(), {
      namespace: target,
      trigger: "manual",
      given,
      onStart: (pipeline, runId) => {
        open.set(pipeline.slice(target.length + 1), runId)
        return output.note(output.noteStyle.dim(`${pipeline}  run ${runId}`))
      },
      listener: (pipeline) => ({
        onLog: (entry) => {
          const who = isOne ? "" : `${output.noteStyle.dim(pipeline)} `
          Effect.runFork(output.note(`${who}${logLine(entry, output.noteStyle)}`))
        },
      }),
      onStep: (step) => {
        open.delete(step.pipeline)
        if (choice.json) return Effect.void
        return step._tag === "Ran"
          ? Effect.provideService(printReport(step.ended), Output, output)
          : output.data(
              `${output.dataStyle.bold(step.pipeline)}  ${output.dataStyle.yellow("skipped")}: ${step.because} did not succeed`,
            )
      },
    }).pipe(Effect.onInterrupt(() => stillRunning))

    const steps = Option.isNone(choice.timeout)
      ? yield* following
      : yield* Effect.timeoutOrElse(following, {
          duration: choice.timeout.value,
          orElse: () =>
            new CliFailure({
              message: `No end within ${durationText(Option.getOrThrow(choice.timeout))}.`,
              next: "Wait longer with --timeout, or see `rat runs`.",
              exitCode: ExitCode.unreachable,
            }),
        })
    if (choice.json) {
      const runs = steps.flatMap((step) =>
        step._tag === "Ran" ? [{ ...step.ended.run, quality: step.ended.quality }] : [],
      )
      const skipped = steps.flatMap((step) => (step._tag === "Skipped" ? [step.pipeline] : []))
      yield* output.data(jsonText({ runs, skipped }))
    }
    const failure = failureOfSteps(steps)
    if (failure !== undefined) return yield* failure
  }),
).pipe(
  Command.withDescription(
    "Run pipelines and follow their logs until they end; fails when a run fails. Ctrl-C stops following: the run itself goes on, and how to stop it is printed.",
  ),
  Command.withShortDescription("Run pipelines and follow them to their end"),
  Command.withExamples([
    { command: "rat run silver.orders", description: "Run one pipeline and follow its log" },
    { command: "rat run --all", description: "Run the project in this folder in order of its ref()s" },
    { command: "rat run silver.orders --detach", description: "Submit it and print the run's id" },
  ]),
)
