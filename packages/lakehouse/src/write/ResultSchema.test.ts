import { assert, layer } from "@effect/vitest"
import { Column } from "@rat/domain"
import { Effect } from "effect"
import type { TableCommit } from "../iceberg/IcebergTable.ts"
import { defaultEvolution, planWrite, type SchemaMismatch } from "./ResultSchema.ts"
import { readTable, TestDuckDb, TestTables, writeTable } from "./TestTable.ts"

const columns = (...pairs: ReadonlyArray<readonly [string, string]>) =>
  pairs.map(([name, type]) => new Column({ name, type }))
const problems = (plan: Effect.Effect<unknown, SchemaMismatch>) =>
  Effect.map(Effect.flip(plan), (error) => error.problems)
const create = (name: string, query: string) =>
  writeTable({ name, query, runId: "run-0", operation: "overwrite", base: null })
const append = (name: string, base: TableCommit, query: string) =>
  writeTable({ name, query, runId: "run-1", operation: "append", base })

layer(TestTables, { excludeTestServices: true })("ResultSchema", (it) => {
  it.effect(
    "an append takes columns by name in any order and case, fills missing ones with NULL and widens types",
    () =>
      Effect.gen(function* () {
        const base = yield* create("append", "select 1::bigint as id, 'a' as name, 1.5::double as score")
        const table = yield* append("append", base, 'select 2::integer as SCORE, 7::smallint as "Id"')
        assert.strictEqual(table.metadata.schemas.length, 1)
        assert.strictEqual(table.metadata.lastColumnId, 3)
        assert.deepStrictEqual(yield* readTable(table.metadataLocation, { suffix: "order by id" }), [
          { id: "1", name: "a", score: 1.5 },
          { id: "7", name: null, score: 2 },
        ])
        // The type of a bare `null` where DuckDB names one; elsewhere it is INTEGER.
        const plan = yield* planWrite({
          table: "t",
          base: base.metadata,
          replaces: false,
          added: [],
          evolution: defaultEvolution,
          columns: columns(["name", '"NULL"']),
        })
        assert.include(plan.select("select null as name"), 'cast("name" as VARCHAR) as "name"')
      }),
  )

  it.effect("an append with new or retyped columns is refused, all of them at once", () =>
    Effect.gen(function* () {
      const base = yield* create("mismatch", "select 1::integer as id, 'a' as name, [1] as list")
      const plan = planWrite({
        table: "ns.silver.mismatch",
        base: base.metadata,
        replaces: false,
        added: [],
        evolution: { ...defaultEvolution, onChange: "fail" },
        columns: columns(
          ["id", "BIGINT"],
          ["name", "VARCHAR"],
          ["list", "VARCHAR[]"],
          ["extra", "DATE"],
          ["iv", "INTERVAL"],
        ),
      })
      const error = yield* Effect.flip(plan)
      assert.strictEqual(error.problems.length, 5)
      assert.include(error.message, "ns.silver.mismatch")
      assert.include(error.message, 'column "id" is INTEGER in the table and BIGINT in the result')
      assert.include(error.message, 'column "list" is INTEGER[] in the table and VARCHAR[] in the result')
      assert.include(error.message, 'column "extra" is new')
      assert.include(error.message, 'column "iv" has the type INTERVAL')
    }),
  )

  it.effect("an overwrite keeps the ids of columns that stay and gives new ones to those that changed", () =>
    Effect.gen(function* () {
      const first = yield* create("evolve", "select 1 as a, 'x' as b, {'p': 1, 'q': [true]} as s")
      const second = yield* writeTable({
        name: "evolve",
        query: "select {'p': 2, 'q': [false]} as s, 'two' as A, 'y' as \"B\", 5 as d",
        runId: "run-1",
        operation: "overwrite",
        base: first,
        evolution: { allowDestructive: true },
      })
      const idsOf = (table: TableCommit) =>
        Object.fromEntries(
          table.metadata.schemas
            .find((schema) => schema.schemaId === table.metadata.currentSchemaId)!
            .fields.map((field) => [field.name, field.id]),
        )
      const before = idsOf(first)
      const after = idsOf(second)
      assert.strictEqual(after.s, before.s)
      assert.strictEqual(after.B, before.b)
      assert.isAbove(after.A!, first.metadata.lastColumnId)
      assert.strictEqual(second.metadata.lastColumnId, first.metadata.lastColumnId + 2)
      assert.deepStrictEqual(yield* readTable(second.metadataLocation), [
        { s: { p: 2, q: [false] }, A: "two", B: "y", d: 5 },
      ])
      // Back to the first shape: its schema gets its id again.
      const third = yield* writeTable({
        name: "evolve",
        query: "select {'p': 2, 'q': [false]} as s, 'two' as A, 'y' as \"B\", 5 as d",
        runId: "run-2",
        operation: "overwrite",
        base: second,
      })
      assert.strictEqual(third.metadata.currentSchemaId, second.metadata.currentSchemaId)
      assert.strictEqual(third.metadata.schemas.length, 2)
    }),
  )

  it.effect("names that are empty, repeated, reserved or alike but for case are refused", () =>
    Effect.gen(function* () {
      const plan = (...names: ReadonlyArray<string>) =>
        problems(
          planWrite({
            table: "t",
            base: null,
            replaces: true,
            added: [],
            evolution: defaultEvolution,
            columns: columns(...names.map((name) => [name, "INTEGER"] as const)),
          }),
        )
      assert.include((yield* plan("a", ""))[0], "column 2 has no name")
      assert.include((yield* plan("a", "b", "a"))[0], '"a" appears more than once')
      assert.include((yield* plan("Name", "name"))[0], '"Name" and "name" differ only in case')
      assert.include((yield* plan("__duckdb_field_id"))[0], "reserved")
      assert.include((yield* plan())[0], "no columns")
    }),
  )

  it.effect("odd names, comments at the end of the query and its order survive", () =>
    Effect.gen(function* () {
      const query = `select i as "a ""quoted"" name", i as "x.y", -i as "ünï; --", {'f''g "h"': i} as "select"
        from range(50000) t(i) order by i desc -- newest first`
      const table = yield* create("odd", query)
      const duck = yield* TestDuckDb
      const rows = yield* readTable(table.metadataLocation, { suffix: "limit 3" })
      assert.deepStrictEqual(rows, (yield* duck.rows(query)).slice(0, 3))
      assert.deepStrictEqual(Object.keys(rows[0]!), ['a "quoted" name', "x.y", "ünï; --", "select"])
    }),
  )
})
