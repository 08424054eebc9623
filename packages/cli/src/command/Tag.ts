import type { Answer } from "@rat/client"
import { Effect, Option } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { connect, connectionFlags, request } from "../option/Connection.ts"
import { limitFlag } from "../option/Limit.ts"
import { formatOf, type ListingColumn, outputFlags, printListing } from "../output/Listing.ts"
import { Output } from "../output/Output.ts"
import { timeText } from "../output/Quantity.ts"

type Tag = Answer<"tags", "list">["tags"][number]

const columns: ReadonlyArray<ListingColumn<Tag>> = [
  { title: "tag", cell: (tag) => tag.name },
  { title: "commit", cell: (tag) => tag.head },
  { title: "made", cell: (tag) => timeText(tag.created_at) },
]

const listFlags = { limit: limitFlag, ...outputFlags, ...connectionFlags }

const printTags = Effect.fnUntraced(function* (choice: Command.Command.Config.Infer<typeof listFlags>) {
  const client = yield* connect(choice)
  const answer = yield* request((signal) => client.tags.list({ limit: choice.limit }, { signal }))
  yield* printListing(formatOf(choice), columns, answer.tags, answer)
})

const list = Command.make("list", listFlags, printTags).pipe(
  Command.withAlias("ls"),
  Command.withDescription("List tags"),
)

const nameArgument = Argument.String("name").pipe(Argument.withDescription("Name of the tag"))

const create = Command.make(
  "create",
  {
    name: nameArgument,
    from: Flag.String("from").pipe(Flag.withMetavar("REF"), Flag.optional, Flag.withDescription("Default main")),
    commit: Flag.String("commit").pipe(
      Flag.withMetavar("ID"),
      Flag.optional,
      Flag.withDescription("Main as it was after this commit"),
    ),
    ...connectionFlags,
  },
  Effect.fn(function* (choice) {
    const client = yield* connect(choice)
    const tag = yield* request((signal) =>
      client.tags.create(
        {
          name: choice.name,
          ...(Option.isSome(choice.from) ? { from: choice.from.value } : {}),
          ...(Option.isSome(choice.commit) ? { commit: choice.commit.value } : {}),
        },
        { signal },
      ),
    )
    yield* (yield* Output).data(`Tag ${tag.name} made${tag.head === null ? "" : ` at commit ${tag.head}`}.`)
  }),
).pipe(Command.withDescription("Give a state of the catalog a name that never moves"))

const remove = Command.make("rm", { name: nameArgument, ...connectionFlags }, (choice) =>
  Effect.gen(function* () {
    const client = yield* connect(choice)
    yield* request((signal) => client.tags.delete(choice.name, { signal }))
    yield* (yield* Output).data(`Tag ${choice.name} deleted.`)
  }),
).pipe(Command.withAlias("delete"), Command.withDescription("Delete a tag"))

export const tag = Command.make("tag", listFlags, printTags).pipe(
  Command.withSubcommands([list, create, remove]),
  Command.withDescription("Name states of the catalog"),
)
