import { defaultNamespace, namePattern } from "@rat/domain"
import { Effect, Option } from "effect"
import { Flag } from "effect/cli"
import { CliFailure } from "../failure/CliFailure.ts"
import { ExitCode } from "../failure/ExitCode.ts"
import { findProjectFolder, readProjectSettings } from "../project/ProjectSettings.ts"

export const namespaceFlag = Flag.String("namespace").pipe(
  Flag.withAlias("n"),
  Flag.withMetavar("NAME"),
  Flag.optional,
  Flag.withDescription("Namespace (RAT_NAMESPACE; else that of rat.yaml in this folder or above; else default)"),
)

/** Flag, then environment, then the project that the person stands in, then `default`. */
export const namespaceOf = Effect.fnUntraced(function* (choice: Option.Option<string>) {
  const given = Option.getOrUndefined(choice) ?? process.env.RAT_NAMESPACE
  if (given !== undefined) {
    if (namePattern.test(given)) return given
    return yield* new CliFailure({
      message: `"${given}" is not a namespace: names have lower-case letters, digits, '_' and '-', and start with a letter.`,
      exitCode: ExitCode.usage,
    })
  }
  const folder = findProjectFolder(process.cwd())
  if (folder === undefined) return defaultNamespace as string
  // A broken rat.yaml is push's business; reading commands go on with what can be read.
  return readProjectSettings(folder).settings?.namespace ?? (defaultNamespace as string)
})
