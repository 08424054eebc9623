import type { RatClient } from "@rat/client"
import { Effect, type Option, Option as Options } from "effect"
import { Argument } from "effect/cli"
import { CliFailure } from "../failure/CliFailure.ts"
import { ExitCode } from "../failure/ExitCode.ts"
import { request } from "./Connection.ts"
import { namespaceOf } from "./NamespaceOption.ts"

export const runArgument = Argument.String("run").pipe(
  Argument.optional,
  Argument.withDescription("Id of the run; without it, the newest run of the namespace"),
)

export const resolveRunId = Effect.fnUntraced(function* (
  client: RatClient,
  run: Option.Option<string>,
  namespaceChoice: Option.Option<string>,
) {
  if (Options.isSome(run)) return run.value
  const namespace = yield* namespaceOf(namespaceChoice)
  const { runs } = yield* request((signal) => client.runs.list({ namespace, limit: 1 }, { signal }))
  if (runs[0] !== undefined) return runs[0].id
  return yield* new CliFailure({
    message: `There are no runs in namespace ${namespace} yet.`,
    next: "Start one with `rat run LAYER.NAME`.",
    exitCode: ExitCode.notFound,
  })
})
