import type { Answer } from "@rat/client"
import { MaintenanceStatus } from "@rat/domain"
import { Effect, Option } from "effect"
import { Command, Flag } from "effect/cli"
import { connect, connectionFlags, request } from "../option/Connection.ts"
import { limitFlag } from "../option/Limit.ts"
import { namespaceFlag, namespaceOf } from "../option/NamespaceOption.ts"
import { addressText, parseAddress } from "../option/PipelineArgument.ts"
import { formatOf, type ListingColumn, outputFlags, printListing } from "../output/Listing.ts"
import { Output } from "../output/Output.ts"
import { bytesText, countText, timeText } from "../output/Quantity.ts"
import { paintStatus } from "../output/Style.ts"

type MaintenanceRun = Answer<"maintenance", "list">["runs"][number]

const change = (before: number | null, after: number | null, show: (count: number) => string): string =>
  before === null || after === null ? "" : `${show(before)} → ${show(after)}`

const columns: ReadonlyArray<ListingColumn<MaintenanceRun>> = [
  { title: "run", cell: (run) => run.id },
  { title: "table", cell: (run) => run.table ?? "orphans" },
  { title: "status", cell: (run) => run.status, paint: paintStatus },
  { title: "trigger", cell: (run) => run.trigger },
  { title: "started", cell: (run) => timeText(run.started_at) },
  { title: "files", cell: (run) => change(run.files_before, run.files_after, countText) },
  { title: "bytes", cell: (run) => change(run.bytes_before, run.bytes_after, bytesText) },
  { title: "error", cell: (run) => run.error },
]

const listFlags = {
  table: Flag.String("table").pipe(Flag.optional, Flag.withDescription("Only runs of layer.name")),
  status: Flag.Literals("status", MaintenanceStatus.literals).pipe(
    Flag.optional,
    Flag.withDescription("Only runs with this status"),
  ),
  limit: limitFlag,
  ...outputFlags,
  namespace: namespaceFlag,
  ...connectionFlags,
}

const printRuns = Effect.fnUntraced(function* (choice: Command.Command.Config.Infer<typeof listFlags>) {
  const table = Option.isNone(choice.table)
    ? undefined
    : addressText(yield* parseAddress(choice.table.value, yield* namespaceOf(choice.namespace)))
  const client = yield* connect(choice)
  const { runs, total } = yield* request((signal) =>
    client.maintenance.list({ table, status: Option.getOrUndefined(choice.status), limit: choice.limit }, { signal }),
  )
  const format = formatOf(choice)
  yield* printListing(format, columns, runs, { runs, total })
  if (format === "table") {
    const output = yield* Output
    if (runs.length === 0)
      yield* output.note("Nothing was maintained yet. `rat maintain --dry-run` says what there is to do.")
    else if (runs.length < total) yield* output.note(`${runs.length} of ${total} runs; --limit shows more.`)
  }
})

const list = Command.make("list", listFlags, printRuns).pipe(
  Command.withAlias("ls"),
  Command.withDescription("List runs of maintenance, newest first"),
)

export const maintenance = Command.make("maintenance", listFlags, printRuns).pipe(
  Command.withSubcommands([list]),
  Command.withDescription("List runs of maintenance, newest first"),
  Command.withExamples([{ command: "rat maintenance ls --table gold.revenue", description: "History of one table" }]),
)
