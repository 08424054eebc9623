import { layer } from "@effect/vitest"
import { Effect } from "effect"
import { ask, publish, refusal, rows, TestQuery } from "../session/TestQuery.ts"
layer(TestQuery.layer({ threads: 2 }), { excludeTestServices: true })("q", (it) => {
  it.effect("works", () => Effect.gen(function* () {
    yield* publish("default.bronze.orders", "select range as id, 'n' || range as name from range(10)")
    yield* publish("default.silver.my-table", "select 1 as a, 2.5 as b")
    yield* publish("system.silver.s", "select 1 as a")
    yield* publish("bronze.silver.s", "select 2 as a")
    for (const sql of ["select 1", "select * from bronze.orders limit 2", "select * from default.bronze.orders limit 2","select * from \"default\".bronze.\"orders\" limit 2","from silver.my-table","from default.silver.my-table","from system.silver.s, bronze.silver.s","from system.silver.s, \"bronze\".silver.s, bronze.orders limit 1", "show tables","describe bronze.orders","summarize silver.my-table","explain select * from bronze.orders","explain analyze select * from bronze.orders","select table_catalog, table_schema, table_name from information_schema.tables", "select table_name, column_name, data_type from information_schema.columns", "pivot bronze.orders on id%2 using count(*)", "show all tables", "values (1),(2)"]) {
      const t=performance.now()
      console.log(sql, JSON.stringify(yield* rows({ sql, limit: 5 }).pipe(Effect.catch(e => Effect.succeed(e)))).slice(0,400), (performance.now()-t).toFixed(2))
    }
    for (let i=0;i<10;i++) { const t=performance.now(); yield* ask({sql:"select 1"}); const t2=performance.now(); yield* ask({sql:"select count(*) from bronze.orders"}); console.log((t2-t).toFixed(2), (performance.now()-t2).toFixed(2)) }
    for (const sql of ["select * from bronze.ordrs", "select nope from default.bronze.orders", "select\n * from zz.bronze.orders","select 1 +", "select * from default.bronze.orders where nope", "select 'a'::int from bronze.orders"]) console.log(sql, yield* refusal({sql}))
    console.log(yield* refusal({sql: "from default.bronze.orders", namespace: "sales"}))
    for (const format of ["csv","objects","parquet","arrow"] as const) { const a = yield* ask({sql:"from bronze.orders", format, limit: 3}); console.log(format, a.columns.length, a.contentType, a.rows, a.truncated, a.body.length, a.body.toString().slice(0,100)) }
  }))
})
