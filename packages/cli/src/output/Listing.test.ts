import { stripVTControlCharacters } from "node:util"
import { describe, expect, it } from "vitest"
import { csvText, tableText } from "./Listing.ts"
import { bytesText, countText, durationText } from "./Quantity.ts"
import { colourful, colourless, paintStatus } from "./Style.ts"

const rows = [
  { name: "silver.flights", status: "success", count: 2_999_806 },
  { name: "gold.x", status: "failed", count: 7 },
]
const columns = [
  { title: "table", cell: (row: (typeof rows)[number]) => row.name },
  { title: "status", cell: (row: (typeof rows)[number]) => row.status, paint: paintStatus },
  { title: "rows", cell: (row: (typeof rows)[number]) => countText(row.count), isNumber: true },
]

describe("tables", () => {
  it("align words at the left and numbers at the right", () => {
    expect(tableText(columns, rows, colourless, null)).toBe(
      [
        "table           status        rows",
        "silver.flights  success  2,999,806",
        "gold.x          failed           7",
      ].join("\n"),
    )
  })

  it("stay aligned in colour", () => {
    const coloured = tableText(columns, rows, colourful, 120)
    expect(coloured).toContain("\u001b[32msuccess\u001b[39m")
    expect(stripVTControlCharacters(coloured)).toBe(tableText(columns, rows, colourless, null))
  })

  it("shorten cells and join their lines on a terminal only", () => {
    const long = [{ text: `first line\n${"x".repeat(100)}` }]
    const column = [{ title: "text", cell: (row: { text: string }) => row.text }]
    expect(tableText(column, long, colourless, 80)).toMatch(/^text\s*\nfirst line x+…$/)
    expect(tableText(column, long, colourless, null)).toContain("x".repeat(100))
  })
})

describe("csv", () => {
  it("quotes what needs it", () => {
    expect(
      csvText([
        ["a", "b"],
        ['say "hi"', "1,5"],
        ["two\nlines", ""],
      ]),
    ).toBe('a,b\n"say ""hi""","1,5"\n"two\nlines",')
  })
})

describe("quantities", () => {
  it("read as people say them", () => {
    expect([bytesText(12), bytesText(13_493_022), bytesText(5 * 1024 ** 3)]).toEqual(["12 B", "12.9 MiB", "5.0 GiB"])
    expect([durationText(85.4), durationText(1900), durationText(200_000)]).toEqual(["85 ms", "1.9 s", "3 min 20 s"])
  })
})
