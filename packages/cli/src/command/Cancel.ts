import { Effect } from "effect"
import { Argument, Command } from "effect/cli"
import { connect, connectionFlags, request } from "../option/Connection.ts"
import { jsonText, outputFlags } from "../output/Listing.ts"
import { Output } from "../output/Output.ts"

export const cancel = Command.make(
  "cancel",
  {
    runs: Argument.String("run").pipe(
      Argument.withDescription("Ids of the runs to stop"),
      Argument.variadic({ min: 1 }),
    ),
    json: outputFlags.json,
    ...connectionFlags,
  },
  Effect.fn(function* (choice) {
    const output = yield* Output
    const client = yield* connect(choice)
    const cancelled = yield* Effect.forEach(choice.runs, (runId) =>
      request((signal) => client.runs.cancel(runId, { signal })),
    )
    if (choice.json) return yield* output.data(jsonText({ runs: cancelled }))
    for (const run of cancelled) yield* output.data(`${run.run_id} ${run.status}`)
  }),
).pipe(
  Command.withDescription("Stop pending or running runs; nothing of them is published"),
  Command.withExamples([{ command: "rat cancel 0192f0c1-…", description: "Stop that run" }]),
)
