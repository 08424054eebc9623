import type { Answer } from "@rat/client"
import { Effect, Option } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { connect, connectionFlags, request } from "../option/Connection.ts"
import { limitFlag } from "../option/Limit.ts"
import { namespaceFlag, namespaceOf } from "../option/NamespaceOption.ts"
import { addressText, parseAddress } from "../option/PipelineArgument.ts"
import { formatOf, jsonText, type ListingColumn, outputFlags, printListing, tableText } from "../output/Listing.ts"
import { Output } from "../output/Output.ts"
import { bytesText, countedText, countText, timeText } from "../output/Quantity.ts"

type TableRow = Answer<"tables", "list">["tables"][number]

const columns: ReadonlyArray<ListingColumn<TableRow>> = [
  { title: "table", cell: (table) => `${table.layer}.${table.name}` },
  { title: "rows", cell: (table) => countText(table.row_count), isNumber: true },
  { title: "size", cell: (table) => bytesText(table.size_bytes), isNumber: true },
  { title: "updated", cell: (table) => timeText(table.updated_at) },
  { title: "description", cell: (table) => table.description },
]

const branchFlag = Flag.String("branch").pipe(
  Flag.withAlias("b"),
  Flag.withMetavar("NAME"),
  Flag.optional,
  Flag.withDescription("Branch or tag to read (default main)"),
)

const listFlags = { branch: branchFlag, limit: limitFlag, ...outputFlags, namespace: namespaceFlag, ...connectionFlags }

const printTables = Effect.fnUntraced(function* (choice: Command.Command.Config.Infer<typeof listFlags>) {
  const namespace = yield* namespaceOf(choice.namespace)
  const client = yield* connect(choice)
  const { tables, total } = yield* request((signal) =>
    client.tables.list({ namespace, branch: Option.getOrUndefined(choice.branch), limit: choice.limit }, { signal }),
  )
  const format = formatOf(choice)
  yield* printListing(format, columns, tables, { tables, total })
  if (format === "table") {
    const output = yield* Output
    if (tables.length === 0) {
      yield* output.note(
        `No tables in namespace ${namespace} yet. A table appears when its pipeline's first run is published.`,
      )
    } else if (tables.length < total) yield* output.note(`${tables.length} of ${total} tables; --limit shows more.`)
  }
})

const list = Command.make("list", listFlags, printTables).pipe(
  Command.withAlias("ls"),
  Command.withDescription("List the tables of a namespace"),
)

const show = Command.make(
  "show",
  {
    table: Argument.String("table").pipe(Argument.withDescription("layer.name or namespace.layer.name")),
    branch: branchFlag,
    json: outputFlags.json,
    namespace: namespaceFlag,
    ...connectionFlags,
  },
  Effect.fn(function* (choice) {
    const output = yield* Output
    const address = yield* parseAddress(choice.table, yield* namespaceOf(choice.namespace))
    const client = yield* connect(choice)
    const branch = Option.getOrUndefined(choice.branch)
    const table = yield* request((signal) =>
      client.tables.get(address.namespace, address.layer, address.name, { branch }, { signal }),
    )
    if (choice.json) return yield* output.data(jsonText({ table }))
    const size = `${countedText(table.row_count, "row")} in ${countedText(table.file_count, "file")}, ${bytesText(table.size_bytes)}`
    yield* output.data(`${output.dataStyle.bold(addressText(address))}  ${size}, ${timeText(table.updated_at)}`)
    if (table.description !== undefined && table.description !== "") yield* output.data(table.description)
    const columnColumns: ReadonlyArray<ListingColumn<(typeof table.columns)[number]>> = [
      { title: "column", cell: (column) => column.name },
      { title: "type", cell: (column) => column.type },
      { title: "description", cell: (column) => column.description },
    ]
    yield* output.data(tableText(columnColumns, table.columns, output.dataStyle, output.dataColumns))
  }),
).pipe(Command.withDescription("Show one table: columns, rows, size"))

export const tables = Command.make("tables", listFlags, printTables).pipe(
  Command.withSubcommands([list, show]),
  Command.withDescription("List the tables of a namespace, or show one"),
  Command.withExamples([
    { command: "rat tables", description: "Tables of the namespace" },
    { command: "rat tables show gold.revenue", description: "Columns and size of one" },
  ]),
)
