import { assert, describe, it } from "@effect/vitest"
import { formatOfAccept } from "./ResultMediaType.ts"

describe("formatOfAccept", () => {
  it.each([
    [undefined, "objects"],
    ["", "objects"],
    ["*/*", "objects"],
    ["application/json", "objects"],
    ["text/csv", "csv"],
    ["TEXT/CSV; charset=utf-8", "csv"],
    ["text/*", "csv"],
    ["text/html, application/json;q=0.9", "objects"],
    ["application/json;q=0.1, application/vnd.apache.arrow.stream", "arrow"],
    ["application/vnd.apache.parquet, */*;q=0.1", "parquet"],
    ["application/json;q=0, text/csv;q=0.5", "csv"],
    ["text/html", null],
    ["application/json;q=0", null],
  ])("%j asks for %j", (accept, format) => {
    assert.strictEqual(formatOfAccept(accept), format)
  })
})
