import { assert, describe, it } from "@effect/vitest"
import { effectiveConfig } from "./EffectiveConfig.ts"

const issuesOf = (code: string, yaml: string | null = null) => {
  const { codeIssues, configIssues } = effectiveConfig(code, yaml)
  return [...configIssues, ...codeIssues]
}

describe("The settings of a pipeline", () => {
  it("are the defaults when nobody says anything", () => {
    const { config } = effectiveConfig("select 1", null)
    assert.deepStrictEqual(
      { ...config },
      {
        description: "",
        materialized: "table",
        merge_strategy: "full_refresh",
        watermark_column: null,
        memory_limit_bytes: null,
        timeout_seconds: null,
      },
    )
  })

  it("come from annotations before config.yaml before the defaults, each for itself", () => {
    const { config } = effectiveConfig(
      "-- @merge_strategy: append_only\n-- @timeout_seconds: 60\nselect 1",
      "merge_strategy: full_refresh\nwatermark_column: at\nmemory_limit: 512MB\n",
    )
    assert.strictEqual(config.merge_strategy, "append_only")
    assert.strictEqual(config.timeout_seconds, 60)
    assert.strictEqual(config.watermark_column, "at")
    assert.strictEqual(config.memory_limit_bytes, 512_000_000)
  })

  const good: ReadonlyArray<readonly [sentence: string, yaml: string]> = [
    ["an empty file", ""],
    ["a file of comments", "# nothing\n"],
    ["a document marker", "---\ndescription: x\n"],
    ["text in quotes", "description: 'a: b'\n"],
    ["upper-case keys", "Merge_Strategy: append_only\n"],
    ["materialized: table", "materialized: table\n"],
    ["memory in binary units", "memory_limit: 2GiB\n"],
  ]
  for (const [sentence, yaml] of good) {
    it(`accept ${sentence}`, () => assert.deepStrictEqual(issuesOf("select 1", yaml), []))
  }

  const bad: ReadonlyArray<
    readonly [sentence: string, yaml: string, code: string, place: [number, number], text: RegExp]
  > = [
    [
      "an unknown key, and say which one was meant",
      "merge_stategy: append_only\n",
      "config.unknown_key",
      [1, 1],
      /Did you mean "merge_strategy"\?/,
    ],
    [
      "an unknown key that is near nothing",
      "a: 1\nzzzzzz: 1\n",
      "config.unknown_key",
      [1, 1],
      /There are: description/,
    ],
    [
      "an unknown strategy, and say which one was meant",
      "merge_strategy: fullrefresh\n",
      "config.invalid_value",
      [1, 1],
      /Did you mean "full_refresh"\?/,
    ],
    [
      "a strategy that is not built",
      "merge_strategy: incremental\n",
      "config.not_available",
      [1, 1],
      /incremental is not available yet/,
    ],
    ["scd2", "merge_strategy: scd2\n", "config.not_available", [1, 1], /scd2 is not available yet/],
    ["unique_key", "unique_key: id\n", "config.not_available", [1, 1], /Nothing reads unique_key yet/],
    ["unique_key as a list", "unique_key: [a, b]\n", "config.not_available", [1, 1], /Nothing reads unique_key yet/],
    [
      "partition_by",
      "partition_by:\n  - column: a\n    transform: day\n",
      "config.not_available",
      [1, 1],
      /Partitioned tables/,
    ],
    ["partition_column", "partition_column: d\n", "config.not_available", [1, 1], /snapshot/],
    ["scd_valid_from", "scd_valid_from: x\n", "config.not_available", [1, 1], /scd2/],
    [
      "archive_landing_zones",
      "archive_landing_zones: true\n",
      "config.not_available",
      [1, 1],
      /stay in their landing zone/,
    ],
    [
      "max_retries",
      "description: x\nmax_retries: 3\n",
      "config.not_available",
      [2, 1],
      /Nothing reads max_retries yet/,
    ],
    ["retry_delay_seconds", "retry_delay_seconds: 3\n", "config.not_available", [1, 1], /Remove the key/],
    ["a view", "materialized: view\n", "config.not_available", [1, 1], /view is not available yet/],
    ["another materialization", "materialized: cube\n", "config.invalid_value", [1, 1], /must be table/],
    ["a strategy that is no word", "merge_strategy: 3\n", "config.invalid_value", [1, 1], /3 does not exist/],
    ["a time limit of nothing", "timeout_seconds: 0\n", "config.invalid_value", [1, 1], /above 0/],
    ["a time limit with a unit", "timeout_seconds: 5m\n", "config.invalid_value", [1, 1], /whole number of seconds/],
    ["a size that is no number", "memory_limit: [1]\n", "config.invalid_value", [1, 1], /512MB/],
    ["a size without sense", "memory_limit: lots\n", "config.invalid_value", [1, 1], /512MB/],
    ["an empty watermark column", "watermark_column: ''\n", "config.invalid_value", [1, 1], /is empty/],
    ["a list where text belongs", "description: [a]\n", "config.invalid_value", [1, 1], /must be text/],
    ["a key given twice", "description: a\ndescription: b\n", "config.syntax", [2, 1], /twice/],
    ["a list instead of keys", "- a\n- b\n", "config.syntax", [1, 1], /key: value/],
    ["YAML that does not parse", "description: [a\nmerge_strategy: x\n", "config.syntax", [2, 1], /Not valid YAML/],
  ]
  for (const [sentence, yaml, code, [line, column], text] of bad) {
    it(`refuse ${sentence}`, () => {
      const [issue] = issuesOf("select 1", yaml)
      assert.strictEqual(issue?.code, code)
      assert.deepStrictEqual([issue?.line, issue?.column], [line, column])
      assert.match(issue?.message ?? "", text)
    })
  }

  it("are all checked, not only up to the first problem", () => {
    const issues = issuesOf("-- @unique_key: a\n-- @timeout_seconds: soon\nselect 1", "foo: 1\nmax_retries: 1\n")
    assert.deepStrictEqual(
      issues.map(({ code, line }) => [code, line]),
      [
        ["config.unknown_key", 1],
        ["config.not_available", 2],
        ["annotation.not_available", 1],
        ["annotation.invalid_value", 2],
      ],
    )
  })

  it("take no key from the prototype of objects", () => {
    assert.deepStrictEqual(
      issuesOf("select 1", "constructor: 1\n__proto__: 1\n").map(({ code }) => code),
      ["config.unknown_key", "config.unknown_key"],
    )
  })
})
