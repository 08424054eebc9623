import type { RatClient } from "@rat/client"
import { Effect } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { CliFailure } from "../failure/CliFailure.ts"
import { ExitCode } from "../failure/ExitCode.ts"
import { connect, connectionFlags, request } from "../option/Connection.ts"
import { jsonText, outputFlags } from "../output/Listing.ts"
import { Output } from "../output/Output.ts"
import { followToEnd, logLine } from "../run/FollowRun.ts"
import { printReport } from "../run/RunReport.ts"

/** A command that makes a run of an ended one and follows it. */
const repeat = (
  name: "retry" | "resume",
  description: string,
  call: (client: RatClient, runId: string, signal: AbortSignal) => Promise<{ readonly run_id: string }>,
) =>
  Command.make(
    name,
    {
      run: Argument.String("run").pipe(Argument.withDescription("Id of the run that has ended")),
      detach: Flag.Boolean("detach").pipe(
        Flag.withAlias("d"),
        Flag.withoutNegation,
        Flag.withDefault(false),
        Flag.withDescription("Submit only: print the new run's id and do not wait"),
      ),
      json: outputFlags.json,
      ...connectionFlags,
    },
    Effect.fn(function* (choice) {
      const output = yield* Output
      const client = yield* connect(choice)
      const { run_id } = yield* request((signal) => call(client, choice.run, signal))
      if (choice.detach) {
        return yield* output.data(choice.json ? jsonText({ run_id, retry_of: choice.run }) : run_id)
      }
      yield* output.note(output.noteStyle.dim(`run ${run_id}`))
      const ended = yield* followToEnd(client, run_id, {
        onLog: (entry) => {
          Effect.runFork(output.note(logLine(entry, output.noteStyle)))
        },
      })
      if (choice.json) yield* output.data(jsonText({ run: ended.run, quality: ended.quality }))
      else yield* printReport(ended)
      if (ended.run.status !== "success") {
        return yield* new CliFailure({
          message: `The run ended as ${ended.run.status}${ended.run.error === null ? "." : `: ${ended.run.error}`}`,
          next: `See its log with \`rat logs ${run_id}\`.`,
          exitCode: ExitCode.failed,
        })
      }
    }),
  ).pipe(Command.withDescription(description))

export const retry = repeat(
  "retry",
  "Run an ended run again, from the beginning, with its code, inputs, parameters and logical time",
  (client, runId, signal) => client.runs.retry(runId, { signal }),
)

export const resume = repeat(
  "resume",
  "Go on with a failed or cancelled run where its last attempt stopped",
  (client, runId, signal) => client.runs.resume(runId, { signal }),
)
