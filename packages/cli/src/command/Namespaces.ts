import type { Answer } from "@rat/client"
import { limitNames } from "@rat/domain"
import { Effect, Option } from "effect"
import { Command, Flag } from "effect/cli"
import { CliFailure } from "../failure/CliFailure.ts"
import { ExitCode } from "../failure/ExitCode.ts"
import { connect, connectionFlags, request } from "../option/Connection.ts"
import { limitFlag } from "../option/Limit.ts"
import { namespaceFlag, namespaceOf } from "../option/NamespaceOption.ts"
import { parseAddress } from "../option/PipelineArgument.ts"
import { formatOf, type ListingColumn, outputFlags, printListing } from "../output/Listing.ts"
import { timeText } from "../output/Quantity.ts"

type Namespace = Answer<"namespaces", "list">["namespaces"][number]
type Limits = Answer<"namespaces", "limits">

const columns: ReadonlyArray<ListingColumn<Namespace>> = [
  { title: "namespace", cell: (namespace) => namespace.name },
  { title: "description", cell: (namespace) => namespace.description },
  { title: "created", cell: (namespace) => timeText(namespace.created_at) },
]

const listFlags = { limit: limitFlag, ...outputFlags, ...connectionFlags }

const printNamespaces = Effect.fnUntraced(function* (choice: Command.Command.Config.Infer<typeof listFlags>) {
  const client = yield* connect(choice)
  const answer = yield* request((signal) => client.namespaces.list({ limit: choice.limit }, { signal }))
  yield* printListing(formatOf(choice), columns, answer.namespaces, answer)
})

const list = Command.make("list", listFlags, printNamespaces).pipe(
  Command.withAlias("ls"),
  Command.withDescription("List namespaces"),
)

/** A number, or the word that takes a limit away. */
const limitOf = (flag: string, text: string) => {
  if (text === "default") return Effect.succeed(null)
  const value = Number(text)
  return text.trim() !== "" && Number.isFinite(value)
    ? Effect.succeed(value)
    : Effect.fail(
        new CliFailure({
          message: `--${flag} must be a number or "default", not "${text}".`,
          exitCode: ExitCode.usage,
        }),
      )
}

const flagOf = (name: string) => name.replaceAll("_", "-")

const limitText = (name: string, doc: string) =>
  Flag.String(flagOf(name)).pipe(Flag.withMetavar("N|default"), Flag.optional, Flag.withDescription(doc))

const setFlags = {
  weight: limitText("weight", "Share of the slots, compared with other namespaces (0.01 to 100)"),
  max_pending: limitText("max_pending", "Pending runs of the namespace, or with --pipeline of that pipeline"),
  max_pending_per_pipeline: limitText("max_pending_per_pipeline", "Pending runs of each pipeline"),
  max_running: limitText("max_running", "Runs that execute at the same time; 0 lets nothing begin"),
}

interface LimitLine {
  readonly of: string
  readonly limit: string
  readonly value: number
  readonly isOwn: boolean
}

const lineColumns: ReadonlyArray<ListingColumn<LimitLine>> = [
  { title: "of", cell: (line) => line.of },
  { title: "limit", cell: (line) => line.limit },
  { title: "value", cell: (line) => line.value, isNumber: true },
  { title: "set by", cell: (line) => (line.isOwn ? "limits" : "default") },
]

const linesOf = (limits: Limits): ReadonlyArray<LimitLine> => [
  ...limitNames.map((name) => ({
    of: limits.namespace,
    limit: name,
    value: limits[name],
    isOwn: limits.own[name] !== null,
  })),
  ...limits.pipelines.map(({ pipeline, max_pending }) => ({
    of: `${limits.namespace}.${pipeline}`,
    limit: "max_pending",
    value: max_pending,
    isOwn: true,
  })),
]

const limits = Command.make(
  "limits",
  {
    ...setFlags,
    pipeline: Flag.String("pipeline").pipe(
      Flag.withMetavar("LAYER.NAME"),
      Flag.optional,
      Flag.withDescription("Set --max-pending of this pipeline"),
    ),
    ...outputFlags,
    namespace: namespaceFlag,
    ...connectionFlags,
  },
  Effect.fn(function* (choice) {
    const namespace = yield* namespaceOf(choice.namespace)
    const change: { [Name in (typeof limitNames)[number]]?: number | null } = {}
    for (const name of limitNames) {
      const given = Option.getOrUndefined(choice[name])
      if (given !== undefined) change[name] = yield* limitOf(flagOf(name), given)
    }
    const client = yield* connect(choice)
    if (Option.isSome(choice.pipeline)) {
      const { layer, name, ...at } = yield* parseAddress(choice.pipeline.value, namespace)
      const { max_pending: maxPending, ...others } = change
      if (maxPending === undefined || Object.keys(others).length > 0) {
        return yield* new CliFailure({
          message: "A pipeline has one limit of its own: give --max-pending with --pipeline, and no other limit.",
          exitCode: ExitCode.usage,
        })
      }
      const answer = yield* request((signal) =>
        client.namespaces.setPipelineLimit(at.namespace, layer, name, maxPending, { signal }),
      )
      return yield* printListing(formatOf(choice), lineColumns, linesOf(answer), answer)
    }
    const answer = yield* request((signal) =>
      Object.keys(change).length === 0
        ? client.namespaces.limits(namespace, { signal })
        : client.namespaces.setLimits(namespace, change, { signal }),
    )
    yield* printListing(formatOf(choice), lineColumns, linesOf(answer), answer)
  }),
).pipe(
  Command.withDescription("Show or set how much a namespace and its pipelines may queue and run"),
  Command.withExamples([
    { command: "rat namespaces limits", description: "What holds for this project's namespace" },
    { command: "rat namespaces limits -n sales --weight 3 --max-running 8", description: "Set two of them" },
    { command: "rat namespaces limits --max-running default", description: "Back to the server's default" },
    { command: "rat namespaces limits --pipeline silver.orders --max-pending 50", description: "Of one pipeline" },
  ]),
)

export const namespaces = Command.make("namespaces", listFlags, printNamespaces).pipe(
  Command.withSubcommands([list, limits]),
  Command.withDescription("List namespaces, show or set their limits"),
)
