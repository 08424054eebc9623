import type { Answer, RatClient } from "@rat/client"
import { Effect, Option } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { connect, connectionFlags, request } from "../option/Connection.ts"
import { limitFlag } from "../option/Limit.ts"
import { parseAddress } from "../option/PipelineArgument.ts"
import { formatOf, jsonText, type ListingColumn, outputFlags, printListing } from "../output/Listing.ts"
import { Output } from "../output/Output.ts"
import { countedText, countText, timeText } from "../output/Quantity.ts"

type Branch = Answer<"branches", "list">["branches"][number]
type Change = Answer<"branches", "changes">["changes"][number]
type Commit = Answer<"branches", "history">["commits"][number]

const columns: ReadonlyArray<ListingColumn<Branch>> = [
  { title: "branch", cell: (branch) => branch.name },
  { title: "head", cell: (branch) => branch.head },
  { title: "base", cell: (branch) => branch.base },
  { title: "made", cell: (branch) => timeText(branch.created_at) },
  { title: "expires", cell: (branch) => (branch.expires_at === null ? "" : timeText(branch.expires_at)) },
  { title: "run", cell: (branch) => branch.run_id },
]

const nameArgument = Argument.String("name").pipe(Argument.withDescription("Name of the branch"))

const listFlags = {
  runs: Flag.Boolean("runs").pipe(Flag.withDescription("Branches of runs too")),
  limit: limitFlag,
  ...outputFlags,
  ...connectionFlags,
}

const printBranches = Effect.fnUntraced(function* (choice: Command.Command.Config.Infer<typeof listFlags>) {
  const client = yield* connect(choice)
  const answer = yield* request((signal) =>
    client.branches.list({ limit: choice.limit, ...(choice.runs ? { runs: "true" as const } : {}) }, { signal }),
  )
  const format = formatOf(choice)
  yield* printListing(format, columns, answer.branches, answer)
  if (format === "table" && answer.next !== null) {
    yield* (yield* Output).note("There are more branches; --limit shows more.")
  }
})

const list = Command.make("list", listFlags, printBranches).pipe(
  Command.withAlias("ls"),
  Command.withDescription("List branches"),
)

const create = Command.make(
  "create",
  {
    name: nameArgument,
    from: Flag.String("from").pipe(
      Flag.withMetavar("REF"),
      Flag.optional,
      Flag.withDescription("Branch or tag to begin with (default main)"),
    ),
    commit: Flag.String("commit").pipe(
      Flag.withMetavar("ID"),
      Flag.optional,
      Flag.withDescription("Begin with main as it was after this commit (`rat branch log main`)"),
    ),
    json: outputFlags.json,
    ...connectionFlags,
  },
  Effect.fn(function* (choice) {
    const client = yield* connect(choice)
    const output = yield* Output
    const branch = yield* request((signal) =>
      client.branches.create(
        {
          name: choice.name,
          ...(Option.isSome(choice.from) ? { from: choice.from.value } : {}),
          ...(Option.isSome(choice.commit) ? { commit: choice.commit.value } : {}),
        },
        { signal },
      ),
    )
    if (choice.json) return yield* output.data(jsonText({ branch }))
    yield* output.data(`Branch ${branch.name} made.`)
    yield* output.note(
      `Read it with \`rat query --branch ${branch.name} "…"\`; \`rat branch merge ${branch.name}\` publishes its changes.`,
    )
  }),
).pipe(Command.withDescription("Make a branch of main, another ref or an older state"))

const changeColumns: ReadonlyArray<ListingColumn<Change>> = [
  { title: "table", cell: (change) => change.table },
  { title: "change", cell: (change) => change.kind },
  { title: "main", cell: (change) => (change.is_behind ? "moved" : "") },
]

type RowCounts = Pick<Answer<"tables", "diff">, "rows_added" | "rows_removed" | "rows_changed">

const rowsColumns: ReadonlyArray<ListingColumn<Change & RowCounts>> = [
  ...changeColumns,
  { title: "rows added", cell: (change) => countText(change.rows_added), isNumber: true },
  { title: "removed", cell: (change) => countText(change.rows_removed), isNumber: true },
  { title: "changed", cell: (change) => countText(change.rows_changed), isNumber: true },
]

/** Tables that are compared at the same time. */
const comparedAtOnce = 2

const countRows = (client: RatClient, branch: string, change: Change) =>
  Effect.gen(function* () {
    const { layer, name, namespace } = yield* parseAddress(change.table, "")
    const sides = { a: {}, b: { ref: branch }, limit: 0 }
    const { rows_added, rows_changed, rows_removed } = yield* request((signal) =>
      client.tables.diff(namespace, layer, name, sides, { signal }),
    )
    return { ...change, rows_added, rows_removed, rows_changed }
  })

const diffFlags = {
  name: nameArgument,
  rows: Flag.Boolean("rows").pipe(Flag.withDescription("Count the rows that differ from main as it is now")),
  ...outputFlags,
  ...connectionFlags,
}

const diff = Command.make("diff", diffFlags, (choice) =>
  Effect.gen(function* () {
    const client = yield* connect(choice)
    const answer = yield* request((signal) => client.branches.changes(choice.name, { signal }))
    const format = formatOf(choice)
    if (choice.rows) {
      const counted = yield* Effect.forEach(answer.changes, (change) => countRows(client, choice.name, change), {
        concurrency: comparedAtOnce,
      })
      yield* printListing(format, rowsColumns, counted, { ...answer, changes: counted })
    } else yield* printListing(format, changeColumns, answer.changes, answer)
    if (format !== "table") return
    const { note } = yield* Output
    if (answer.changes.length === 0) yield* note("The branch changed nothing.")
    else if (choice.rows) {
      yield* note(`\`rat diff main..${choice.name} --table ${answer.changes[0]!.table}\` shows the rows.`)
    }
  }),
).pipe(Command.withDescription("Tables that a branch changed"))

const commitColumns: ReadonlyArray<ListingColumn<Commit>> = [
  { title: "commit", cell: (commit) => commit.id },
  { title: "at", cell: (commit) => timeText(commit.committed_at) },
  { title: "by", cell: (commit) => commit.author },
  { title: "message", cell: (commit) => commit.message },
  { title: "tables", cell: (commit) => commit.tables.join(" ") },
]

const log = Command.make(
  "log",
  { name: nameArgument, limit: limitFlag, ...outputFlags, ...connectionFlags },
  (choice) =>
    Effect.gen(function* () {
      const client = yield* connect(choice)
      const answer = yield* request((signal) =>
        client.branches.history(choice.name, { limit: choice.limit }, { signal }),
      )
      yield* printListing(formatOf(choice), commitColumns, answer.commits, answer)
    }),
).pipe(Command.withAlias("history"), Command.withDescription("Commits of a branch, newest first"))

const merge = Command.make(
  "merge",
  {
    name: nameArgument,
    message: Flag.String("message").pipe(Flag.withAlias("m"), Flag.optional, Flag.withDescription("For the history")),
    dryRun: Flag.Boolean("dry-run").pipe(Flag.withDescription("Say what would happen, and what stands against it")),
    json: outputFlags.json,
    ...connectionFlags,
  },
  Effect.fn(function* (choice) {
    const client = yield* connect(choice)
    const output = yield* Output
    const report = yield* request((signal) =>
      client.branches.merge(
        choice.name,
        {
          ...(Option.isSome(choice.message) ? { message: choice.message.value } : {}),
          ...(choice.dryRun ? { dry_run: true } : {}),
        },
        { signal },
      ),
    )
    if (choice.json) return yield* output.data(jsonText({ merge: report }))
    if (report.merged) {
      return yield* output.data(`Merged ${countedText(report.tables.length, "table")} in commit ${report.commit_id}.`)
    }
    if (!choice.dryRun) return yield* output.data("The branch had changed nothing; it ended.")
    yield* output.data(`${countedText(report.tables.length, "table")} would move: ${report.tables.join(", ")}`)
    for (const { reason, table } of report.conflicts) yield* output.data(`conflict in ${table}: ${reason}`)
  }),
).pipe(Command.withDescription("Move main by all of a branch's changes, and end the branch"))

const remove = Command.make("rm", { name: nameArgument, ...connectionFlags }, (choice) =>
  Effect.gen(function* () {
    const client = yield* connect(choice)
    yield* request((signal) => client.branches.delete(choice.name, { signal }))
    yield* (yield* Output).data(`Branch ${choice.name} deleted.`)
  }),
).pipe(Command.withAlias("delete"), Command.withDescription("Delete a branch and what was changed on it"))

export const branch = Command.make("branch", listFlags, printBranches).pipe(
  Command.withSubcommands([list, create, diff, log, merge, remove]),
  Command.withDescription("Make, look at, merge and delete branches"),
  Command.withExamples([
    { command: "rat branch create fix-prices", description: "A copy of everything that costs nothing" },
    { command: "rat branch merge fix-prices --dry-run", description: "What stands against publishing it" },
  ]),
)
