import { assert, describe, it } from "@effect/vitest"
import { defaultPipelineConfig, retryPolicyOf } from "@rat/domain"
import { effectiveConfig } from "./EffectiveConfig.ts"

const issuesOf = (code: string, yaml: string | null = null) => {
  const { codeIssues, configIssues } = effectiveConfig(code, yaml)
  return [...configIssues, ...codeIssues]
}

describe("The settings of a pipeline", () => {
  it("are the defaults when nobody says anything", () => {
    const { config } = effectiveConfig("select 1", null)
    assert.deepStrictEqual({ ...config }, { ...defaultPipelineConfig })
    assert.strictEqual(config.merge_strategy, "full_refresh")
    assert.strictEqual(config.on_schema_change, "evolve")
    assert.isFalse(config.allow_destructive_changes)
    assert.isNull(config.partition_by)
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

  it("say when and how often a run is tried again", () => {
    const { config } = effectiveConfig(
      "-- @max_retries: 3\n-- @retry_delay_seconds: 0.5\n-- @retry_jitter: 0\nselect 1",
      "max_retries: 1\nretry_multiplier: 1.5\nretry_max_delay_seconds: 60\n",
    )
    assert.deepStrictEqual(
      { ...retryPolicyOf(config) },
      { maxRetries: 3, delaySeconds: 0.5, multiplier: 1.5, maxDelaySeconds: 60, jitter: 0 },
    )
    assert.include({ ...retryPolicyOf(defaultPipelineConfig) }, { maxRetries: 0, delaySeconds: 30 })
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

  it("are read the same from lists, from words with commas and from annotations", () => {
    const lists = effectiveConfig(
      "select 1",
      `merge_strategy: incremental
unique_key: [id, "Odd, name"]
partition_by:
  - {column: at, transform: DAY}
  - bucket[16](id)
  - country
sort_by:
  - {column: at, direction: desc}
  - id
renamed_columns: {a: b}
column_defaults: {country: DE, n: 1}
columns:
  - {name: id, description: The key}
maintenance: {enabled: false}
format_version: 3
target_file_size: 64MiB
`,
    )
    const header = effectiveConfig(
      `-- @merge_strategy: incremental
-- @unique_key: id, "Odd, name"
-- @partition_by: day(at), bucket(16, id), country
-- @sort_by: at desc nulls last, id
-- @renamed_columns: a: b
-- @column_defaults: {country: DE, n: 1}
-- @columns: id: The key
-- @maintenance: enabled: false
-- @format_version: 3
-- @target_file_size: 64MiB
select 1`,
      null,
    )
    for (const { codeIssues, configIssues } of [lists, header])
      assert.deepStrictEqual([...codeIssues, ...configIssues], [])
    assert.deepStrictEqual({ ...header.config }, { ...lists.config })
    assert.deepStrictEqual(lists.config.unique_key, ["id", "Odd, name"])
    assert.deepStrictEqual(lists.config.partition_by, [
      { column: "at", transform: "day" },
      { column: "id", transform: "bucket[16]" },
      { column: "country", transform: "identity" },
    ])
    assert.deepStrictEqual(lists.config.sort_by, [
      { column: "at", direction: "desc", nulls: "last" },
      { column: "id", direction: "asc", nulls: "last" },
    ])
    assert.deepStrictEqual(lists.config.maintenance, { enabled: false })
    assert.strictEqual(lists.config.target_file_size_bytes, 64 * 2 ** 20)
  })

  it("may be split over both files: the strategy here, its key there", () => {
    assert.deepStrictEqual(issuesOf("-- @merge_strategy: scd2\nselect 1", "unique_key: id\nscd_valid_to: until\n"), [])
    const [issue] = issuesOf("\n-- @merge_strategy: scd2\nselect 1", "description: x\n")
    assert.deepStrictEqual([issue?.code, issue?.line], ["annotation.strategy", 2])
    const [repeated] = issuesOf("-- @unique_key: id, ID\nselect 1")
    assert.deepStrictEqual([repeated?.code, repeated?.line], ["annotation.strategy", 1])
  })

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
      "a strategy without its key, at the strategy",
      "description: x\nmerge_strategy: incremental\n",
      "config.strategy",
      [2, 1],
      /incremental needs unique_key/,
    ],
    ["scd2 without a key", "merge_strategy: scd2\n", "config.strategy", [1, 1], /scd2 needs unique_key/],
    ["snapshot without its column", "merge_strategy: snapshot\n", "config.strategy", [1, 1], /needs partition_column/],
    [
      "deduplication without a key",
      "dedup: true\nmerge_strategy: append_only\n",
      "config.strategy",
      [2, 1],
      /dedup: true needs unique_key/,
    ],
    [
      "a key that names a column twice",
      "merge_strategy: incremental\nunique_key: [id, ID]\n",
      "config.strategy",
      [1, 1],
      /"ID" twice/,
    ],
    [
      "history columns of one name",
      "merge_strategy: scd2\nunique_key: id\nscd_valid_from: at\nscd_valid_to: At\n",
      "config.strategy",
      [1, 1],
      /different names/,
    ],
    ["a key that names nothing", "unique_key: []\n", "config.invalid_value", [1, 1], /is empty/],
    ["a key with a hole", "unique_key: 'a,,b'\n", "config.invalid_value", [1, 1], /no name of one/],
    [
      "a setting of another strategy",
      "partition_column: d\n",
      "config.unused",
      [1, 1],
      /belongs to merge_strategy snapshot/,
    ],
    ["history settings without scd2", "scd_valid_from: x\n", "config.unused", [1, 1], /belongs to merge_strategy scd2/],
    [
      "a transform that does not exist",
      "partition_by: [dy(ts)]\n",
      "config.invalid_value",
      [1, 1],
      /Did you mean "day"/,
    ],
    ["buckets without a number", "partition_by: [bucket(id)]\n", "config.invalid_value", [1, 1], /no transform/],
    ["no buckets", "partition_by: ['bucket[0](id)']\n", "config.invalid_value", [1, 1], /no transform/],
    [
      "partitioning without a column",
      "partition_by: [{transform: day}]\n",
      "config.invalid_value",
      [1, 1],
      /needs a column/,
    ],
    [
      "an unknown key of a partition field",
      "partition_by: [{column: a, tranform: day}]\n",
      "config.invalid_value",
      [1, 1],
      /unknown key "tranform"/,
    ],
    ["a bracket left open", "partition_by: day(ts\n", "config.invalid_value", [1, 1], /neither a column nor/],
    ["an order that is none", "sort_by: [{column: a, direction: up}]\n", "config.invalid_value", [1, 1], /asc or desc/],
    ["a word that is no truth", "dedup: perhaps\n", "config.invalid_value", [1, 1], /true or false/],
    ["another way to change", "on_schema_change: sync\n", "config.invalid_value", [1, 1], /evolve or fail or ignore/],
    ["another version", "format_version: 4\n", "config.invalid_value", [1, 1], /2 or 3/],
    ["files too small", "target_file_size: 1KB\n", "config.invalid_value", [1, 1], /at least 65536/],
    ["renames to nothing", "renamed_columns: {a: }\n", "config.invalid_value", [1, 1], /new name/],
    ["two renames to one name", "renamed_columns: {a: c, b: C}\n", "config.invalid_value", [1, 1], /cannot both/],
    ["a list of renames", "renamed_columns: [a, b]\n", "config.invalid_value", [1, 1], /old_name: new_name/],
    ["a default of nothing", "column_defaults: {a: null}\n", "config.invalid_value", [1, 1], /has no value/],
    ["what nothing reads of a column", "columns: {a: {tests: [unique]}}\n", "config.invalid_value", [1, 1], /"tests"/],
    ["a column without a name", "columns: [{description: x}]\n", "config.invalid_value", [1, 1], /needs a name/],
    [
      "a policy's unknown key",
      "maintenance: {enable: true}\n",
      "config.invalid_value",
      [1, 1],
      /Did you mean "enabled"/,
    ],
    [
      "a policy's bad value",
      "maintenance: {every_hours: 0}\n",
      "config.invalid_value",
      [1, 1],
      /every_hours cannot be 0/,
    ],
    [
      "archive_landing_zones",
      "archive_landing_zones: true\n",
      "config.not_available",
      [1, 1],
      /stay in their landing zone/,
    ],
    ["a part of a retry", "max_retries: 1.5\n", "config.invalid_value", [1, 1], /whole number from 0 to 100, not 1\.5/],
    ["too many retries", "max_retries: 101\n", "config.invalid_value", [1, 1], /from 0 to 100/],
    ["a delay with a unit", "retry_delay_seconds: 3s\n", "config.invalid_value", [1, 1], /from 0 to 86400, not "3s"/],
    ["a delay before the failure", "retry_delay_seconds: -1\n", "config.invalid_value", [1, 1], /from 0 to 86400/],
    ["delays that shrink", "retry_multiplier: 0.5\n", "config.invalid_value", [1, 1], /from 1 to 100/],
    ["a longest delay of more than a day", "retry_max_delay_seconds: 90000\n", "config.invalid_value", [1, 1], /86400/],
    ["more jitter than there is delay", "retry_jitter: 2\n", "config.invalid_value", [1, 1], /from 0 to 1/],
    ["a delay that is no number", "retry_delay_seconds: .nan\n", "config.invalid_value", [1, 1], /must be a number/],
    ["variables of the ancestor", "vars: {a: 1}\n", "config.not_available", [1, 1], /rat run --param/],
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
    const issues = issuesOf("-- @dedup: a\n-- @timeout_seconds: soon\nselect 1", "foo: 1\nskip_hooks: true\n")
    assert.deepStrictEqual(
      issues.map(({ code, line }) => [code, line]),
      [
        ["config.unknown_key", 1],
        ["config.not_available", 2],
        ["annotation.invalid_value", 1],
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
