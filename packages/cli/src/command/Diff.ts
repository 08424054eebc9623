import type { Answer, Payload, RatClient } from "@rat/client"
import { Effect } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { CliFailure } from "../failure/CliFailure.ts"
import { ExitCode } from "../failure/ExitCode.ts"
import { connect, connectionFlags, request } from "../option/Connection.ts"
import { namespaceFlag, namespaceOf } from "../option/NamespaceOption.ts"
import { addressText, parseAddress } from "../option/PipelineArgument.ts"
import { formatOf, jsonText, type ListingColumn, outputFlags, printListing } from "../output/Listing.ts"
import { Output } from "../output/Output.ts"
import { countedText, countText } from "../output/Quantity.ts"

type TableDiff = Answer<"tables", "diff">
type Sample = TableDiff["sample"][number]
type Table = Answer<"tables", "list">["tables"][number]
type TableState = Payload<"tables", "diff">["a"]

/** Tables of one page. */
const pageSize = 200

const timePattern = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?$/

/** A number is a snapshot, a date or time what was current then, everything else a branch or tag; `ref@…` is one of the first on a ref. */
const stateOf = (text: string): TableState => {
  const at = text.lastIndexOf("@")
  const [ref, version] = at < 0 ? ["", text] : [text.slice(0, at), text.slice(at + 1)]
  const on = ref === "" ? {} : { ref }
  if (/^\d+$/.test(version)) return { ...on, snapshot_id: version }
  const time = timePattern.test(version) ? new Date(/T\d{2}:[^Z+-]*$/.test(version) ? `${version}Z` : version) : null
  if (time !== null && !Number.isNaN(time.getTime())) return { ...on, at: time.toISOString() }
  return text === "" ? {} : { ref: text }
}

/** `A..B`; either side may be left out, which means main. */
const parseRange = (range: string) => {
  const sides = range.split("..")
  if (sides.length !== 2) {
    return Effect.fail(
      new CliFailure({
        message: `"${range}" is not of the form A..B.`,
        next: "For example `rat diff main..fix-prices`, or two snapshots: `rat diff 123..456 --table gold.revenue`.",
        exitCode: ExitCode.usage,
      }),
    )
  }
  return Effect.succeed({ a: stateOf(sides[0]!), b: stateOf(sides[1]!) })
}

const sampleColumns: ReadonlyArray<ListingColumn<Sample>> = [
  { title: "row", cell: ({ kind }) => kind },
  { title: "before", cell: ({ before }) => (before === null ? "" : JSON.stringify(before)) },
  { title: "after", cell: ({ after }) => (after === null ? "" : JSON.stringify(after)) },
]

const summaryOf = (diff: TableDiff): string => {
  const columns = [
    ...diff.columns_added.map((name) => `column ${name} added`),
    ...diff.columns_removed.map((name) => `column ${name} removed`),
  ]
  const changed = diff.key.length === 0 ? [] : [`${countText(diff.rows_changed)} changed`]
  const counts = [`${countText(diff.rows_added)} added`, `${countText(diff.rows_removed)} removed`, ...changed]
  const read = `${countedText(diff.files_read, "file")} read, ${diff.files_same} the same`
  return `rows: ${counts.join(", ")}${columns.map((each) => `; ${each}`).join("")} (${read})`
}

const allTables = Effect.fnUntraced(function* (client: RatClient, namespace: string, branch: string | undefined) {
  const found: Array<Table> = []
  for (;;) {
    const page = { namespace, branch, limit: pageSize, offset: found.length }
    const { tables, total } = yield* request((signal) => client.tables.list(page, { signal }))
    found.push(...tables)
    if (tables.length === 0 || found.length >= total)
      return new Map(found.map((each) => [`${each.layer}.${each.name}`, each]))
  }
})

interface TableLine {
  readonly table: string
  readonly change: "added" | "removed" | "changed"
  readonly rows_before: number | null
  readonly rows_after: number | null
}

const lineColumns: ReadonlyArray<ListingColumn<TableLine>> = [
  { title: "table", cell: ({ table }) => table },
  { title: "change", cell: ({ change }) => change },
  {
    title: "rows before",
    cell: ({ rows_before }) => (rows_before === null ? "" : countText(rows_before)),
    isNumber: true,
  },
  { title: "rows after", cell: ({ rows_after }) => (rows_after === null ? "" : countText(rows_after)), isNumber: true },
]

const linesOf = (before: ReadonlyMap<string, Table>, after: ReadonlyMap<string, Table>): ReadonlyArray<TableLine> =>
  [...new Set([...before.keys(), ...after.keys()])].sort().flatMap((table) => {
    const [old, there] = [before.get(table), after.get(table)]
    if (old?.metadata_location === there?.metadata_location) return []
    const change = old === undefined ? "added" : there === undefined ? "removed" : "changed"
    return [{ table, change, rows_before: old?.row_count ?? null, rows_after: there?.row_count ?? null }]
  })

export const diff = Command.make(
  "diff",
  {
    range: Argument.String("A..B").pipe(
      Argument.withDescription(
        "Two branches or tags; with --table also snapshots and times (of a branch: work@123). A side left out is main",
      ),
    ),
    table: Flag.String("table").pipe(
      Flag.withMetavar("TABLE"),
      Flag.atMost(1),
      Flag.withDescription("Compare the rows of layer.name; without it, tables that differ are listed"),
    ),
    key: Flag.String("key").pipe(
      Flag.withMetavar("COLUMN"),
      Flag.atMost(32),
      Flag.withDescription("Column that tells rows apart, several times for several; default: the table's unique key"),
    ),
    sample: Flag.Int("sample").pipe(Flag.withDefault(20), Flag.withDescription("Rows of each kind to show")),
    ...outputFlags,
    namespace: namespaceFlag,
    ...connectionFlags,
  },
  Effect.fn(function* (choice) {
    const output = yield* Output
    const format = formatOf(choice)
    const namespace = yield* namespaceOf(choice.namespace)
    const { a, b } = yield* parseRange(choice.range)
    const client = yield* connect(choice)
    const [named] = choice.table
    if (named !== undefined) {
      const address = yield* parseAddress(named, namespace)
      const key = choice.key.length === 0 ? {} : { key: choice.key }
      const answer = yield* request((signal) =>
        client.tables.diff(
          address.namespace,
          address.layer,
          address.name,
          { a, b, limit: choice.sample, ...key },
          { signal },
        ),
      )
      if (format === "json") return yield* output.data(jsonText({ diff: answer }))
      if (answer.sample.length > 0 || format === "csv")
        yield* printListing(format, sampleColumns, answer.sample, answer)
      return yield* output.note(`${addressText(address)} ${summaryOf(answer)}`)
    }
    if ([a, b].some((side) => side.snapshot_id !== undefined || side.at !== undefined)) {
      return yield* new CliFailure({
        message: "Snapshots and times are those of one table.",
        next: "Name it: `rat diff 123..456 --table gold.revenue`.",
        exitCode: ExitCode.usage,
      })
    }
    const tables = linesOf(yield* allTables(client, namespace, a.ref), yield* allTables(client, namespace, b.ref))
    yield* printListing(format, lineColumns, tables, { tables })
    if (format === "table" && tables.length === 0) yield* output.note(`No table of ${namespace} differs.`)
  }),
).pipe(
  Command.withDescription("Compare two branches, tags or snapshots"),
  Command.withExamples([
    { command: "rat diff main..fix-prices", description: "Tables that differ" },
    { command: "rat diff main..fix-prices --table gold.revenue --key id", description: "Rows that differ" },
    { command: "rat diff 2026-01-31.. --table gold.revenue", description: "What changed since then" },
  ]),
)
