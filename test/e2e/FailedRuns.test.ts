import { assert, layer } from "@effect/vitest"
import type { RatClient } from "@rat/client"
import { Context, Effect, Layer } from "effect"
import { assertSays, goodSql, type Mistake, pushKept } from "../support/Mistake.ts"
import { runPipeline } from "../support/Pipelines.ts"
import { assertForPeople } from "../support/Refusal.ts"
import { type TestNode, testNode } from "../support/TestNode.ts"

/** What people get wrong and only a run finds out. Its message says what, where and what to do, and main is as it was. */

class Node extends Context.Service<Node, TestNode>()("test/e2e/Node") {}

const use = <A>(act: (node: TestNode) => Promise<A>) => Effect.flatMap(Node, (node) => Effect.promise(() => act(node)))

const failedRuns: ReadonlyArray<Mistake> = [
  {
    name: "a function that SQL does not have",
    files: { "pipeline.sql": "select 1 as a,\n  nofunction(2) as b" },
    says: ["silver/kept/pipeline.sql:2:3", "nofunction"],
  },
  {
    name: "a value that cannot be cast, at its line in the template",
    files: {
      "pipeline.sql":
        "{# about #}\n{% if true %}\nselect id,\n  cast(v as integer) as n\nfrom (values (1,'1'), (2,'{{ 'x' }}')) t(id, v)\n{% endif %}",
    },
    says: ["silver/kept/pipeline.sql:4:3", "Could not convert string 'x'", "4 |   cast(v as integer) as n"],
  },
  {
    name: "an error that the engine gives no place for, with the file at least",
    files: { "pipeline.sql": "select 100::tinyint + 100::tinyint as a" },
    says: ["silver/kept/pipeline.sql: ", "Overflow"],
  },
  {
    name: "a column whose type changed on append_only",
    files: { "config.yaml": "merge_strategy: append_only", "pipeline.sql": "select 'x' as id, 'y' as label" },
    says: ["default.silver.kept", '"id"', "BIGINT", "VARCHAR"],
  },
  {
    name: "a new column where columns may not change",
    files: {
      "config.yaml": "merge_strategy: append_only\non_schema_change: fail",
      "pipeline.sql": `select *, 1 as extra from (${goodSql})`,
    },
    says: ["default.silver.kept", '"extra"', "on_schema_change"],
  },
  {
    name: "two columns of one name",
    files: { "pipeline.sql": "select 1 as a, 2 as a" },
    says: ["default.silver.kept", 'column "a" appears more than once', "as"],
  },
  {
    name: "a type that tables cannot hold",
    files: { "pipeline.sql": "select interval 1 day as v" },
    says: ["default.silver.kept", 'column "v"', "INTERVAL", "VARCHAR"],
  },
  {
    name: "a landing zone without files",
    files: { "pipeline.sql": "select * from read_csv('{{ landing_zone('nofiles') }}')" },
    says: ["landing_zone('nofiles')", "no files", "rat upload --zone nofiles FILE"],
  },
  {
    name: "CSV that does not parse, with file, line and column",
    files: {
      "pipeline.sql": `select *\nfrom read_csv('{{ landing_zone('badcsv') }}',\n  columns = {'id': 'INTEGER', 'amount': 'DOUBLE'})`,
    },
    says: [/landing\/badcsv\/\d{8}_\d{6}_orders\.csv:3:3/, '"abc"', "Read at pipelines/silver/kept/pipeline.sql"],
  },
  {
    name: "Parquet that is none",
    files: { "pipeline.sql": "select * from read_parquet('{{ landing_zone('badparquet') }}')" },
    says: [/landing\/badparquet\/\d{8}_\d{6}_p\.parquet: the file is not Parquet/, "Read at pipelines/silver/kept"],
  },
  {
    name: "JSON that does not parse",
    files: { "pipeline.sql": "select * from read_json('{{ landing_zone('badjson') }}')" },
    says: [/landing\/badjson\/\d{8}_\d{6}_j\.json:\d+/, "does not parse as JSON"],
  },
  {
    name: "more memory than the pipeline may have",
    files: {
      "config.yaml": "memory_limit: 64MB\nallow_destructive_changes: true",
      "pipeline.sql": "select list(i) as l, list(i::varchar) as m from range(100000000) t(i)",
    },
    says: ["silver/kept/pipeline.sql", "61 MiB of memory", "memory_limit"],
  },
  {
    name: "more time than the pipeline may take",
    files: {
      "config.yaml": "timeout_seconds: 1\nallow_destructive_changes: true",
      "pipeline.sql": "select count(*) as n from range(1000000000) a, range(1000000) b",
    },
    says: ["stopped after 1 s", "timeout_seconds"],
  },
  {
    name: "a test of severity error that finds something",
    files: {
      "tests/quality/few.sql":
        "-- @severity: error\n-- @description: no id above 1\n-- @remediation: ask the source\nselect * from {{ this }} where id > 1",
    },
    says: ["few: 1 violating row(s) (no id above 1)", "ask the source", "branch"],
  },
  {
    name: "a test that is itself wrong",
    files: { "tests/quality/few.sql": "-- @severity: error\nselect *\nfrom {{ this }} where nocol > 2" },
    says: ["few could not run", "tests/quality/few.sql:3:23", '"nocol"'],
  },
]

/** The table as anybody sees it on main. */
const onMain = async (client: RatClient) => {
  const { snapshot_id, row_count } = await client.tables.get("default", "silver", "kept")
  const { rows } = await client.query.arrays("select id, label from silver.kept order by id")
  return { snapshot_id, row_count, rows }
}

const withGoodTable = Layer.effect(
  Node,
  Effect.gen(function* () {
    const node = yield* testNode({ store: "file" })
    yield* Effect.promise(async () => {
      const { client } = node
      const zones = { badcsv: "orders.csv", badparquet: "p.parquet", badjson: "j.json" } as const
      const contents = {
        badcsv: "id,amount\n1,2.5\n2,abc\n",
        badparquet: "this has never been Parquet",
        badjson: '{"a": 1}\n{"a": \n',
      } as const
      await pushKept(client, {}, [...Object.keys(zones), "nofiles"])
      for (const zone of ["badcsv", "badparquet", "badjson"] as const)
        await client.landing.upload("default", zone, zones[zone], new Blob([contents[zone]]))
      assert.strictEqual((await runPipeline(client, "kept")).error, null)
    })
    return node
  }),
)

layer(withGoodTable, { excludeTestServices: true, timeout: "60 seconds" })("a server", (it) => {
  it.effect.each(failedRuns)("fails a run because of $name, and leaves main alone", ({ files, says }) =>
    use(async ({ client, dataFolder }) => {
      const before = await onMain(client)
      // The cases are about other mistakes than columns that go, unless they say so.
      await pushKept(client, { "config.yaml": "allow_destructive_changes: true", ...files })
      const ended = await runPipeline(client, "kept")
      assert.strictEqual(ended.status, "failed")
      assert.isNull(ended.snapshot_id)
      assertForPeople(ended.error ?? "", dataFolder)
      assertSays(ended.error ?? "", says)
      assert.deepStrictEqual(await onMain(client), before)
      // What was written can be looked at; what was not is what main has.
      const branch = ended.branch ?? assert.fail("the run's branch is gone")
      const there = await client.query.arrays({ sql: "select count(*)::integer from silver.kept", branch })
      assert.deepStrictEqual(there.rows, [[3]])
      const { logs } = await client.runs.logs(ended.id)
      assert.strictEqual(logs.at(-1)?.level, "error")
      for (const { message } of logs) assertForPeople(message, dataFolder)
    }),
  )

  it.effect("appends a result that lacks a column of the table, and says so", () =>
    use(async ({ client }) => {
      const save = (content: string) =>
        client.projects.push("default", {
          files: [
            { path: "pipelines/gold/lacking/pipeline.sql", content },
            { path: "pipelines/gold/lacking/config.yaml", content: "merge_strategy: append_only" },
          ],
        })
      const next = async () => {
        const { run_id } = await client.runs.create({ namespace: "default", layer: "gold", pipeline: "lacking" })
        const ended = await client.runs.wait(run_id)
        assert.deepStrictEqual([ended.status, ended.error], ["success", null])
        return await client.runs.logs(run_id)
      }
      await save("select 1 as id, 'a' as label")
      await next()
      await save("select 2 as id")
      const { logs } = await next()
      assert.deepStrictEqual(
        logs.filter(({ level }) => level === "warn").map(({ message }) => message),
        ['The result lacks "label" of the table: NULL in the rows of this run.'],
      )
      const { rows } = await client.query.arrays("select id, label from gold.lacking order by id")
      assert.deepStrictEqual(rows, [
        [1, "a"],
        [2, null],
      ])
    }),
  )

  it.effect("publishes a result without rows as what it is", () =>
    use(async ({ client }) => {
      await client.projects.push("default", {
        files: [{ path: "pipelines/gold/none/pipeline.sql", content: "select 1 as a where false" }],
      })
      const { run_id } = await client.runs.create({ namespace: "default", layer: "gold", pipeline: "none" })
      const ended = await client.runs.wait(run_id)
      assert.deepStrictEqual([ended.status, ended.rows_written], ["success", 0])
      const answer = await client.query.arrays("select * from gold.none")
      assert.deepStrictEqual([answer.columns.map(({ name }) => name), answer.rows], [["a"], []])
    }),
  )
})
