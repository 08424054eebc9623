import { assert, describe, it } from "@effect/vitest"
import { isQualityTest, readQualityHeader } from "./QualityHeader.ts"

describe("A quality test", () => {
  it("is named after its file and has severity error unless it says otherwise", () => {
    const header = readQualityHeader("tests/quality/no_nulls.sql", "select 1")
    assert.deepStrictEqual(header, {
      name: "no_nulls",
      severity: "error",
      description: "",
      tags: [],
      remediation: "",
      issues: [],
    })
  })

  it("says in its header what it is about", () => {
    const header = readQualityHeader(
      "tests/quality/late.sql",
      "-- @severity: Warning\n-- @description: late flights\n-- @tags: ops, , daily\n-- @remediation: call the airline\nselect 1",
    )
    assert.deepStrictEqual(header, {
      name: "late",
      severity: "warn",
      description: "late flights",
      tags: ["ops", "daily"],
      remediation: "call the airline",
      issues: [],
    })
  })

  const bad: ReadonlyArray<readonly [sentence: string, path: string, source: string, code: string, text: RegExp]> = [
    [
      "an unknown severity",
      "tests/quality/a.sql",
      "-- @severity: eror",
      "annotation.invalid_value",
      /Did you mean "error"\?/,
    ],
    [
      "an unknown annotation",
      "tests/quality/a.sql",
      "-- @severty: warn",
      "annotation.unknown_key",
      /Did you mean "severity"\?/,
    ],
    [
      "a pipeline's annotation",
      "tests/quality/a.sql",
      "-- @merge_strategy: x",
      "annotation.unknown_key",
      /severity, description/,
    ],
    ["a file name that is no name", "tests/quality/No Nulls.sql", "select 1", "file.name", /not a valid name/],
    ["a folder inside the folder", "tests/quality/a/b.sql", "select 1", "file.name", /not a valid name/],
  ]
  for (const [sentence, path, source, code, text] of bad) {
    it(`is refused for ${sentence}`, () => {
      const [issue] = readQualityHeader(path, source).issues
      assert.strictEqual(issue?.code, code)
      assert.match(issue?.message ?? "", text)
    })
  }

  it("is a .sql file in tests/quality", () => {
    assert.deepStrictEqual(
      ["tests/quality/a.sql", "tests/a.sql", "tests/quality/a.md", "pipeline.sql"].map(isQualityTest),
      [true, false, false, false],
    )
  })
})
