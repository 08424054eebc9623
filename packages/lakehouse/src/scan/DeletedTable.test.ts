import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { IcebergTable } from "../iceberg/IcebergTable.ts"
import type { TableVersion } from "../iceberg/TableChange.ts"
import { mergeTable, rowsOf, TestMerges } from "../write/TestMerge.ts"
import { TestDuckDb } from "../write/TestTable.ts"
import { ScanPlanner } from "./ScanPlanner.ts"

const merges = [
  { strategy: "append_only", query: "select i as id, i % 7 as v, 'n' || i as name from range(0, 1000) t(i)" },
  { strategy: "append_only", query: "select i as id, i % 7 as v, 'n' || i as name from range(1000, 2000) t(i)" },
  { strategy: "append_only", query: "select i as id, i % 7 + 100 as v, 'n' || i as name from range(2000, 2100) t(i)" },
  // Takes the largest `v` away from most of the newest file, and some rows from each of the others.
  {
    strategy: "incremental",
    query: "select i as id, 5 as v, 'm' || i as name from range(2003, 2050) t(i) union all select 17, 1, 'x'",
  },
  { strategy: "incremental", query: "select i * 90 as id, 50 as v, 'o' || i as name from range(0, 22) t(i)" },
] as const

layer(TestMerges, { excludeTestServices: true })("A table with deletes", (it) => {
  for (const formatVersion of [2, 3] as const) {
    it.effect(`v${formatVersion}: counts and maxima of metadata are those of the rows, at every snapshot`, () =>
      Effect.gen(function* () {
        const planner = yield* ScanPlanner
        const duck = yield* TestDuckDb
        let base: TableVersion | null = null
        const versions: Array<TableVersion> = []
        for (const [index, merge] of merges.entries()) {
          base = yield* mergeTable({
            ...merge,
            name: `deleted-v${formatVersion}`,
            base,
            formatVersion,
            folds: false,
            settings: { uniqueKey: ["id"] },
          })
          versions.push(base)
          const { metadataLocation } = base
          const plan = yield* planner.plan(metadataLocation)
          assert.strictEqual(plan.deletes.length > 0, index >= 3, `merge ${index}`)
          const [counted] = yield* rowsOf(metadataLocation, (relation) => `select count(*)::int as n from ${relation}`)
          assert.strictEqual(plan.rowCount, counted!.n)
          for (const column of ["id", "v", "name"]) {
            const [expected] = yield* rowsOf(
              metadataLocation,
              (relation) => `select max(${column})::varchar as m from ${relation}`,
            )
            const answer = planner.maximum(plan, column)
            if (answer.kind === "value") assert.strictEqual(answer.value, expected!.m, `${column} after merge ${index}`)
            else {
              const paths = new Map<string, string>()
              for (const location of answer.plan.locations) paths.set(location, yield* planner.localPath(location))
              const [asked] = yield* duck.rows(
                `select max(${column})::varchar as m from (${answer.plan.relation((location) => paths.get(location)!)})`,
              )
              assert.strictEqual(asked!.m, expected!.m, `${column} after merge ${index}`)
              assert.isAtMost(answer.plan.files.length, plan.files.length)
            }
            if (index < 3) assert.strictEqual(answer.kind, "value")
          }
        }
        // The past is still there, deletes that came later are not in it.
        const { metadata, metadataLocation } = base!
        for (const [index, { snapshotId }] of metadata.snapshots.entries()) {
          const then = yield* planner.plan(metadataLocation, { snapshotId })
          assert.strictEqual(then.rowCount, (yield* planner.plan(versions[index]!.metadataLocation)).rowCount)
        }
        // Deletes of a file that predicates leave out are left out as well.
        const narrow = yield* planner.plan(metadataLocation, { predicates: [{ column: "id", op: "<", value: 50 }] })
        const whole = yield* planner.plan(metadataLocation)
        assert.isBelow(narrow.files.length, whole.files.length)
        assert.isBelow(narrow.locations.length, whole.locations.length)
      }).pipe(Effect.scoped),
    )
  }

  it.effect("v3: every row has an id of its own, which deletes and appends leave alone", () =>
    Effect.gen(function* () {
      const planner = yield* ScanPlanner
      const tables = yield* IcebergTable
      const duck = yield* TestDuckDb
      const name = "lineage"
      const lineage = Effect.fnUntraced(function* (version: TableVersion) {
        const plan = yield* planner.plan(version.metadataLocation)
        const paths = new Map<string, string>()
        for (const location of plan.locations) paths.set(location, yield* planner.localPath(location))
        const sql = plan.positions((location) => paths.get(location)!, { lineage: true })
        const rows = yield* duck.rows(
          `select id, _row_id as row, _last_updated_sequence_number as updated from (${sql})`,
        )
        return new Map(rows.map((row) => [String(row.id), `${row.row} ${row.updated}`]))
      })
      const one = yield* mergeTable({
        name,
        base: null,
        formatVersion: 3,
        strategy: "append_only",
        query: "select i as id, 1 as v from range(10) t(i)",
      })
      const two = yield* mergeTable({
        name,
        base: one,
        formatVersion: 3,
        strategy: "append_only",
        query: "select i as id, 1 as v from range(10, 20) t(i)",
      })
      const three = yield* mergeTable({
        name,
        base: two,
        formatVersion: 3,
        strategy: "incremental",
        settings: { uniqueKey: ["id"] },
        folds: false,
        query: "select 3 as id, 2 as v",
      })
      const before = yield* lineage(two)
      assert.strictEqual(new Set(before.values()).size, 20)
      assert.deepStrictEqual([...before.values()].toSorted()[0], "0 1")
      const after = yield* lineage(three)
      for (const [id, known] of before) if (id !== "3") assert.strictEqual(after.get(id), known)
      assert.match(after.get("3")!, / 3$/)
      assert.isDefined((yield* tables.load(three.metadataLocation)).nextRowId)
    }).pipe(Effect.scoped),
  )
})
