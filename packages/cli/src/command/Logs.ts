import { Effect, Option } from "effect"
import { Command, Flag } from "effect/cli"
import { CliFailure, failureOf } from "../failure/CliFailure.ts"
import { ExitCode } from "../failure/ExitCode.ts"
import { connect, connectionFlags, request } from "../option/Connection.ts"
import { namespaceFlag } from "../option/NamespaceOption.ts"
import { resolveRunId, runArgument } from "../option/RunArgument.ts"
import { jsonText, jsonVersion } from "../output/Listing.ts"
import { Output } from "../output/Output.ts"
import { logLine } from "../run/FollowRun.ts"

export const logs = Command.make(
  "logs",
  {
    run: runArgument,
    follow: Flag.Boolean("follow").pipe(
      Flag.withAlias("f"),
      Flag.withoutNegation,
      Flag.withDefault(false),
      Flag.withDescription("Print lines as they come, until the run has ended"),
    ),
    attempt: Flag.Int("attempt").pipe(Flag.optional, Flag.withDescription("Only the lines of this attempt, from 1")),
    json: Flag.Boolean("json").pipe(
      Flag.withoutNegation,
      Flag.withDefault(false),
      Flag.withDescription("Print JSON; with --follow one object a line"),
    ),
    namespace: namespaceFlag,
    ...connectionFlags,
  },
  Effect.fn(function* (choice) {
    const output = yield* Output
    if (choice.follow && Option.isSome(choice.attempt)) {
      return yield* new CliFailure({
        message: "A run is followed through all of its attempts: --follow and --attempt do not go together.",
        next: "Leave out one of them.",
        exitCode: ExitCode.usage,
      })
    }
    const client = yield* connect(choice)
    const runId = yield* resolveRunId(client, choice.run, choice.namespace)
    if (!choice.follow) {
      const attempt = Option.getOrUndefined(choice.attempt)
      const answer = yield* request((signal) => client.runs.logs(runId, { signal, attempt }))
      if (choice.json) return yield* output.data(jsonText({ run_id: runId, ...answer }))
      return yield* Effect.forEach(answer.logs, (entry) => output.data(logLine(entry, output.dataStyle)), {
        discard: true,
      })
    }
    yield* Effect.tryPromise({
      try: async (signal) => {
        for await (const update of client.runs.follow(runId, { signal })) {
          if (choice.json) {
            const { type: event, ...rest } = update
            await Effect.runPromise(output.data(JSON.stringify({ version: jsonVersion, event, ...rest })))
          } else if (update.type === "log") {
            await Effect.runPromise(output.data(logLine(update.entry, output.dataStyle)))
          } else {
            await Effect.runPromise(output.note(output.noteStyle.dim(`Run ${runId} is ${update.status}.`)))
          }
        }
      },
      catch: failureOf,
    })
  }),
).pipe(
  Command.withDescription("Print the log of a run"),
  Command.withExamples([
    { command: "rat logs -f", description: "Follow the newest run" },
    { command: "rat logs 0192f0c1-…", description: "Log of that run" },
  ]),
)
