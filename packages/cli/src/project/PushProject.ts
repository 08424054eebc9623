import type { Answer, RatClient } from "@rat/client"
import { ValidationError } from "@rat/client"
import { Effect, Option, Schema } from "effect"
import { CliFailure, failureOf } from "../failure/CliFailure.ts"
import { Output } from "../output/Output.ts"
import { type Issue, IssueList, issueText } from "./Issue.ts"
import type { Project } from "./Project.ts"

export type Pushed = Answer<"projects", "push">

/** What came of a push: what it did, or everything that is wrong with the files. */
export type PushOutcome =
  | { readonly _tag: "Pushed"; readonly answer: Pushed }
  | { readonly _tag: "Refused"; readonly issues: ReadonlyArray<Issue> }

const issuesOf = (error: unknown): ReadonlyArray<Issue> | undefined =>
  error instanceof ValidationError
    ? Option.getOrUndefined(Schema.decodeUnknownOption(IssueList)(error.details))?.issues
    : undefined

/** Brings the project to the server, all files or none. */
export const pushProject = (
  client: RatClient,
  project: Project,
  options: { readonly prune: boolean; readonly dryRun: boolean },
): Effect.Effect<PushOutcome, CliFailure> => {
  if (project.issues.length > 0) return Effect.succeed({ _tag: "Refused", issues: project.issues })
  return Effect.tryPromise({
    try: (signal) =>
      client.projects.push(
        project.namespace,
        {
          files: project.files,
          landing_zones: project.settings.landingZones,
          prune: options.prune,
          dry_run: options.dryRun,
        },
        { signal },
      ),
    catch: (error) => issuesOf(error) ?? failureOf(error),
  }).pipe(
    Effect.map((answer): PushOutcome => ({ _tag: "Pushed", answer })),
    Effect.catch((error) =>
      error instanceof CliFailure
        ? Effect.fail(error)
        : Effect.succeed<PushOutcome>({ _tag: "Refused", issues: error }),
    ),
  )
}

/** All problems, each with its line, on stderr. */
export const printIssues = Effect.fnUntraced(function* (project: Project, issues: ReadonlyArray<Issue>) {
  const output = yield* Output
  const contents = new Map(project.files.map((file) => [file.path, file.content]))
  for (const issue of issues) yield* output.alert(issueText(issue, (path) => contents.get(path)))
})
