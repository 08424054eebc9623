import { assert, layer } from "@effect/vitest"
import { mainRef, type NamespaceName, type PipelineName, TableKey } from "@rat/domain"
import { Catalog, ObjectStore, ScanPlanner } from "@rat/lakehouse"
import { Effect } from "effect"
import { TestControl, type TestEnd } from "../claim/TestControl.ts"
import { rowsOf } from "../claim/TestRows.ts"
import { testRunner } from "../claim/TestRunner.ts"

const reasonOf = (end: TestEnd) => (end._tag === "Succeeded" ? "succeeded" : JSON.stringify(end))

layer(testRunner({ settings: { slots: 1 } }), { excludeTestServices: true })("A run", (it) => {
  it.effect("makes readable only the files that its SQL and its tests can need", () =>
    Effect.gen(function* () {
      const control = yield* TestControl
      const catalog = yield* Catalog
      const store = yield* ObjectStore
      const planner = yield* ScanPlanner
      const made = yield* control.run({
        name: "parts",
        files: {
          "config.yaml": "partition_by:\n  - part\n",
          "pipeline.sql": "select i % 3 as part, i from range(30) t(i)",
        },
      })
      assert.strictEqual(reasonOf(made), "succeeded")
      const key = new TableKey({
        namespace: "default" as NamespaceName,
        layer: "bronze",
        name: "parts" as PipelineName,
      })
      const { metadataLocation } = (yield* catalog.table(mainRef, key))!
      const { files } = yield* planner.plan(metadataLocation)
      assert.strictEqual(files.length, 3)
      // Whoever needs partition 2 fails from now on.
      const gone = files.find(({ partition }) => partition[0] === 2n)!
      yield* store.remove([store.keyOf(gone.filePath)])
      const read = (name: string, sql: string, test?: string) =>
        Effect.map(
          control.run({
            layer: "silver",
            name,
            files: {
              "pipeline.sql": sql,
              ...(test === undefined ? {} : { "tests/quality/some.sql": test }),
            },
          }),
          reasonOf,
        )
      const some = "select * from {{ ref('bronze.parts') }} p where p.part in (0, 1) and i > 3"
      assert.strictEqual(yield* read("some", some), "succeeded")
      assert.deepStrictEqual(yield* rowsOf("silver.some", "count(*)"), [["17"]])
      assert.notStrictEqual(yield* read("all-of-it", "select * from {{ ref('bronze.parts') }}"), "succeeded")
      assert.notStrictEqual(
        yield* read("twice", `${some} union all select * from {{ ref('bronze.parts') }}`),
        "succeeded",
      )
      assert.notStrictEqual(
        yield* read(
          "tested",
          some,
          "select * from {{ ref('bronze.parts') }} where part > 7 or i is null or random() > 2",
        ),
        "succeeded",
      )
    }),
  )
})
