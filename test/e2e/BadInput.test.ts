import { assert, layer } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { assertSays, type Mistake, pushKept } from "../support/Mistake.ts"
import { assertForPeople, rejection } from "../support/Refusal.ts"
import { type TestNode, testNode } from "../support/TestNode.ts"

/** What people get wrong in their files and what the server sees without running any of it. */

class Node extends Context.Service<Node, TestNode>()("test/e2e/Node") {}

const use = <A>(act: (node: TestNode) => Promise<A>) => Effect.flatMap(Node, (node) => Effect.promise(() => act(node)))

const refusedAtPush: ReadonlyArray<Mistake> = [
  {
    name: "a key that does not exist, with the one that was meant",
    files: { "config.yaml": "description: x\nmerge_strateg: full_refresh\n" },
    says: ["silver/kept/config.yaml:2:1", '"merge_strateg"', 'Did you mean "merge_strategy"?'],
  },
  {
    name: "YAML that is none",
    files: { "config.yaml": "description: [a\nfoo: }\n" },
    says: ["silver/kept/config.yaml:2:", "Not valid YAML"],
  },
  {
    name: "YAML that is a list",
    files: { "config.yaml": "- a\n- b\n" },
    says: ["silver/kept/config.yaml:1:1", "key: value"],
  },
  {
    name: "values of the wrong type, all of them at once",
    files: { "config.yaml": "timeout_seconds: ten\ndescription: 5\nmemory_limit: lots\n" },
    says: [
      "config.yaml:1:1: timeout_seconds",
      "config.yaml:2:1: description",
      "config.yaml:3:1: memory_limit",
      "512MB",
    ],
  },
  {
    name: "strategies without what they need, and settings that belong to another one",
    files: { "config.yaml": "merge_strategy: incremental\npartition_column: day\n" },
    says: [
      "config.yaml:1:1: merge_strategy incremental needs unique_key",
      "config.yaml:2:1: partition_column belongs to merge_strategy snapshot",
    ],
  },
  {
    name: "an annotation that is mistyped",
    files: { "pipeline.sql": "-- @merge_strategy: apend_only\nselect 1 as a" },
    says: ["pipeline.sql:1:4", 'Did you mean "append_only"?'],
  },
  {
    name: "a template that does not parse",
    files: { "pipeline.sql": "select 1 as a\nfrom {{ this }\n" },
    says: [/pipeline\.sql:2:\d+: Template syntax/],
  },
  {
    name: "an undefined name in a template",
    files: { "pipeline.sql": "select 1 as a,\n  {{ nothere }} as b" },
    says: ["pipeline.sql:2:6", "`nothere` is not defined", "ref, landing_zone"],
  },
  {
    name: "an unknown function in a template",
    files: { "pipeline.sql": "select 1 as a,\n  {{ nofunc(1) }} as b" },
    says: ["pipeline.sql:2:6", "nofunc"],
  },
  {
    name: "a template that loops without end",
    files: {
      "pipeline.sql": "select 1 as a\n{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
    },
    says: ["pipeline.sql:2", "ran out of steps", "Shorten"],
  },
  {
    name: "SQL that does not parse",
    files: { "pipeline.sql": "{# first #}\nselect 1 as a\nform t" },
    says: ["pipeline.sql:3:1", 'syntax error at or near "form"'],
  },
  {
    name: "a quality test that does not parse",
    files: { "tests/quality/one.sql": "-- @severity: error\nselec * from {{ this }}" },
    says: ["tests/quality/one.sql:2:1", "syntax error"],
  },
  {
    name: "a quality test of unknown severity",
    files: { "tests/quality/one.sql": "-- @severity: fatal\nselect * from {{ this }}" },
    says: ["tests/quality/one.sql:1:4", "error or warn"],
  },
  {
    name: "a reference to a table that nobody makes",
    files: { "pipeline.sql": "select *\nfrom {{ ref('silver.kepd') }}" },
    says: ["pipeline.sql:2:9", "ref('silver.kepd')", 'Did you mean "silver.kept"?'],
  },
  {
    name: "a reference that is no name of a table",
    files: { "pipeline.sql": "select * from {{ ref('a.b.c.d') }}" },
    says: ["pipeline.sql:1:18", "'layer.name' or 'namespace.layer.name'"],
  },
  {
    name: "pipelines that read each other in a circle, with the way round",
    files: {
      "pipeline.sql": "select * from {{ ref('silver.other') }}",
      "pipelines/silver/other/pipeline.sql": "select * from {{ ref('silver.kept') }}",
    },
    says: ["silver.kept → silver.other → silver.kept", "Take one of the references out"],
  },
  {
    name: "a landing zone that is not there",
    files: { "pipeline.sql": "select * from read_csv('{{ landing_zone('absent') }}')" },
    says: ["pipeline.sql:1:28", "landing_zone('absent')", "rat upload --zone absent FILE"],
  },
  { name: "an empty file", files: { "pipeline.sql": "" }, says: ["pipeline.sql", "There is no SQL to execute"] },
  {
    name: "a file of comments",
    files: { "pipeline.sql": "-- later\n/* or never */\n" },
    says: ["pipeline.sql", "There is no SQL to execute"],
  },
  {
    name: "a pipeline in Python",
    files: { "pipelines/silver/snake/pipeline.py": "print(1)\n" },
    says: ["silver/snake/pipeline.py", "SQL"],
  },
]

layer(Layer.effect(Node, testNode({ store: "file" })), { excludeTestServices: true, timeout: "60 seconds" })(
  "a server",
  (it) => {
    it.effect.each(refusedAtPush)("refuses to take $name", ({ files, says }) =>
      use(async ({ client, dataFolder }) => {
        const before = await client.storage.list("default")
        const error = await rejection(pushKept(client, files))
        assert.strictEqual(error.status, 422)
        assertForPeople(error.message, dataFolder)
        assertSays(error.message, says)
        const { issues } = error.details as { issues: ReadonlyArray<{ path: string; line?: number; column?: number }> }
        // Each problem once.
        assert.lengthOf(new Set(issues.map((issue) => JSON.stringify(issue))), issues.length)
        assert.deepStrictEqual(await client.storage.list("default"), before)
      }),
    )
  },
)
