import { Effect, Option } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { connect, connectionFlags, request } from "../option/Connection.ts"
import { jsonText, outputFlags } from "../output/Listing.ts"
import { Output } from "../output/Output.ts"
import { countedText } from "../output/Quantity.ts"

export const restore = Command.make(
  "restore",
  {
    commit: Argument.String("commit").pipe(Argument.withDescription("A commit of main (`rat branch log main`)")),
    only: Flag.String("only").pipe(
      Flag.withMetavar("NAMESPACE"),
      Flag.optional,
      Flag.withDescription("Restore this namespace and leave the others"),
    ),
    dryRun: Flag.Boolean("dry-run").pipe(Flag.withDescription("Say which tables would change")),
    json: outputFlags.json,
    ...connectionFlags,
  },
  Effect.fn(function* (choice) {
    const client = yield* connect(choice)
    const output = yield* Output
    const report = yield* request((signal) =>
      client.branches.restore(
        {
          commit: choice.commit,
          ...(Option.isSome(choice.only) ? { namespace: choice.only.value } : {}),
          ...(choice.dryRun ? { dry_run: true } : {}),
        },
        { signal },
      ),
    )
    if (choice.json) return yield* output.data(jsonText({ restore: report }))
    if (report.tables.length === 0) return yield* output.data("Everything is as it was then.")
    const tables = countedText(report.tables.length, "table")
    yield* output.data(
      report.commit_id === null
        ? `${tables} would change: ${report.tables.join(", ")}`
        : `${tables} restored in commit ${report.commit_id}: ${report.tables.join(", ")}`,
    )
  }),
).pipe(
  Command.withDescription("Set main to what it was after a commit, as a new commit: nothing is lost"),
  Command.withExamples([{ command: "rat restore 42 --dry-run", description: "Which tables would change" }]),
)
