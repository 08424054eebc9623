import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { TestControl, type TestEnd } from "../claim/TestControl.ts"
import { rowsOf } from "../claim/TestRows.ts"
import { testRunner } from "../claim/TestRunner.ts"

const succeeded = (end: TestEnd) => {
  assert.ok(end._tag === "Succeeded", JSON.stringify(end))
  return end.outcome
}

layer(testRunner({ settings: { slots: 1 } }), { excludeTestServices: true })("A run that merges", (it) => {
  const run = Effect.fnUntraced(function* (name: string, config: string, sql: string) {
    const control = yield* TestControl
    const end = yield* control.run({ name, files: { "config.yaml": config, "pipeline.sql": sql } })
    return { outcome: succeeded(end), log: control.logs(end.runId).map(({ message }) => message) }
  })

  it.effect("replaces rows by their key, in a v2 and in a v3 table, and says what it did", () =>
    Effect.gen(function* () {
      for (const version of [2, 3]) {
        const config = `merge_strategy: incremental\nunique_key: [id]\nformat_version: ${version}\n`
        yield* run(`keyed${version}`, config, "select i as id, 0 as v from range(1000) t(i)")
        const { log, outcome } = yield* run(
          `keyed${version}`,
          config,
          "select unnest([7, 7, 2000]) as id, unnest([1, 2, 3]) as v",
        )
        assert.strictEqual(outcome.rowsWritten, 2)
        assert.include(log.join("\n"), "2 row(s) written, 1 old row(s) removed or replaced")
        assert.deepStrictEqual(yield* rowsOf(`bronze.keyed${version}`, "count(*), sum(v), max(id)"), [
          ["1001", "5", "2000"],
        ])
      }
    }),
  )

  it.effect("keeps history, partitions and order, and its tests see the merged table", () =>
    Effect.gen(function* () {
      const control = yield* TestControl
      const config =
        "merge_strategy: scd2\nunique_key: id\nscd_close_missing: true\npartition_by: ['bucket[2](id)']\nsort_by: [v desc]\n"
      yield* run("history", config, "select i as id, i as v from range(4) t(i)")
      const end = yield* control.run({
        name: "history",
        files: {
          "config.yaml": config,
          "pipeline.sql": "select i as id, case when i = 1 then 100 else i end as v from range(3) t(i)",
          "tests/quality/one_open.sql":
            "select id from {{ this }} where valid_to is null group by id having count(*) > 1 union all select 1 where (select count(*) from {{ this }}) <> 5",
        },
      })
      assert.strictEqual(succeeded(end).quality[0]?.status, "passed")
      assert.deepStrictEqual(yield* rowsOf("bronze.history", "id, v, valid_to is null"), [
        ["0", "0", true],
        ["1", "1", false],
        ["1", "100", true],
        ["2", "2", true],
        ["3", "3", false],
      ])
    }),
  )

  it.effect("is not misled by what the pipeline leaves in the engine", () =>
    Effect.gen(function* () {
      const config = "merge_strategy: incremental\nunique_key: id\npartition_by: ['truncate[1](name)']\n"
      yield* run("honest", config, "select i as id, 'n' || i as name from range(10) t(i)")
      yield* run(
        "honest",
        config,
        `create macro count(x) as 0; create macro min(x) as null; create macro max(x) as null; create macro "left"(a, b) as 'wrong';
        create macro read_parquet(x) as table select 1; create temp macro list_transform(a, b) as null;
        select 3 as id, 'changed' as name`,
      )
      assert.deepStrictEqual(yield* rowsOf("bronze.honest", "count(*), count(*) filter (name = 'changed')"), [
        ["10", "1"],
      ])
    }),
  )

  it.effect("is refused when its key is no column, with the names of those that are", () =>
    Effect.gen(function* () {
      const control = yield* TestControl
      const end = yield* control.run({
        name: "keyless",
        files: {
          "config.yaml": "merge_strategy: incremental\nunique_key: idd\n",
          "pipeline.sql": "select 1 as id",
        },
      })
      assert.ok(end._tag === "Failed", JSON.stringify(end))
      assert.match(end.failure.error, /unique_key names "idd", which is no column.*id/)
      assert.isNull(yield* rowsOf("bronze.keyless", "*"))
    }),
  )
})
