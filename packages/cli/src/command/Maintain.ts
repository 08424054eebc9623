import type { Answer, RatClient } from "@rat/client"
import { TableOperation } from "@rat/domain"
import { Effect } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { CliFailure } from "../failure/CliFailure.ts"
import { ExitCode } from "../failure/ExitCode.ts"
import { connect, connectionFlags, request } from "../option/Connection.ts"
import { namespaceFlag, namespaceOf } from "../option/NamespaceOption.ts"
import { addressText, type PipelineAddress, parseAddress } from "../option/PipelineArgument.ts"
import { formatOf, type ListingColumn, outputFlags, printListing } from "../output/Listing.ts"
import { Output } from "../output/Output.ts"
import { bytesText, countText } from "../output/Quantity.ts"

type MaintenanceRun = Answer<"maintenance", "get">
type TableReport = NonNullable<MaintenanceRun["table_report"]>
type OrphanReport = NonNullable<MaintenanceRun["orphan_report"]>

/** How often the server is asked whether it is done. */
const pollMs = 300
/** Tables of a namespace that one command takes. */
const maxTables = 200

interface OperationRow {
  readonly table: string
  readonly operation: TableReport["operations"][number]
}

const operationColumns: ReadonlyArray<ListingColumn<OperationRow>> = [
  { title: "table", cell: ({ table }) => table },
  { title: "operation", cell: ({ operation }) => operation.operation },
  { title: "groups", cell: ({ operation }) => countText(operation.groups), isNumber: true },
  { title: "files", cell: ({ operation }) => countText(operation.files_before), isNumber: true },
  { title: "bytes", cell: ({ operation }) => bytesText(operation.bytes_before), isNumber: true },
  { title: "files after", cell: ({ operation }) => countText(operation.files_after), isNumber: true },
  { title: "bytes after", cell: ({ operation }) => bytesText(operation.bytes_after), isNumber: true },
  { title: "snapshots removed", cell: ({ operation }) => countText(operation.snapshots_removed), isNumber: true },
  { title: "notes", cell: ({ operation }) => operation.notes.join(" ") },
]

const orphanColumns: ReadonlyArray<ListingColumn<OrphanReport["places"][number]>> = [
  { title: "place", cell: ({ place }) => place },
  { title: "objects", cell: ({ objects }) => countText(objects), isNumber: true },
  { title: "bytes", cell: ({ size_bytes }) => bytesText(size_bytes), isNumber: true },
]

const rowsOf = (reports: ReadonlyArray<TableReport>): ReadonlyArray<OperationRow> =>
  reports.flatMap((report) =>
    report.operations.map((operation) => ({ table: `${report.layer}.${report.name}`, operation })),
  )

/** Waits for the end of a run; its failure is the command's. A policy's run that was already at work counts as ours. */
const untilDone = Effect.fnUntraced(function* (client: RatClient, id: string) {
  for (;;) {
    const run = yield* request((signal) => client.maintenance.get(id, { signal }))
    if (run.status === "succeeded") return run
    if (run.status === "failed") {
      return yield* new CliFailure({
        message: `Maintenance of ${run.table ?? "the object store"} failed: ${run.error ?? "no reason was given"}`,
        next: `\`rat maintenance ls\` shows its history.`,
        exitCode: ExitCode.failed,
      })
    }
    yield* Effect.sleep(pollMs)
  }
})

const tablesOf = Effect.fnUntraced(function* (client: RatClient, namespace: string, named: ReadonlyArray<string>) {
  if (named.length > 0) return yield* Effect.forEach(named, (text) => parseAddress(text, namespace))
  const { tables } = yield* request((signal) => client.tables.list({ namespace, limit: maxTables }, { signal }))
  return tables.map(({ layer, name }): PipelineAddress => ({ namespace, layer, name }))
})

const summary = (report: OrphanReport, isDry: boolean): string => {
  const removed = `${countText(report.removed_objects)} objects (${bytesText(report.removed_bytes)})`
  const waiting = `${countText(report.waiting_objects)} objects (${bytesText(report.waiting_bytes)})`
  const unreadable =
    report.unreadable.length === 0
      ? ""
      : ` Metadata of ${report.unreadable.length} tables cannot be read; their folders stay.`
  return `${isDry ? "Would remove" : "Removed"} ${removed} of ${countText(report.objects)}; ${waiting} wait for the grace time.${unreadable}`
}

export const maintain = Command.make(
  "maintain",
  {
    tables: Argument.String("table").pipe(
      Argument.withDescription("layer.name or namespace.layer.name; all tables of the namespace when left out"),
      Argument.variadic(),
    ),
    operation: Flag.Literals("operation", TableOperation.literals).pipe(
      Flag.atMost(TableOperation.literals.length),
      Flag.withDescription("What to do; may be given several times (default: everything)"),
    ),
    orphans: Flag.Boolean("orphans").pipe(
      Flag.withoutNegation,
      Flag.withDefault(false),
      Flag.withDescription("Remove objects that nothing points to, instead of looking after tables"),
    ),
    dryRun: Flag.Boolean("dry-run").pipe(
      Flag.withoutNegation,
      Flag.withDefault(false),
      Flag.withDescription("Only say what would be done"),
    ),
    ...outputFlags,
    namespace: namespaceFlag,
    ...connectionFlags,
  },
  Effect.fn(function* (choice) {
    const output = yield* Output
    const namespace = yield* namespaceOf(choice.namespace)
    const client = yield* connect(choice)
    const format = formatOf(choice)
    if (choice.orphans) {
      const report = choice.dryRun
        ? yield* request((signal) => client.maintenance.orphans({ signal }))
        : yield* Effect.gen(function* () {
            const { id } = yield* request((signal) => client.maintenance.removeOrphans({ signal }))
            return (yield* untilDone(client, id)).orphan_report!
          })
      yield* printListing(format, orphanColumns, report.places, { report })
      return yield* output.note(summary(report, choice.dryRun))
    }
    const options = choice.operation.length === 0 ? {} : { operations: choice.operation }
    const addresses = yield* tablesOf(client, namespace, choice.tables)
    const reports = yield* Effect.forEach(addresses, (address) =>
      Effect.gen(function* () {
        const { layer, name } = address
        if (choice.dryRun) {
          return yield* request((signal) =>
            client.maintenance.plan(address.namespace, layer, name, options, { signal }),
          )
        }
        yield* output.note(`Looking after ${addressText(address)}`)
        const { id } = yield* request((signal) =>
          client.maintenance.maintain(address.namespace, layer, name, options, { signal }),
        )
        return (yield* untilDone(client, id)).table_report!
      }),
    )
    yield* printListing(format, operationColumns, rowsOf(reports), { reports })
    if (addresses.length === 0) yield* output.note(`No tables in namespace ${namespace} yet.`)
  }),
).pipe(
  Command.withDescription("Compact tables, rewrite manifests, expire snapshots, or remove orphans"),
  Command.withExamples([
    { command: "rat maintain --dry-run", description: "What would be done to each table, with bytes" },
    { command: "rat maintain gold.revenue --operation compact", description: "Compact one table now" },
    { command: "rat maintain --orphans --dry-run", description: "Objects that nothing points to, by table" },
  ]),
)
