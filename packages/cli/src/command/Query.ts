import { readFileSync } from "node:fs"
import type { ArraysResult } from "@rat/client"
import { Effect, Option } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { CliFailure, failureOf } from "../failure/CliFailure.ts"
import { ExitCode } from "../failure/ExitCode.ts"
import { connect, request, urlFlag } from "../option/Connection.ts"
import { namespaceFlag, namespaceOf } from "../option/NamespaceOption.ts"
import { timeoutFlag } from "../option/Timeout.ts"
import { formatOf, jsonText, tableText } from "../output/Listing.ts"
import { Output } from "../output/Output.ts"
import { countedText, durationText } from "../output/Quantity.ts"

const numeric = /^(U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|FLOAT|DOUBLE|DECIMAL)/

const cellText = (value: ArraysResult["rows"][number][number]): string => {
  if (value === null) return "NULL"
  return typeof value === "object" ? JSON.stringify(value) : String(value)
}

/** The plans of an EXPLAIN: drawings of several lines, which no cell of a table can hold. */
const planText = ({ columns, rows }: ArraysResult): string | undefined =>
  columns.map(({ name }) => name).join() === "explain_key,explain_value"
    ? rows.map(([, plan]) => String(plan).trimEnd()).join("\n")
    : undefined

const resultText = (result: ArraysResult, output: Output["Service"]): string => {
  const plan = planText(result)
  if (plan !== undefined) return plan
  const columns = result.columns.map((column, index) => ({
    title: column.name,
    cell: (row: ArraysResult["rows"][number]) => cellText(row[index] ?? null),
    isNumber: numeric.test(column.type),
  }))
  return tableText(columns, result.rows, output.dataStyle, output.dataColumns)
}

/** The statement itself, or what comes on stdin for `-`. */
const sqlOf = (argument: string): Effect.Effect<string, CliFailure> =>
  Effect.suspend(() => {
    const sql = argument === "-" ? readFileSync(0, "utf8") : argument
    if (sql.trim() !== "") return Effect.succeed(sql)
    return Effect.fail(
      new CliFailure({
        message: "There is no SQL to run.",
        next: `Write rat query "select 1".`,
        exitCode: ExitCode.usage,
      }),
    )
  })

export const query = Command.make(
  "query",
  {
    sql: Argument.String("sql").pipe(Argument.withDescription("One statement that reads; - takes it from stdin")),
    branch: Flag.String("branch").pipe(
      Flag.withAlias("b"),
      Flag.withMetavar("NAME"),
      Flag.optional,
      Flag.withDescription("Branch or tag to read, such as run-<id> of a failed run (default main)"),
    ),
    limit: Flag.Int("limit").pipe(
      Flag.filter(
        (limit) => limit >= 0 && limit <= 100_000,
        (limit) => `${limit} is not between 0 and 100000.`,
      ),
      Flag.optional,
      Flag.withDescription("Most rows (default 1000 for table and json; csv, parquet and arrow have all)"),
    ),
    output: Flag.Literals("output", ["table", "json", "csv", "parquet", "arrow"]).pipe(
      Flag.withAlias("o"),
      Flag.withDefault("table"),
      Flag.withDescription("How the result is printed; parquet and arrow go to a file or a pipe"),
    ),
    json: Flag.Boolean("json").pipe(
      Flag.withoutNegation,
      Flag.withDefault(false),
      Flag.withDescription("Short for --output json"),
    ),
    namespace: namespaceFlag,
    url: urlFlag,
    timeout: timeoutFlag("Longest time that the statement may take, such as 30s or 2m"),
  },
  Effect.fn(function* (choice) {
    const output = yield* Output
    const sql = yield* sqlOf(choice.sql)
    const namespace = yield* namespaceOf(choice.namespace)
    const client = yield* connect({ url: choice.url, timeout: Option.none() })
    const format = formatOf(choice)
    const input = {
      sql,
      namespace,
      branch: Option.getOrUndefined(choice.branch),
      limit: Option.getOrUndefined(choice.limit),
      timeout_ms: Option.getOrUndefined(Option.map(choice.timeout, Math.ceil)),
    }
    // The server bounds every statement; waiting shorter than it does would only lose the answer.
    const patience = Option.isNone(choice.timeout) ? { timeoutMs: 15 * 60_000 } : {}
    if (format === "csv" || format === "parquet" || format === "arrow") {
      if (format !== "csv" && output.dataColumns !== null) {
        return yield* new CliFailure({
          message: `${format} is not for terminals.`,
          next: `Write it to a file: rat query … -o ${format} > result.${format}`,
          exitCode: ExitCode.usage,
        })
      }
      return yield* Effect.tryPromise({
        try: async (signal) => {
          const stream = await client.query.bytes(input, format, { signal, ...patience })
          for await (const chunk of stream) await Effect.runPromise(output.bytes(chunk))
        },
        catch: failureOf,
      })
    }
    const result = yield* request((signal) => client.query.arrays(input, { signal, ...patience }))
    if (format === "json") {
      const { columns, rows, total_rows, duration_ms } = result
      return yield* output.data(
        jsonText({ columns, rows, total_rows, duration_ms, truncated: result.truncated === true }),
      )
    }
    yield* output.data(resultText(result, output))
    const cut = result.truncated === true ? " (there are more; see --limit)" : ""
    yield* output.note(
      output.noteStyle.dim(`${countedText(result.total_rows, "row")}, ${durationText(result.duration_ms)}${cut}`),
    )
  }),
).pipe(
  Command.withDescription(
    "Run SQL that reads. Tables are layer.name of the namespace, or namespace.layer.name. With --output json, rows are arrays in the order of columns.",
  ),
  Command.withShortDescription("Run SQL that reads"),
  Command.withExamples([
    { command: 'rat query "select * from gold.revenue limit 10"', description: "Show rows" },
    { command: 'rat query "from gold.revenue" -o csv > revenue.csv', description: "Save all of them" },
    { command: 'rat query -b run-0192f0c1-… "from silver.orders"', description: "Look at what a failed run wrote" },
  ]),
)
