import type { Answer } from "@rat/client"
import { Effect } from "effect"
import { Command } from "effect/cli"
import { connect, connectionFlags, request } from "../option/Connection.ts"
import { namespaceFlag, namespaceOf } from "../option/NamespaceOption.ts"
import { formatOf, type ListingColumn, outputFlags, printListing } from "../output/Listing.ts"
import { Output } from "../output/Output.ts"
import { durationText, timeText } from "../output/Quantity.ts"

type Waiting = Answer<"namespaces", "queue">["runs"][number]

const columns: ReadonlyArray<ListingColumn<Waiting>> = [
  { title: "position", cell: (run) => run.position, isNumber: true },
  { title: "run", cell: (run) => run.run_id },
  { title: "pipeline", cell: (run) => run.pipeline ?? "-" },
  { title: "priority", cell: (run) => run.priority, isNumber: true },
  { title: "key", cell: (run) => run.concurrency_key },
  { title: "created", cell: (run) => timeText(run.created_at) },
  { title: "not before", cell: (run) => timeText(run.eligible_at) },
]

export const queue = Command.make(
  "queue",
  { ...outputFlags, namespace: namespaceFlag, ...connectionFlags },
  Effect.fn(function* (choice) {
    const output = yield* Output
    const namespace = yield* namespaceOf(choice.namespace)
    const client = yield* connect(choice)
    const found = yield* request((signal) => client.namespaces.queue(namespace, { signal }))
    const format = formatOf(choice)
    if (format !== "table" || found.runs.length > 0) yield* printListing(format, columns, found.runs, found)
    if (format !== "table") return
    const oldest = found.oldest_pending_seconds
    const waited = oldest === null ? "" : `, the oldest for ${durationText(oldest * 1000)}`
    yield* output.note(
      `${found.pending} of at most ${found.max_pending} pending in namespace ${namespace}${waited}; ` +
        `${found.running} of at most ${found.max_running} running; ${found.started_last_minute} started within a minute; weight ${found.weight}.`,
    )
    if (found.pending > found.runs.length) yield* output.note(`The first ${found.runs.length} are shown.`)
  }),
).pipe(
  Command.withDescription(
    "Pending runs of a namespace in the order in which they would start, and how its queue moves",
  ),
  Command.withShortDescription("What waits to run, in order"),
  Command.withExamples([
    { command: "rat queue", description: "What waits in this project's namespace" },
    { command: "rat queue -n sales --json", description: "The same of another one, as JSON" },
  ]),
)
