import { describe, expect, it } from "vitest"
import { issueText } from "./Issue.ts"

const issue = { path: "pipelines/silver/x/config.yaml", code: "config.unknown_key", message: "Unknown key." }
const contentOf = () => "description: x\n\tmerge: y\n"

describe("issueText", () => {
  it("shows place, message, code, the offending line and a mark under the column, tabs kept", () => {
    expect(issueText({ ...issue, line: 2, column: 2 }, contentOf)).toBe(
      "pipelines/silver/x/config.yaml:2:2: Unknown key. [config.unknown_key]\n    2 | \tmerge: y\n      | \t^",
    )
  })

  it("copes with a whole file, a line without a column and a file that is not at hand", () => {
    expect(issueText(issue, contentOf)).toBe("pipelines/silver/x/config.yaml: Unknown key. [config.unknown_key]")
    expect(issueText({ ...issue, line: 1 }, contentOf).split("\n").length).toBe(2)
    expect(issueText({ ...issue, line: 1 }, () => undefined).split("\n").length).toBe(1)
  })
})
