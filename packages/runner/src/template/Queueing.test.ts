import { assert, describe, it } from "@effect/vitest"
import { ProjectFile } from "@rat/domain"
import { effectiveConfig } from "./EffectiveConfig.ts"
import { queueingOf } from "./Queueing.ts"

const said = (file: string, content: string) =>
  queueingOf(new ProjectFile({ path: `pipelines/silver/orders/${file}`, content }))

describe("What code says of its queueing", () => {
  it("is read from each file for itself, and only where it is said", () => {
    assert.deepStrictEqual(said("pipeline.sql", "-- @priority: -7\n-- @merge_strategy: append_only\nselect 1"), {
      priority: -7,
    })
    assert.deepStrictEqual(said("config.yaml", "concurrency_key: warehouse\nconcurrency_limit: 3\ndescription: x\n"), {
      concurrency_key: "warehouse",
      concurrency_limit: 3,
    })
    assert.deepStrictEqual(said("pipeline.sql", "select 1\n-- @priority: 5"), {})
    assert.deepStrictEqual(said("tests/quality/t.sql", "-- @priority: 5\nselect 1"), {})
  })

  it.each([
    ["priority: 101", /-100 .*100/],
    ["priority: 1.5", /whole number/],
    ["concurrency_key: Not a key", /lower-case/],
    ["concurrency_key: k\nconcurrency_limit: 0", /concurrency_limit/],
    ["concurrency_limit: 2", /no effect without concurrency_key/],
  ])("%j is refused with the reason", (yaml, reason) => {
    const { configIssues, codeIssues } = effectiveConfig("select 1", yaml)
    assert.deepStrictEqual(codeIssues, [])
    assert.match(configIssues.map((issue) => issue.message).join(), reason)
  })

  it("a limit may stand in one file and its key in the other", () => {
    const { configIssues, codeIssues } = effectiveConfig("-- @concurrency_limit: 2\nselect 1", "concurrency_key: k")
    assert.deepStrictEqual([...configIssues, ...codeIssues], [])
  })
})
