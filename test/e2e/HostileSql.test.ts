import { existsSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, layer } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { assertForPeople, rejection } from "../support/Refusal.ts"
import { type TestNode, testNode } from "../support/TestNode.ts"

/** Pipelines of people who want more than their run's own inputs. One slot: each run gets what the one before left. */

class Node extends Context.Service<Node, TestNode>()("test/e2e/Node") {}

const use = <A>(act: (node: TestNode) => Promise<A>) => Effect.flatMap(Node, (node) => Effect.promise(() => act(node)))

const stolen = join(tmpdir(), `rat-hostile-${process.pid}.csv`)

/** Statements that never get into a project, with a word of the reason. */
const refused: ReadonlyArray<readonly [name: string, sql: string, says: string]> = [
  ["COPY TO", `copy (select 1) to '${stolen}'`, "COPY reads and writes files"],
  ["COPY TO behind a comment", `/* x */ copy (select 1) to '${stolen}'; select 1 as a`, "COPY reads and writes files"],
  ["COPY TO as the second statement", `select 1 as a; copy (select 1) to '${stolen}'`, "COPY reads and writes files"],
  ["EXPORT", "export database '/tmp/x'; select 1 as a", "EXPORT"],
  ["ATTACH", "attach '/tmp/x.db' as x; select 1 as a", "ATTACH"],
  ["INSTALL", "install httpfs; select 1 as a", "Extensions"],
  ["LOAD", "load '/tmp/x.duckdb_extension'; select 1 as a", "Extensions"],
  ["SET", "set memory_limit = '100GB'; select 1 as a", "settings are fixed"],
  ["SET of the file access", "set enable_external_access = true; select 1 as a", "settings are fixed"],
  ["RESET", "reset lock_configuration; select 1 as a", "settings are fixed"],
  ["PRAGMA", "pragma threads = 100; select 1 as a", "settings are fixed"],
  ["USE", "use system; select 1 as a", "USE"],
  ["CREATE SECRET", "create secret s (type s3, key_id 'x'); select 1 as a", "Secrets"],
  ["getenv", "select getenv('PATH') as p", "getenv()"],
  ["getenv in a CTE", "with x as (select getenv('HOME') as p) select * from x", "getenv()"],
  ["the engine's settings", "select * from duckdb_settings()", "duckdb_settings()"],
  ["the engine's secrets", "select * from duckdb_secrets()", "duckdb_secrets()"],
  ["text that becomes SQL", "select * from query('select 1')", "query()"],
  ["transactions", "commit; select 1 as a", "Transactions"],
]

/** Statements that only the engine can judge; `%data%` is the server's data folder. */
const denied: ReadonlyArray<readonly [name: string, sql: string]> = [
  ["a file of the machine", "select * from read_csv('/etc/passwd')"],
  ["a file of the machine as text", "select content from read_text('/etc/passwd')"],
  ["a file of the machine by replacement scan", "select * from '/etc/hosts.csv'"],
  ["a folder of the machine", "select * from glob('/etc/*')"],
  ["the environment of the process", "select content from read_text('/proc/self/environ')"],
  ["a way out of its landing zone", "select * from read_text('{{ landing_zone('drop') }}/../../../../../../rat.lock')"],
  ["the slots' folders", "select * from glob('{{ landing_zone('drop') }}/../../../../../**')"],
  ["another namespace's data files", "select * from read_parquet('%data%/store/other/silver/secret/data/*.parquet')"],
  ["code of others", "select * from glob('%data%/store/blobs/**')"],
  ["the password of the database", "select content from read_text('%data%/postgres/password')"],
  ["an address on the network", "select * from read_csv('http://127.0.0.1:1/x.csv')"],
  ["an object store", "select * from read_parquet('s3://bucket/x.parquet')"],
  ["another namespace's table without ref()", "select * from other.silver.secret"],
  ["its own upstream without ref()", "select * from silver.plain"],
]

const nodeWithData = Layer.effect(
  Node,
  Effect.gen(function* () {
    const node = yield* testNode({ store: "file", environment: { RAT_RUNNER_SLOTS: "1" } })
    yield* Effect.promise(async () => {
      const { client } = node
      await client.namespaces.create("other")
      for (const [namespace, name] of [
        ["other", "secret"],
        ["default", "plain"],
      ] as const) {
        await client.projects.push(namespace, {
          files: [{ path: `pipelines/silver/${name}/pipeline.sql`, content: "select 'classified' as word" }],
          landing_zones: ["drop"],
        })
        const { run_id } = await client.runs.create({ namespace, layer: "silver", pipeline: name })
        assert.strictEqual((await client.runs.wait(run_id)).error, null)
      }
      await client.landing.upload("default", "drop", "a.csv", new Blob(["a\n1\n"]))
    })
    return node
  }),
)

const runOf = async ({ client }: TestNode, sql: string) => {
  await client.projects.push("default", {
    files: [
      { path: "pipelines/gold/hostile/pipeline.sql", content: sql },
      // One table for all of them, whatever columns each has.
      { path: "pipelines/gold/hostile/config.yaml", content: "allow_destructive_changes: true" },
    ],
  })
  const { run_id } = await client.runs.create({ namespace: "default", layer: "gold", pipeline: "hostile" })
  return await client.runs.wait(run_id)
}

layer(nodeWithData, { excludeTestServices: true, timeout: "60 seconds" })("a pipeline", (it) => {
  it.effect.each(refused)("may not hold %s", ([, sql, says]) =>
    use(async ({ client, dataFolder }) => {
      const files = [{ path: "pipelines/gold/hostile/pipeline.sql", content: sql }]
      const error = await rejection(client.projects.push("default", { files }))
      assert.strictEqual(error.status, 422)
      assert.match(error.message, /gold\/hostile\/pipeline\.sql:1:\d+: /)
      assert.include(error.message, says)
      assertForPeople(error.message, dataFolder)
      assert.isFalse(existsSync(stolen))
    }),
  )

  it.effect.each(denied)("cannot read %s", ([, sql]) =>
    use(async (node) => {
      const run = await runOf(node, sql.replaceAll("%data%", node.dataFolder))
      assert.strictEqual(run.status, "failed")
      const error = run.error ?? ""
      assert.match(error, /gold\/hostile\/pipeline\.sql(:1:\d+)?: (Cannot access|.*does not exist)/)
      assert.notInclude(error, "classified")
      // It may quote the text that was sent, and nothing beside it.
      assertForPeople(error.replaceAll(node.dataFolder, ""), node.dataFolder)
    }),
  )

  it.effect("leaves nothing behind for the next one: no table, macro, variable or type", () =>
    use(async (node) => {
      const made = await runOf(
        node,
        `create table leak as select 'mine' as v;
         create schema left_over; create table left_over.t as select 1 as a;
         create macro spy(x) as 'mine';
         create type mood as enum ('mine');
         set variable leak = 'mine';
         select v, spy(1) as s, getvariable('leak') as g, 'mine'::mood::varchar as m from leak`,
      )
      assert.strictEqual(made.error, null)
      for (const sql of [
        "select * from leak",
        "select * from left_over.t",
        "select spy(1) as a",
        "select 'x'::mood as a",
      ])
        assert.strictEqual((await runOf(node, sql)).status, "failed", sql)
      const variable = await runOf(node, "select coalesce(getvariable('leak')::varchar, 'nothing') as g")
      assert.strictEqual(variable.error, null)
      const { rows } = await node.client.query.arrays("select g from gold.hostile")
      assert.deepStrictEqual(rows, [["nothing"]])
    }),
  )

  it.effect("cannot fill the log or the answer with its error", () =>
    use(async (node) => {
      const run = await runOf(node, "select error(repeat('x', 20000000)) as a")
      assert.strictEqual(run.status, "failed")
      assert.isBelow((run.error ?? "").length, 20_000)
      const { logs } = await node.client.runs.logs(run.id)
      assert.isBelow(JSON.stringify(logs).length, 50_000)
    }),
  )

  it.effect("cannot make its quality results larger than anybody reads", () =>
    use(async (node) => {
      const { client } = node
      await client.projects.push("default", {
        files: [
          { path: "pipelines/gold/wide/pipeline.sql", content: "select repeat('x', 3000000) as a from range(20)" },
          {
            path: "pipelines/gold/wide/tests/quality/all.sql",
            content: "-- @severity: error\nselect * from {{ this }}",
          },
        ],
      })
      const { run_id } = await client.runs.create({ namespace: "default", layer: "gold", pipeline: "wide" })
      const run = await client.runs.wait(run_id)
      assert.strictEqual(run.status, "failed")
      assert.include(run.error ?? "", "all: 20 violating row(s)")
      const quality = await client.runs.quality(run_id)
      assert.isBelow(JSON.stringify(quality).length, 200_000)
    }),
  )

  it.effect("may have columns of any name", () =>
    use(async (node) => {
      const names = [`a'b"c`, "x*y", "ü/ö", "select", " ", "a.b", "{{x}}", "%s", "$1", "a;b", "--"]
      const quoted = names.map((name) => `"${name.replaceAll('"', '""').replaceAll("{{", "{{ '{{' }}")}"`)
      const run = await runOf(node, `select ${quoted.map((name, index) => `${index} as ${name}`).join(", ")}`)
      assert.strictEqual(run.error, null)
      const answer = await node.client.query.arrays("select * from gold.hostile")
      assert.deepStrictEqual(
        answer.columns.map(({ name }) => name),
        names,
      )
      assert.deepStrictEqual(answer.rows, [names.map((_, index) => index)])
    }),
  )
})
