import { Effect } from "effect"
import { Flag } from "effect/cli"
import { Output } from "./Output.ts"
import { type Style, widthOf } from "./Style.ts"

export type OutputFormat = "table" | "json" | "csv"

/** Version of everything that the CLI prints as JSON. Fields are added without changing it. */
export const jsonVersion = 1

/** `-o table|json|csv`, and `--json` for short. */
export const outputFlags = {
  output: Flag.Literals("output", ["table", "json", "csv"]).pipe(
    Flag.withAlias("o"),
    Flag.withDefault("table"),
    Flag.withDescription("How results are printed"),
  ),
  json: Flag.Boolean("json").pipe(
    Flag.withoutNegation,
    Flag.withDefault(false),
    Flag.withDescription("Short for --output json"),
  ),
}

export const formatOf = <F extends string>(flags: { readonly output: F; readonly json: boolean }): F | "json" =>
  flags.json ? "json" : flags.output

/** A column of a listing and how a cell of it reads. */
export interface ListingColumn<Row> {
  readonly title: string
  readonly cell: (row: Row) => string | number | null | undefined
  /** Numbers stand at the right. */
  readonly isNumber?: boolean
  /** Colour on a terminal. */
  readonly paint?: (style: Style, text: string) => string
}

/** Longest cell on a terminal; files and pipes get everything. */
const longestCell = 60

const textOf = (value: string | number | null | undefined) =>
  value === null || value === undefined ? "" : String(value)

const oneLine = (text: string, limit: number) => {
  const line = text.replaceAll(/\s*\n\s*/g, " ")
  return widthOf(line) <= limit ? line : `${[...line].slice(0, limit - 1).join("")}…`
}

/** Rows in aligned columns under their titles. */
export const tableText = <Row>(
  columns: ReadonlyArray<ListingColumn<Row>>,
  rows: ReadonlyArray<Row>,
  style: Style,
  terminalColumns: number | null,
): string => {
  const limit = terminalColumns === null ? Number.POSITIVE_INFINITY : longestCell
  const cells = rows.map((row) => columns.map((column) => oneLine(textOf(column.cell(row)), limit)))
  const widths = columns.map((column, index) =>
    Math.max(widthOf(column.title), ...cells.map((line) => widthOf(line[index]!))),
  )
  const aligned = (text: string, index: number) => {
    const padding = " ".repeat(widths[index]! - widthOf(text))
    return columns[index]!.isNumber ? padding + text : text + padding
  }
  const head = columns.map((column, index) => style.bold(aligned(column.title, index))).join("  ")
  const body = cells.map((line) =>
    line
      .map((text, index) => {
        const padded = aligned(text, index)
        return columns[index]!.paint === undefined ? padded : padded.replace(text, columns[index]!.paint(style, text))
      })
      .join("  ")
      .trimEnd(),
  )
  return [head.trimEnd(), ...body].join("\n")
}

/** RFC 4180: quoted where needed. */
export const csvText = (lines: ReadonlyArray<ReadonlyArray<string>>): string =>
  lines
    .map((line) => line.map((cell) => (/[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell)).join(","))
    .join("\n")

export const jsonText = (body: object): string => JSON.stringify({ version: jsonVersion, ...body }, null, 2)

/** Prints rows as the person asked; `json` is the whole JSON body without its version. */
export const printListing = Effect.fnUntraced(function* <Row>(
  format: OutputFormat,
  columns: ReadonlyArray<ListingColumn<Row>>,
  rows: ReadonlyArray<Row>,
  json: object,
) {
  const output = yield* Output
  switch (format) {
    case "json":
      return yield* output.data(jsonText(json))
    case "csv": {
      const lines = rows.map((row) => columns.map((column) => textOf(column.cell(row))))
      return yield* output.data(csvText([columns.map((column) => column.title), ...lines]))
    }
    case "table":
      return yield* output.data(tableText(columns, rows, output.dataStyle, output.dataColumns))
  }
})
