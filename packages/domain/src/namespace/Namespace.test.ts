import { assert, describe, it } from "@effect/vitest"
import { Option, Schema } from "effect"
import { FilePath, fileTypeOf } from "../file/File.ts"
import { NamespaceName } from "./Namespace.ts"

const isName = (text: string) => Option.isSome(Schema.decodeUnknownOption(NamespaceName)(text))
const isPath = (text: string) => Option.isSome(Schema.decodeUnknownOption(FilePath)(text))

describe("names and paths that people choose", () => {
  it.each(["a", "sales", "sales-eu", "sales_eu2", `a${"b".repeat(127)}`])("%s is a name", (text) => {
    assert.isTrue(isName(text))
  })

  it.each(["", "1a", "A", "-a", "a b", "a.b", "a/b", "a*", "a?", "[a]", "ä", "a\n", "..", `a${"b".repeat(128)}`])(
    "%j is not a name",
    (text) => {
      assert.isFalse(isName(text))
    },
  )

  it.each(["sales/pipelines/silver/x/pipeline.sql", "a"])("%s is a path", (text) => {
    assert.isTrue(isPath(text))
  })

  it.each(["", "/a", "a/../b", "..", "a//b", "a/./b", "a\\b", "a\0b", "a/"])("%j is not a path", (text) => {
    assert.isFalse(isPath(text))
  })

  it("a file's type follows from its place and its name", () => {
    assert.deepStrictEqual(
      [
        "n/pipelines/gold/x/pipeline.sql",
        "n/pipelines/gold/x/config.yaml",
        "n/pipelines/gold/x/tests/quality/not_null.sql",
        "n/pipelines/gold/x/pipeline.meta.yaml",
        "n/pipelines/gold/x/notes.md",
        "n/landing/zone/data.csv",
      ].map(fileTypeOf),
      ["pipeline-sql", "config", "test", "meta", "doc", "landing"],
    )
  })
})
