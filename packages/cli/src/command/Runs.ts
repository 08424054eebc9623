import type { Run } from "@rat/client"
import { WireRunStatus } from "@rat/domain"
import { Effect, Option } from "effect"
import { Command, Flag } from "effect/cli"
import { connect, connectionFlags, request } from "../option/Connection.ts"
import { limitFlag } from "../option/Limit.ts"
import { namespaceFlag, namespaceOf } from "../option/NamespaceOption.ts"
import { parseAddress } from "../option/PipelineArgument.ts"
import { resolveRunId, runArgument } from "../option/RunArgument.ts"
import { formatOf, jsonText, type ListingColumn, outputFlags, printListing } from "../output/Listing.ts"
import { Output } from "../output/Output.ts"
import { countText, durationText, timeText } from "../output/Quantity.ts"
import { paintStatus } from "../output/Style.ts"
import { reportText, runTitle } from "../run/RunReport.ts"
import { attempts } from "./Attempts.ts"
import { logs } from "./Logs.ts"
import { resume, retry } from "./Repeat.ts"

const columns: ReadonlyArray<ListingColumn<Run>> = [
  { title: "run", cell: (run) => run.id },
  { title: "pipeline", cell: (run) => runTitle({ ...run }) },
  { title: "status", cell: (run) => run.status, paint: paintStatus },
  { title: "created", cell: (run) => timeText(run.created_at) },
  { title: "duration", cell: (run) => (run.duration_ms === null ? "" : durationText(run.duration_ms)), isNumber: true },
  { title: "rows", cell: (run) => (run.rows_written === null ? "" : countText(run.rows_written)), isNumber: true },
  { title: "trigger", cell: (run) => run.trigger },
  { title: "error", cell: (run) => run.error },
]

const listFlags = {
  status: Flag.Literals("status", WireRunStatus.literals).pipe(
    Flag.optional,
    Flag.withDescription("Only runs with this status"),
  ),
  pipeline: Flag.String("pipeline").pipe(Flag.optional, Flag.withDescription("Only runs of layer.name")),
  limit: limitFlag,
  ...outputFlags,
  namespace: namespaceFlag,
  ...connectionFlags,
}

type ListChoice = Command.Command.Config.Infer<typeof listFlags>

const printRuns = Effect.fnUntraced(function* (choice: ListChoice) {
  const namespace = yield* namespaceOf(choice.namespace)
  const address = Option.isNone(choice.pipeline) ? undefined : yield* parseAddress(choice.pipeline.value, namespace)
  const client = yield* connect(choice)
  const { runs, total } = yield* request((signal) =>
    client.runs.list(
      {
        namespace: address?.namespace ?? namespace,
        layer: address?.layer,
        pipeline: address?.name,
        status: Option.getOrUndefined(choice.status),
        limit: choice.limit,
      },
      { signal },
    ),
  )
  const format = formatOf(choice)
  yield* printListing(format, columns, runs, { runs, total })
  if (format === "table") {
    const output = yield* Output
    if (runs.length === 0)
      yield* output.note(`No runs in namespace ${namespace}. Start one with \`rat run LAYER.NAME\`.`)
    else if (runs.length < total) yield* output.note(`${runs.length} of ${total} runs; --limit shows more.`)
  }
})

const list = Command.make("list", listFlags, printRuns).pipe(
  Command.withAlias("ls"),
  Command.withDescription("List runs, newest first"),
)

const show = Command.make(
  "show",
  {
    run: runArgument,
    json: outputFlags.json,
    namespace: namespaceFlag,
    ...connectionFlags,
  },
  Effect.fn(function* (choice) {
    const output = yield* Output
    const client = yield* connect(choice)
    const runId = yield* resolveRunId(client, choice.run, choice.namespace)
    const run = yield* request((signal) => client.runs.get(runId, { signal }))
    const { results: quality } = yield* request((signal) => client.runs.quality(runId, { signal }))
    if (choice.json) return yield* output.data(jsonText({ run, quality }))
    const facts: ReadonlyArray<readonly [string, string | null]> = [
      ["run", run.id],
      ["namespace", run.namespace],
      ["trigger", run.trigger],
      ["code", run.code_version],
      ["created", timeText(run.created_at)],
      ["started", timeText(run.started_at)],
      ["finished", timeText(run.finished_at)],
      ["repeats", run.retry_of],
      ["logical time", timeText(run.logical_time)],
      ["parameters", Object.keys(run.parameters).length === 0 ? null : JSON.stringify(run.parameters)],
      ["attempt", String(run.attempt)],
      ["next attempt", timeText(run.retry_at)],
      ["queue position", run.queue_position === null ? null : String(run.queue_position)],
      ["phase", run.phase],
      ["phases", run.phases.map((phase) => `${phase.name} ${durationText(phase.duration_ms)}`).join(", ")],
      ["snapshot", run.snapshot_id],
      ["branch", run.branch],
      ["branch until", timeText(run.branch_expires_at)],
      ["error", run.error],
      ["error code", run.error_code],
    ]
    yield* output.data(reportText({ run, quality }, output.dataStyle))
    for (const [title, value] of facts) {
      if (value !== null && value !== "") yield* output.data(`  ${title.padEnd(15)} ${value}`)
    }
  }),
).pipe(Command.withDescription("Show one run: phases, quality results, error, branch"))

export const runs = Command.make("runs", listFlags, printRuns).pipe(
  Command.withSubcommands([list, show, attempts, logs, retry, resume]),
  Command.withDescription("List runs, newest first, look at one and its attempts, or repeat it"),
  Command.withExamples([
    { command: "rat runs", description: "The newest runs" },
    { command: "rat runs --status failed -o json", description: "Failed runs as JSON" },
    { command: "rat runs show", description: "Everything about the newest run" },
    { command: "rat runs resume 0192f0c1-…", description: "Go on with a failed run where it stopped" },
  ]),
)
