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

type Snapshot = Answer<"tables", "snapshots">["snapshots"][number]

const snapshotColumns: ReadonlyArray<ListingColumn<Snapshot>> = [
  { title: "snapshot", cell: (snapshot) => `${snapshot.snapshot_id}${snapshot.is_current ? " *" : ""}` },
  { title: "at", cell: (snapshot) => timeText(snapshot.created_at) },
  { title: "operation", cell: (snapshot) => snapshot.operation },
  { title: "added", cell: (snapshot) => countText(snapshot.rows_added), isNumber: true },
  { title: "removed", cell: (snapshot) => countText(snapshot.rows_removed), isNumber: true },
  { title: "rows", cell: (snapshot) => countText(snapshot.total_rows), isNumber: true },
  { title: "files", cell: (snapshot) => countText(snapshot.total_files), isNumber: true },
  { title: "run", cell: (snapshot) => snapshot.run_id },
]

const tableArgument = Argument.String("table").pipe(Argument.withDescription("layer.name or namespace.layer.name"))
const onTable = { table: tableArgument, branch: branchFlag, namespace: namespaceFlag, ...connectionFlags }

const snapshots = Command.make("snapshots", { ...onTable, ...outputFlags }, (choice) =>
  Effect.gen(function* () {
    const address = yield* parseAddress(choice.table, yield* namespaceOf(choice.namespace))
    const client = yield* connect(choice)
    const branch = Option.getOrUndefined(choice.branch)
    const answer = yield* request((signal) =>
      client.tables.snapshots(address.namespace, address.layer, address.name, { branch }, { signal }),
    )
    yield* printListing(formatOf(choice), snapshotColumns, answer.snapshots, answer)
  }),
).pipe(Command.withAlias("history"), Command.withDescription("Snapshots of a table, newest first"))

const rollback = Command.make(
  "rollback",
  {
    ...onTable,
    snapshot: Flag.String("snapshot").pipe(
      Flag.withMetavar("ID"),
      Flag.optional,
      Flag.withDescription("Snapshot to go back to"),
    ),
    at: Flag.String("at").pipe(
      Flag.withMetavar("TIME"),
      Flag.optional,
      Flag.withDescription("Go back to what the table was then, for example 2026-01-31T12:00:00Z"),
    ),
  },
  Effect.fn(function* (choice) {
    const address = yield* parseAddress(choice.table, yield* namespaceOf(choice.namespace))
    const client = yield* connect(choice)
    const table = yield* request((signal) =>
      client.tables.rollback(
        address.namespace,
        address.layer,
        address.name,
        {
          ...(Option.isSome(choice.snapshot) ? { snapshot_id: choice.snapshot.value } : {}),
          ...(Option.isSome(choice.at) ? { at: choice.at.value } : {}),
          ...(Option.isSome(choice.branch) ? { branch: choice.branch.value } : {}),
        },
        { signal },
      ),
    )
    const rows = countedText(table.row_count, "row")
    yield* (yield* Output).data(`${addressText(address)} is at snapshot ${table.snapshot_id} with ${rows}.`)
  }),
).pipe(Command.withDescription("Set a table to an older snapshot; what came after it is kept"))

const drop = Command.make("drop", onTable, (choice) =>
  Effect.gen(function* () {
    const address = yield* parseAddress(choice.table, yield* namespaceOf(choice.namespace))
    const client = yield* connect(choice)
    const output = yield* Output
    const branch = Option.getOrUndefined(choice.branch)
    yield* request((signal) =>
      client.tables.drop(address.namespace, address.layer, address.name, { branch }, { signal }),
    )
    yield* output.data(`${addressText(address)} dropped.`)
    const on = branch === undefined ? "" : ` --branch ${branch}`
    yield* output.note(`\`rat tables undrop ${choice.table}${on}\` brings it back.`)
  }),
).pipe(Command.withDescription("Drop a table; it can be brought back for some time"))

const undrop = Command.make("undrop", onTable, (choice) =>
  Effect.gen(function* () {
    const branch = Option.getOrUndefined(choice.branch)
    const address = yield* parseAddress(choice.table, yield* namespaceOf(choice.namespace))
    const client = yield* connect(choice)
    const table = yield* request((signal) =>
      client.tables.undrop(address.namespace, address.layer, address.name, { branch }, { signal }),
    )
    yield* (yield* Output).data(`${addressText(address)} is back with ${countedText(table.row_count, "row")}.`)
  }),
).pipe(Command.withDescription("Bring a dropped table back"))

type Dropped = Answer<"tables", "dropped">["tables"][number]
const droppedColumns: ReadonlyArray<ListingColumn<Dropped>> = [
  { title: "table", cell: (table) => table.table },
  { title: "rows", cell: (table) => countText(table.row_count), isNumber: true },
  { title: "size", cell: (table) => bytesText(table.size_bytes), isNumber: true },
  { title: "dropped", cell: (table) => timeText(table.dropped_at) },
]

const dropped = Command.make(
  "dropped",
  { branch: branchFlag, ...outputFlags, namespace: namespaceFlag, ...connectionFlags },
  (choice) =>
    Effect.gen(function* () {
      const namespace = yield* namespaceOf(choice.namespace)
      const client = yield* connect(choice)
      const answer = yield* request((signal) =>
        client.tables.dropped({ namespace, branch: Option.getOrUndefined(choice.branch) }, { signal }),
      )
      yield* printListing(formatOf(choice), droppedColumns, answer.tables, answer)
    }),
).pipe(Command.withDescription("Dropped tables that can be brought back"))

export const tables = Command.make("tables", listFlags, printTables).pipe(
  Command.withAlias("table"),
  Command.withSubcommands([list, show, snapshots, rollback, drop, undrop, dropped]),
  Command.withDescription("List the tables of a namespace, or show one"),
  Command.withExamples([
    { command: "rat tables", description: "Tables of the namespace" },
    { command: "rat tables show gold.revenue", description: "Columns and size of one" },
  ]),
)
