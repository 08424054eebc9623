import type { Answer } from "@rat/client"
import { Effect } from "effect"
import { Command } from "effect/cli"
import { connect, connectionFlags, request } from "../option/Connection.ts"
import { namespaceFlag } from "../option/NamespaceOption.ts"
import { resolveRunId, runArgument } from "../option/RunArgument.ts"
import { formatOf, type ListingColumn, outputFlags, printListing } from "../output/Listing.ts"
import { durationText, timeText } from "../output/Quantity.ts"
import { paintStatus } from "../output/Style.ts"

type Attempt = Answer<"runs", "attempts">["attempts"][number]

const columns: ReadonlyArray<ListingColumn<Attempt>> = [
  { title: "attempt", cell: (attempt) => String(attempt.attempt), isNumber: true },
  { title: "outcome", cell: (attempt) => attempt.outcome, paint: paintStatus },
  { title: "node", cell: (attempt) => attempt.node },
  { title: "started", cell: (attempt) => timeText(attempt.started_at) },
  {
    title: "duration",
    cell: (attempt) => (attempt.duration_ms === null ? "" : durationText(attempt.duration_ms)),
    isNumber: true,
  },
  { title: "phase", cell: (attempt) => attempt.phase },
  { title: "next not before", cell: (attempt) => timeText(attempt.retry_at) },
  { title: "error code", cell: (attempt) => attempt.error_code },
  { title: "error", cell: (attempt) => attempt.error },
]

export const attempts = Command.make(
  "attempts",
  { run: runArgument, ...outputFlags, namespace: namespaceFlag, ...connectionFlags },
  Effect.fn(function* (choice) {
    const client = yield* connect(choice)
    const runId = yield* resolveRunId(client, choice.run, choice.namespace)
    const answer = yield* request((signal) => client.runs.attempts(runId, { signal }))
    yield* printListing(formatOf(choice), columns, answer.attempts, { run_id: runId, ...answer })
  }),
).pipe(Command.withDescription("List the attempts of a run: node, times, how each ended, when the next one begins"))
