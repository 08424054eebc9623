import { existsSync, readdirSync } from "node:fs"
import { join } from "node:path"
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { ask, publish, refusal, rows, TestQuery } from "./TestQuery.ts"

/** Through the whole role: what the engine's own suite tries (lakehouse, `engine/Lockdown.test.ts`) and what only a role can get wrong. */
layer(TestQuery.layer({ slots: 1, threads: 1 }), { excludeTestServices: true })("Lockdown of the query role", (it) => {
  const prepare = Effect.gen(function* () {
    yield* publish("mine.silver.orders", "select 1 as id, 'mine' as text")
    yield* publish("other.silver.orders", "select 2 as id, 'theirs' as text")
    const { folder } = yield* TestQuery
    const store = join(folder, "store")
    const files = (readdirSync(store, { recursive: true }) as Array<string>).filter((name) => name.endsWith(".parquet"))
    const fileOf = (namespace: string) => join(store, files.find((name) => name.startsWith(`${namespace}/`))!)
    const pool = readdirSync(join(folder, "slots")).find((name) => name.startsWith("query."))!
    return { mine: fileOf("mine"), theirs: fileOf("other"), store, slots: join(folder, "slots", pool) }
  })

  it.effect("every attack on a query is refused with a reason, and nothing of it is left", () =>
    Effect.gen(function* () {
      const { mine, theirs, store, slots } = yield* prepare
      const attacks = [
        "select * from read_text('/etc/passwd')",
        "select * from '/etc/passwd'",
        "select * from glob('/etc/*')",
        `select * from read_parquet('${theirs}')`,
        `select * from '${theirs}'`,
        `select * from "${theirs}"`,
        `select * from read_parquet('${mine}')`,
        `select * from read_parquet('${store}/**/*.parquet')`,
        `select * from silver.orders union all select * from read_parquet('${slots}/1/in/*')`,
        `select * from silver.orders union all select * from '${slots}/1/in/*.parquet'`,
        "select * from other.silver.orders",
        'select * from "other"."silver"."orders"',
        'select * from "other" /* x */ . silver . orders',
        "select * from 'other.silver.orders'",
        "select * from query_table('other.silver.orders')",
        "select * from query('select * from other.silver.orders')",
        "select * from read_csv('https://example.com/data.csv')",
        "select * from 'https://example.com/data.parquet'",
        "select * from 's3://bucket/data.parquet'",
        "attach ':memory:' as x",
        `attach '${store}/x.db' as x`,
        "install httpfs",
        "load httpfs",
        "copy (select 1) to '/tmp/rat-evil.csv'",
        `copy (select 1) to '${slots}/1/out/x.csv'`,
        "export database '/tmp/rat-evil'",
        "set memory_limit = '1TB'",
        "pragma threads = 64",
        "use other",
        "call enable_logging()",
        "select 1; select 2",
        "select 1) to '/tmp/rat-evil.csv' (format csv) --",
        "select 1) as x; drop table y; select * from (select 2",
        "explain analyze copy (select 1) to '/tmp/rat-evil.csv'",
        "create table t as select 1",
        "insert into silver.orders values (3, 'x')",
        "delete from silver.orders",
        "drop view silver.orders",
        "prepare p as select 1",
        "select getenv('HOME')",
        "select current_setting('memory_limit')",
        "select * from duckdb_settings()",
        "select * from duckdb_secrets()",
        "select * from duckdb_logs",
      ]
      for (const format of ["arrays", "parquet"] as const) {
        for (const sql of attacks) {
          const error = yield* refusal({ sql, namespace: "mine", format })
          assert.include(["QueryForbidden", "QueryInvalid"], error._tag, sql)
          assert.notMatch(error.message, /theirs|root:/, sql)
          assert.isAbove(error.message.length, 15, sql)
        }
      }
      assert.isFalse(existsSync("/tmp/rat-evil.csv"))
      assert.deepStrictEqual(yield* rows({ sql: "from silver.orders", namespace: "mine" }), [[1, "mine"]])
    }),
  )

  it.effect("a query sees only tables of its namespace in every list of tables", () =>
    Effect.gen(function* () {
      yield* prepare
      for (const sql of [
        "show tables",
        "show all tables",
        "select * from information_schema.tables",
        "select * from information_schema.columns",
        "select * from duckdb_tables()",
        "select * from duckdb_columns() where not internal",
        "select * from duckdb_databases()",
      ]) {
        const text = (yield* ask({ sql, namespace: "mine" })).body.toString()
        assert.include(text, sql.includes("databases") ? "mine" : "orders", sql)
        assert.notInclude(text, "other", sql)
      }
    }),
  )

  it.effect("a query cannot reach what the one before it in the same process was given", () =>
    Effect.gen(function* () {
      const { slots } = yield* prepare
      assert.deepStrictEqual(yield* rows({ sql: "from other.silver.orders" }), [[2, "theirs"]])
      for (const sql of ["from other.silver.orders", "from silver.orders o join other.silver.orders using (id)"]) {
        assert.strictEqual((yield* refusal({ sql, namespace: "mine" }))._tag, "QueryInvalid")
      }
      yield* Effect.sleep(50)
      assert.deepStrictEqual(readdirSync(join(slots, "1", "in")), [])
    }),
  )
})
