import { Effect, Option } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { CliFailure } from "../failure/CliFailure.ts"
import { ExitCode } from "../failure/ExitCode.ts"
import { connect, connectionFlags } from "../option/Connection.ts"
import { namespaceFlag, namespaceOf } from "../option/NamespaceOption.ts"
import { jsonText } from "../output/Listing.ts"
import { Output } from "../output/Output.ts"
import { countedText } from "../output/Quantity.ts"
import { loadProject, type Project } from "../project/Project.ts"
import { type Pushed, printIssues, pushProject } from "../project/PushProject.ts"

/** A namespace that was named wins over the project's own. */
export const givenNamespace = Effect.fnUntraced(function* (choice: Option.Option<string>) {
  return Option.isSome(choice) || process.env.RAT_NAMESPACE !== undefined ? yield* namespaceOf(choice) : undefined
})

/** What a push changed, in one line. */
export const pushedText = (pushed: Pushed): string => {
  const changes = [
    pushed.written.length > 0 ? `${countedText(pushed.written.length, "file")} written` : undefined,
    pushed.deleted.length > 0 ? `${countedText(pushed.deleted.length, "file")} deleted` : undefined,
    pushed.pipelines_created.length > 0 ? `new pipelines: ${pushed.pipelines_created.join(", ")}` : undefined,
    pushed.zones_created.length > 0 ? `new landing zones: ${pushed.zones_created.join(", ")}` : undefined,
  ].filter((change) => change !== undefined)
  return changes.length === 0 ? "nothing changed" : changes.join("; ")
}

/** The end of a push whose files have problems. */
export const refusedFailure = (project: Project, count: number): CliFailure =>
  new CliFailure({
    message: `${countedText(count, "problem")} in project "${project.settings.name || project.folder}". Nothing was pushed.`,
    next: "Mend the lines above and push again.",
    exitCode: ExitCode.failed,
  })

export const push = Command.make(
  "push",
  {
    folder: Argument.String("folder").pipe(
      Argument.withDefault("."),
      Argument.withDescription("Folder of the project, or one inside it"),
    ),
    prune: Flag.Boolean("prune").pipe(
      Flag.withDefault(true),
      Flag.withDescription("Delete files of these pipelines that are no longer in the folder (--no-prune keeps them)"),
    ),
    dryRun: Flag.Boolean("dry-run").pipe(
      Flag.withoutNegation,
      Flag.withDefault(false),
      Flag.withDescription("Check everything and say what would change; change nothing"),
    ),
    json: Flag.Boolean("json").pipe(
      Flag.withoutNegation,
      Flag.withDefault(false),
      Flag.withDescription("Print the outcome as JSON"),
    ),
    namespace: namespaceFlag,
    ...connectionFlags,
  },
  Effect.fn(function* (choice) {
    const output = yield* Output
    const project = yield* loadProject(choice.folder, yield* givenNamespace(choice.namespace))
    const client = yield* connect(choice)
    const outcome = yield* pushProject(client, project, { prune: choice.prune, dryRun: choice.dryRun })
    if (outcome._tag === "Refused") {
      if (choice.json) yield* output.data(jsonText({ pushed: null, issues: outcome.issues }))
      else yield* printIssues(project, outcome.issues)
      return yield* refusedFailure(project, outcome.issues.length)
    }
    if (choice.json) return yield* output.data(jsonText({ pushed: outcome.answer, issues: [] }))
    const verb = choice.dryRun ? "Would push" : "Pushed"
    yield* output.data(
      `${verb} "${project.settings.name}" to namespace ${project.namespace}: ${pushedText(outcome.answer)}`,
    )
    for (const path of outcome.answer.written) yield* output.note(`  written  ${path}`)
    for (const path of outcome.answer.deleted) yield* output.note(`  deleted  ${path}`)
  }),
).pipe(
  Command.withDescription(
    "Bring the project in this folder to the server: all of it, or nothing when a file has a problem.",
  ),
  Command.withShortDescription("Bring the project in this folder to the server"),
  Command.withExamples([
    { command: "rat push", description: "Push the project in this folder" },
    { command: "rat push --dry-run", description: "Check it only" },
  ]),
)
