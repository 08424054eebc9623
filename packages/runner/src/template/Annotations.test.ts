import { assert, describe, it } from "@effect/vitest"
import { readHeader } from "./Annotations.ts"

const known = ["merge_strategy", "description"]

const read = (source: string) => {
  const { annotations, issues } = readHeader(source, known)
  return {
    values: annotations.map(({ key, value, line, column }) => [key, value, line, column]),
    issues: issues.map(({ code, line, column }) => [code, line, column]),
  }
}

describe("The header of a SQL file", () => {
  const cases: ReadonlyArray<readonly [sentence: string, source: string, values: unknown, issues: unknown]> = [
    [
      "gives key, value and place of each annotation",
      "-- @merge_strategy: append_only\n--   @description:  all flights ",
      [
        ["merge_strategy", "append_only", 1, 4],
        ["description", "all flights", 2, 6],
      ],
      [],
    ],
    ["compares keys without regard to case", "-- @Merge_Strategy: x", [["merge_strategy", "x", 1, 4]], []],
    ["keeps colons inside a value", "-- @description: a: b", [["description", "a: b", 1, 4]], []],
    [
      "goes on over blank lines and comments",
      "\n-- note\n\n-- @description: a\nselect 1",
      [["description", "a", 4, 4]],
      [],
    ],
    ["goes on over block comments", "/* a\n b */\n{# c #}\n-- @description: a", [["description", "a", 4, 4]], []],
    ["ends at the first statement", "select 1\n-- @description: a", [], [["annotation.misplaced", 2, 4]]],
    [
      "ends at a statement behind a block comment",
      "/* a */ select 1\n-- @description: a",
      [],
      [["annotation.misplaced", 2, 4]],
    ],
    ["ends at a template tag", "{% set a = 1 %}\n-- @description: a", [], [["annotation.misplaced", 2, 4]]],
    ["leaves unknown words below it alone", "select 1\n-- @mail: a@example.org", [], []],
    ["reads Windows line ends", "-- @description: a\r\nselect 1", [["description", "a", 1, 4]], []],
    [
      "refuses a key that is given twice",
      "-- @description: a\n-- @description: b",
      [["description", "a", 1, 4]],
      [["annotation.duplicate", 2, 4]],
    ],
    ["refuses a known key without a colon", "-- @description all flights", [], [["annotation.syntax", 1, 4]]],
    ["takes an unknown word without a colon for a comment", "-- @todo tidy up\nselect 1", [], []],
    ["is empty for an empty file", "", [], []],
  ]
  for (const [sentence, source, values, issues] of cases) {
    it(sentence, () => assert.deepStrictEqual(read(source), { values, issues } as never))
  }
})
