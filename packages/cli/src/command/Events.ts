import type { Answer, EventConsumer } from "@rat/client"
import { Effect, Option } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { failureOf } from "../failure/CliFailure.ts"
import { connect, connectionFlags, request } from "../option/Connection.ts"
import { limitFlag } from "../option/Limit.ts"
import { formatOf, jsonText, jsonVersion, type ListingColumn, outputFlags, printListing } from "../output/Listing.ts"
import { Output } from "../output/Output.ts"
import { timeText } from "../output/Quantity.ts"

type Event = Answer<"events", "list">["events"][number]

const aboutOf = ({ key, payload }: Event): string => {
  if (typeof payload !== "object" || payload === null || Array.isArray(payload)) return key
  const { layer, name, pipeline } = payload as { readonly [field: string]: unknown }
  const pipelineName = pipeline ?? name
  return typeof layer === "string" && typeof pipelineName === "string" ? `${layer}.${pipelineName}  ${key}` : key
}

const eventColumns: ReadonlyArray<ListingColumn<Event>> = [
  { title: "offset", cell: (event) => event.offset, isNumber: true },
  { title: "at", cell: (event) => timeText(event.at) },
  { title: "type", cell: (event) => event.type },
  { title: "namespace", cell: (event) => event.namespace },
  { title: "about", cell: aboutOf },
]

const eventLine = (event: Event) =>
  `${event.offset.padStart(8)}  ${timeText(event.at)}  ${event.type.padEnd(20)} ${event.namespace.padEnd(12)} ${aboutOf(event)}`

const listFlags = {
  follow: Flag.Boolean("follow").pipe(
    Flag.withAlias("f"),
    Flag.withoutNegation,
    Flag.withDefault(false),
    Flag.withDescription("Print events as they come, without an end"),
  ),
  type: Flag.String("type").pipe(
    Flag.withMetavar("TYPES"),
    Flag.optional,
    Flag.withDescription("Only these types, separated by commas: run.failed,table.*"),
  ),
  key: Flag.String("key").pipe(Flag.optional, Flag.withDescription("Only about this run id, table, path …")),
  after: Flag.String("after").pipe(
    Flag.withMetavar("OFFSET"),
    Flag.optional,
    Flag.withDescription("Only events behind this offset; 0 begins with the oldest one"),
  ),
  namespace: Flag.String("namespace").pipe(
    Flag.withAlias("n"),
    Flag.optional,
    Flag.withDescription("Only events of this namespace (default: all)"),
  ),
  limit: limitFlag,
  ...outputFlags,
  ...connectionFlags,
}

/** Offsets that are looked at, from the newest one back, when nobody says where to begin. */
const lookBack = 10_000n

const printEvents = Effect.fnUntraced(function* (choice: Command.Command.Config.Infer<typeof listFlags>) {
  const output = yield* Output
  const client = yield* connect(choice)
  const filter = {
    namespace: Option.getOrUndefined(choice.namespace),
    type: Option.getOrUndefined(choice.type),
    key: Option.getOrUndefined(choice.key),
  }
  const after = Option.getOrUndefined(choice.after)
  if (choice.follow) {
    const isJson = formatOf(choice) === "json"
    return yield* Effect.tryPromise({
      try: async (signal) => {
        for await (const news of client.events.follow({ ...filter, after, signal })) {
          if (news.type === "gap") {
            const gap = `Retention removed ${news.missed} events behind ${news.after} before they were read.`
            await Effect.runPromise(output.note(gap))
          } else if (isJson) {
            await Effect.runPromise(output.data(JSON.stringify({ version: jsonVersion, ...news.event })))
          } else await Effect.runPromise(output.data(eventLine(news.event)))
        }
      },
      catch: failureOf,
    })
  }
  const events: Array<Event> = []
  let from: string
  if (after === undefined) {
    const { newest } = yield* request((signal) => client.events.list({ limit: 1 }, { signal }))
    const start = BigInt(newest) - lookBack
    from = (start < 0n ? 0n : start).toString()
  } else from = after
  for (;;) {
    const cursor: string = from
    // From a given offset the first ones are shown, else the newest ones.
    const limit = after === undefined ? 1000 : choice.limit - events.length
    const page = yield* request((signal) => client.events.list({ ...filter, after: cursor, limit }, { signal }))
    events.push(...page.events)
    if (page.next === page.newest || BigInt(page.next) <= BigInt(from)) break
    if (after !== undefined && events.length >= choice.limit) break
    from = page.next
  }
  const shown = events.slice(-choice.limit)
  yield* printListing(formatOf(choice), eventColumns, shown, { events: shown })
  if (formatOf(choice) === "table" && shown.length === 0)
    yield* output.note("No events. `rat events -f` waits for them.")
})

const list = Command.make("list", listFlags, printEvents).pipe(
  Command.withAlias("ls"),
  Command.withDescription("List the newest events, or follow them"),
)

const consumerColumns: ReadonlyArray<ListingColumn<EventConsumer>> = [
  { title: "consumer", cell: (consumer) => consumer.name },
  { title: "offset", cell: (consumer) => consumer.offset, isNumber: true },
  { title: "lag", cell: (consumer) => consumer.lag, isNumber: true },
  { title: "node", cell: (consumer) => (consumer.is_working ? consumer.node : "") },
  { title: "updated", cell: (consumer) => timeText(consumer.updated_at) },
  { title: "missed", cell: (consumer) => (consumer.missed === 0 ? "" : consumer.missed), isNumber: true },
  { title: "fails at", cell: (consumer) => consumer.failing?.offset, isNumber: true },
  { title: "error", cell: (consumer) => consumer.failing?.error },
]

const consumers = Command.make(
  "consumers",
  { ...outputFlags, ...connectionFlags },
  Effect.fn(function* (choice) {
    const client = yield* connect(choice)
    const answer = yield* request((signal) => client.events.consumers({ signal }))
    const format = formatOf(choice)
    yield* printListing(format, consumerColumns, answer.consumers, answer)
    if (format !== "table") return
    const output = yield* Output
    if (answer.consumers.length === 0) yield* output.note("Nothing consumes events yet.")
    for (const { failing, name } of answer.consumers) {
      if (failing === null) continue
      yield* output.note(
        `${name} has failed ${failing.failures} times at event ${failing.offset}; \`rat events skip ${name} --offset ${failing.offset}\` leaves it out.`,
      )
    }
  }),
).pipe(Command.withDescription("List durable consumers: how far they are, which node works, what fails"))

const consumerArgument = Argument.String("consumer").pipe(Argument.withDescription("Name of the consumer"))
const steerFlags = { json: outputFlags.json, ...connectionFlags }

const replay = Command.make(
  "replay",
  {
    consumer: consumerArgument,
    from: Flag.String("from").pipe(
      Flag.withMetavar("OFFSET"),
      Flag.withDescription("The next event that is handled; further on than now leaves events out"),
    ),
    ...steerFlags,
  },
  Effect.fn(function* (choice) {
    const output = yield* Output
    const client = yield* connect(choice)
    const consumer = yield* request((signal) => client.events.replay(choice.consumer, choice.from, { signal }))
    if (choice.json) return yield* output.data(jsonText({ consumer }))
    yield* output.data(`${consumer.name} goes on with event ${choice.from}, ${consumer.lag} to go.`)
  }),
).pipe(Command.withDescription("Let a consumer handle events again from an offset on"))

const skip = Command.make(
  "skip",
  {
    consumer: consumerArgument,
    offset: Flag.String("offset").pipe(
      Flag.withMetavar("OFFSET"),
      Flag.withDescription("The event that it fails at, as `rat events consumers` shows it"),
    ),
    ...steerFlags,
  },
  Effect.fn(function* (choice) {
    const output = yield* Output
    const client = yield* connect(choice)
    const consumer = yield* request((signal) => client.events.skip(choice.consumer, choice.offset, { signal }))
    if (choice.json) return yield* output.data(jsonText({ consumer }))
    yield* output.data(`${consumer.name} leaves out event ${choice.offset}.`)
  }),
).pipe(Command.withDescription("Give up on the event that a consumer fails at"))

const forget = Command.make(
  "forget",
  { consumer: consumerArgument, ...connectionFlags },
  Effect.fn(function* (choice) {
    const output = yield* Output
    const client = yield* connect(choice)
    yield* request((signal) => client.events.forget(choice.consumer, { signal }))
    yield* output.data(`${choice.consumer} is forgotten.`)
  }),
).pipe(Command.withDescription("Forget how far a consumer was that no node works for"))

export const events = Command.make("events", listFlags, printEvents).pipe(
  Command.withSubcommands([list, consumers, replay, skip, forget]),
  Command.withDescription("List the newest events or follow them; look after their consumers"),
  Command.withExamples([
    { command: "rat events -f --type run.*,table.published", description: "What happens, as it happens" },
    { command: "rat events --after 0 -o json", description: "From the oldest event on" },
    { command: "rat events replay NAME --from 1200", description: "A consumer handles events again from there" },
  ]),
)
