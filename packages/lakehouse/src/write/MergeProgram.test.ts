import { assert, layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { IcebergTable } from "../iceberg/IcebergTable.ts"
import type { TableVersion } from "../iceberg/TableChange.ts"
import { makeTestTable } from "../maintenance/TestTable.ts"
import { ScanPlanner } from "../scan/ScanPlanner.ts"
import { ObjectStore } from "../store/ObjectStore.ts"
import { Engine, EngineFailed } from "./Engine.ts"
import { mergeSentence } from "./MergeProgram.ts"
import { mergeTable, prepareMerge, rowsOf, type TestMerge, TestMerges, testEngine } from "./TestMerge.ts"
import { TestTables } from "./TestTable.ts"

const incremental = { strategy: "incremental", settings: { uniqueKey: ["id"] } } as const
const ids = (metadataLocation: string, columns = "id") =>
  Effect.map(
    rowsOf(metadataLocation, (relation) => `select ${columns} from ${relation} order by all`),
    (rows) => rows.map((row) => Object.values(row).map(String).join(" ")),
  )
const count = (metadataLocation: string) =>
  Effect.map(
    rowsOf(metadataLocation, (relation) => `select count(*) as n from ${relation}`),
    ([row]) => Number(row!.n),
  )

layer(TestMerges, { excludeTestServices: true })("Merge", (it) => {
  it.effect(
    "few changed rows of a large file cost a small file and deletes; most of them a file without the rest",
    () =>
      Effect.gen(function* () {
        for (const formatVersion of [2, 3] as const) {
          const name = `shares${formatVersion}`
          const base = yield* mergeTable({
            name,
            base: null,
            ...incremental,
            query: "select i as id, 0 as v from range(100000) t(i)",
            formatVersion,
          })
          const few = yield* mergeTable({
            name,
            base,
            ...incremental,
            query: "select i * 100 as id, 1 as v from range(100) t(i)",
          })
          const snapshot = few.merged.snapshot!
          assert.strictEqual(snapshot.operation, "overwrite")
          assert.deepStrictEqual([...(snapshot.removed as ReadonlySet<string>)], [])
          assert.deepStrictEqual(
            snapshot.addedDeletes.map(({ format, recordCount }) => [format, recordCount]),
            [[formatVersion === 2 ? "parquet" : "puffin", 100]],
          )
          assert.deepStrictEqual(few.merged.rows, { staged: 100, added: 100, removed: 100 })
          // Deletes of the file that are there already are counted when more come.
          const most = yield* mergeTable({
            name,
            base: few,
            ...incremental,
            query: "select i as id, 2 as v from range(99999) t(i) where i % 3 < 2",
          })
          assert.deepStrictEqual(most.merged.files.rewritten, 2)
          assert.deepStrictEqual(most.merged.snapshot!.addedDeletes, [])
          assert.strictEqual(yield* count(most.metadataLocation), 100_000)
          const all = yield* mergeTable({
            name,
            base,
            ...incremental,
            query: "select i as id, 3 as v from range(100000) t(i)",
          })
          assert.strictEqual(all.merged.files.removed, 1)
          assert.strictEqual(
            mergeSentence(all.merged),
            "100000 row(s) written, 100000 old row(s) removed or replaced (1 file(s) dropped)",
          )
        }
      }),
  )

  it.effect("files whose bounds or partition cannot hold a key of the result are not read", () =>
    Effect.gen(function* () {
      const parts = yield* mergeTable({
        name: "pruned",
        base: null,
        ...incremental,
        query: "select i as id, i // 1000 as p from range(5000) t(i)",
        partitionBy: [{ column: "p", transform: "identity" }],
      })
      const store = yield* ObjectStore
      const { data } = yield* Effect.flatMap(IcebergTable, (tables) => tables.files(parts.metadata))
      assert.strictEqual(data.length, 5)
      // What is not there cannot have been read.
      const others = data.filter(({ partition }) => partition[0] !== 2n)
      yield* store.remove(others.map(({ filePath }) => store.keyOf(filePath)))
      const made = yield* mergeTable({
        name: "pruned",
        base: parts,
        ...incremental,
        query: "select 2500 as id, 2 as p",
      })
      assert.deepStrictEqual(made.merged.rows, { staged: 1, added: 1, removed: 1 })
    }),
  )

  it.effect("snapshot drops the partitions that come anew without reading them, NULL among them", () =>
    Effect.gen(function* () {
      const test = { name: "replaced", strategy: "snapshot", settings: { partitionColumn: "p" } } as const
      const partitionBy = [{ column: "p", transform: "identity" }]
      const base = yield* mergeTable({
        ...test,
        base: null,
        partitionBy,
        query: "select i as id, nullif('p' || i % 4, 'p3') as p from range(40) t(i)",
      })
      const store = yield* ObjectStore
      const { data } = yield* Effect.flatMap(IcebergTable, (tables) => tables.files(base.metadata))
      const replaced = data.filter(({ partition }) => partition[0] === null || partition[0] === "p1")
      assert.strictEqual(replaced.length, 2)
      yield* store.remove(replaced.map(({ filePath }) => store.keyOf(filePath)))
      const made = yield* mergeTable({
        ...test,
        base,
        query: "select 100 as id, 'p1' as p union all select 101, null",
        folds: false,
      })
      assert.deepStrictEqual(made.merged.rows, { staged: 2, added: 2, removed: 20 })
      assert.strictEqual(made.merged.files.removed, 2)
      assert.strictEqual(yield* count(made.metadataLocation), 22)
    }),
  )

  it.effect("NaN, -0 and NULL keys equal themselves; keys that are no plain values or no columns are refused", () =>
    Effect.gen(function* () {
      const name = "odd_keys"
      const key = { strategy: "incremental", settings: { uniqueKey: ["K"] } } as const
      const base = yield* mergeTable({
        name,
        base: null,
        ...key,
        query: "select unnest(['nan'::double, 0.0, null, 1.5]) as k, 1 as v",
      })
      const made = yield* mergeTable({
        name,
        base,
        ...key,
        query: "select unnest(['nan'::double, -0.0, null]) as k, 2 as v",
      })
      assert.deepStrictEqual(yield* ids(made.metadataLocation, "v"), ["1", "2", "2", "2"])
      const refused = (uniqueKey: ReadonlyArray<string>) =>
        Effect.map(
          Effect.flip(
            mergeTable({
              name,
              base,
              strategy: "incremental",
              settings: { uniqueKey },
              query: "select 1.0::double as k, 1 as v, [1] as l",
            }),
          ),
          (error) => error.message,
        )
      assert.include(yield* refused(["l"]), 'unique_key names "l", a list')
      assert.include(yield* refused(["nothing"]), 'unique_key names "nothing", which is no column')
      assert.include(yield* refused([]), "needs unique_key")
    }),
  )

  it.effect("an empty result changes nothing, but where the result is the whole of the source", () =>
    Effect.gen(function* () {
      const empty = "select 1::bigint as id, 0 as v where false"
      const base = yield* mergeTable({
        name: "empty",
        base: null,
        ...incremental,
        query: "select i as id, 0 as v from range(3) t(i)",
      })
      for (const test of [
        incremental,
        { strategy: "append_only" },
        { strategy: "delete_insert", settings: { uniqueKey: ["id"] } },
        { strategy: "snapshot", settings: { partitionColumn: "v" } },
      ]) {
        const made = yield* mergeTable({ name: "empty", base, ...test, query: empty })
        assert.strictEqual(made.metadataLocation, base.metadataLocation)
      }
      const gone = yield* mergeTable({ name: "empty", base, strategy: "full_refresh", query: empty })
      assert.strictEqual(yield* count(gone.metadataLocation), 0)
      const soft: TestMerge = {
        name: "empty_soft",
        base: null,
        strategy: "soft_delete",
        settings: { uniqueKey: ["id"] },
        query: "select i as id, 0 as v from range(3) t(i)",
      }
      const whole = yield* mergeTable(soft)
      const missing = yield* mergeTable({ ...soft, base: whole, query: empty })
      assert.deepStrictEqual(yield* ids(missing.metadataLocation, "id, _deleted_at is not null"), [
        "0 true",
        "1 true",
        "2 true",
      ])
    }),
  )

  it.effect("what is the same already makes no snapshot in scd2 and soft_delete", () =>
    Effect.gen(function* () {
      for (const strategy of ["scd2", "soft_delete"]) {
        const test = { name: `same_${strategy}`, strategy, settings: { uniqueKey: ["id"], scdCloseMissing: true } }
        const query = "select i as id, case when i = 1 then null else i end as v from range(4) t(i)"
        const base = yield* mergeTable({ ...test, base: null, query })
        const again = yield* mergeTable({ ...test, base, query })
        assert.strictEqual(again.metadataLocation, base.metadataLocation)
      }
    }),
  )

  it.effect(
    "many small merges leave few files, and the rows are right",
    () =>
      Effect.gen(function* () {
        for (const formatVersion of [2, 3] as const) {
          const name = `many${formatVersion}`
          let table: TableVersion = yield* mergeTable({
            name,
            base: null,
            ...incremental,
            query: "select i as id, -1 as v from range(20000) t(i)",
            formatVersion,
          })
          const merges = 40
          for (let index = 0; index < merges; index++) {
            table = yield* mergeTable({
              name,
              base: table,
              ...incremental,
              query: `select unnest([${index}, ${20000 + index}, ${index * 7}]) as id, ${index} as v`,
            })
          }
          const files = yield* Effect.flatMap(IcebergTable, (tables) => tables.files(table.metadata))
          assert.isAtMost(files.data.length, 15)
          assert.isAtMost(files.deletes.length, 15)
          assert.strictEqual(yield* count(table.metadataLocation), 20_000 + merges)
          const wrong = yield* rowsOf(
            table.metadataLocation,
            (relation) =>
              `select id, v from ${relation} where v is distinct from case when id >= 20000 then id - 20000 when id < ${merges} then greatest(id, case when id % 7 = 0 then id // 7 else -1 end) when id % 7 = 0 and id // 7 < ${merges} then id // 7 else -1 end`,
          )
          assert.deepStrictEqual(wrong, [])
        }
      }),
    120_000,
  )

  it.effect("rows of v3 tables keep their row ids when files are folded or rewritten", () =>
    Effect.gen(function* () {
      const name = "lineage"
      let table: TableVersion = yield* mergeTable({
        name,
        base: null,
        ...incremental,
        query: "select i as id, 0 as v from range(10) t(i)",
        formatVersion: 3,
      })
      const rowId = Effect.fnUntraced(function* (of: TableVersion) {
        const plan = yield* Effect.flatMap(ScanPlanner, (planner) => planner.plan(of.metadataLocation))
        const engine = yield* Engine
        const pathOf = yield* engine.readable(plan.locations)
        const rows = yield* engine.run(
          `select id, _row_id, _last_updated_sequence_number as seq from (${plan.positions(pathOf, { lineage: true })}) order by id`,
        )
        return new Map(rows.map((row) => [Number(row.id), [Number(row._row_id), Number(row.seq)]]))
      })
      let before = yield* rowId(table)
      for (let index = 0; index < 12; index++) {
        table = yield* mergeTable({ name, base: table, ...incremental, query: `select ${100 + index} as id, 1 as v` })
        const after = yield* rowId(table)
        for (const [id, lineage] of before)
          assert.deepStrictEqual(after.get(id), lineage, `row ${id} after merge ${index}`)
        assert.strictEqual(new Set(Array.from(after.values(), ([row]) => row)).size, after.size)
        before = after
      }
      const { data } = yield* Effect.flatMap(IcebergTable, (tables) => tables.files(table.metadata))
      assert.isBelow(data.length, 9)
    }),
  )

  it.effect("a table that becomes v3 keeps the deletes that it had, in a vector", () =>
    Effect.gen(function* () {
      const name = "upgraded"
      const base = yield* mergeTable({
        name,
        base: null,
        ...incremental,
        query: "select i as id, 0 as v from range(1000) t(i)",
      })
      const second = yield* mergeTable({ name, base, ...incremental, query: "select unnest([1, 2]) as id, 1 as v" })
      const third = yield* mergeTable({
        name,
        base: second,
        ...incremental,
        query: "select unnest([2, 3]) as id, 2 as v",
        formatVersion: 3,
      })
      const { deletes } = yield* Effect.flatMap(IcebergTable, (tables) => tables.files(third.metadata))
      const vector = deletes.find(({ recordCount }) => recordCount === 3)
      assert.strictEqual(vector?.format, "puffin")
      assert.strictEqual(yield* count(third.metadataLocation), 1000)
      assert.deepStrictEqual(
        (yield* ids(third.metadataLocation, "id, v")).filter((row) => !row.endsWith(" 0")),
        ["1 1", "2 2", "3 2"],
      )
    }),
  )

  it.effect("rows that others deleted, by value too, are not deleted again and do not come back", () =>
    Effect.gen(function* () {
      for (const formatVersion of [2, 3] as const) {
        const foreign = yield* makeTestTable({ formatVersion, partitioned: false })
        yield* foreign.append(Array.from({ length: 20 }, (_, index) => ({ k: `k${index % 5}`, p: index })))
        yield* foreign.deleteEquality("k1", 0)
        yield* foreign.deletePositions(new Set([1, 3]))
        const base = yield* foreign.current
        const made = yield* mergeTable({
          name: foreign.name,
          base,
          strategy: "incremental",
          settings: { uniqueKey: ["k"] },
          query: "select unnest([-1, -2, -3])::integer as id, unnest(['k1', 'k2', 'k9']) as k, 0::integer as p",
        })
        // Each of k0 to k4 had four rows: one of k0 and one of k2 were deleted by position, those of k1 by value.
        assert.strictEqual(made.merged.rows.removed, 3)
        const rows = yield* rowsOf(
          made.metadataLocation,
          (relation) => `select k, count(*)::integer as n from ${relation} group by k order by k`,
        )
        assert.deepStrictEqual(
          rows.map(({ k, n }) => `${k} ${n}`),
          ["k0 3", "k1 1", "k2 1", "k3 4", "k4 4", "k9 1"],
        )
      }
    }),
  )

  it.effect("whatever statement of a merge fails, nothing is committed and the same merge works afterwards", () =>
    Effect.gen(function* () {
      const engine = yield* Engine
      for (const formatVersion of [2, 3] as const) {
        const name = `broken${formatVersion}`
        const partitionBy = [{ column: "p", transform: "identity" }]
        const base = yield* mergeTable({
          name,
          base: null,
          ...incremental,
          query: "select i as id, i % 3 as p from range(1000) t(i)",
          formatVersion,
          partitionBy,
        })
        const merging: TestMerge = {
          name,
          base,
          ...incremental,
          query: "select i * 10 as id, i % 3 as p from range(50) t(i)",
          partitionBy,
        }
        for (let at = 0; ; at++) {
          let statement = 0
          const failing = Engine.of({
            ...engine,
            run: (sql) =>
              Effect.suspend(() =>
                statement++ === at
                  ? Effect.fail(new EngineFailed({ code: "limit.memory", reason: "Out of memory." }))
                  : engine.run(sql),
              ),
          })
          const result = yield* Effect.result(prepareMerge(merging).pipe(Effect.provideService(Engine, failing)))
          if (result._tag === "Success") {
            assert.isAbove(at, 5)
            break
          }
          assert.strictEqual(result.failure._tag, "EngineFailed")
          assert.strictEqual(yield* count(base.metadataLocation), 1000)
        }
        const made = yield* mergeTable(merging)
        assert.strictEqual(yield* count(made.metadataLocation), 1000)
      }
    }),
  )

  it.effect("rows are sorted in each file and partition, and files say so", () =>
    Effect.gen(function* () {
      const made = yield* mergeTable({
        name: "sorted",
        base: null,
        strategy: "append_only",
        query: "select hash(i) % 1000 as id, i % 4 as p from range(20000) t(i)",
        partitionBy: [{ column: "p", transform: "identity" }],
        sortBy: [{ column: "id", direction: "desc", nulls: "last" }],
      })
      const { data } = yield* Effect.flatMap(IcebergTable, (tables) => tables.files(made.metadata))
      assert.strictEqual(data.length, 4)
      const store = yield* ObjectStore
      const engine = yield* Engine
      for (const file of data) {
        assert.strictEqual(file.sortOrderId, made.metadata.defaultSortOrderId)
        const path = yield* store.localPath(store.keyOf(file.filePath))
        const [row] = yield* engine.run(
          `select count(*) as n from (select id > lag(id) over (order by file_row_number) as wrong from read_parquet('${path}')) where wrong`,
        )
        assert.strictEqual(Number(row!.n), 0)
      }
      assert.notStrictEqual(made.metadata.defaultSortOrderId, 0)
    }).pipe(Effect.scoped),
  )
})

layer(testEngine({ memoryLimit: "64MB", threads: 2 }).pipe(Layer.provideMerge(TestTables)), {
  excludeTestServices: true,
})("Merge with little memory", (it) => {
  it.effect(
    "changes a table that is many times larger than the engine's memory",
    () =>
      Effect.gen(function* () {
        const name = "large"
        // 72 bytes a row that do not compress: 648 MB, ten times the memory.
        const columns = Array.from({ length: 8 }, (_, index) => `(hash(i + ${index * 7919}) >> 1)::bigint as c${index}`)
        const row = `select i as id, ${columns.join(", ")}`
        let table: TableVersion | null = null
        const parts = 8
        const rows = 9_000_000
        const changed = rows / 40
        for (let part = 0; part < parts; part++) {
          table = yield* mergeTable({
            name,
            base: table,
            strategy: "append_only",
            query: `${row} from range(${(part * rows) / parts}, ${((part + 1) * rows) / parts}) t(i)`,
          })
        }
        const made = yield* mergeTable({
          name,
          base: table,
          ...incremental,
          query: `select i * 40 as id, ${Array.from({ length: 8 }, (_, index) => `-1::bigint as c${index}`).join(", ")} from range(${changed}) t(i)`,
        })
        assert.deepStrictEqual(made.merged.rows, { staged: changed, added: changed, removed: changed })
        const [row2] = yield* rowsOf(
          made.metadataLocation,
          (relation) => `select count(*) as n, count(*) filter (c0 = -1) as changed from ${relation}`,
        )
        assert.deepStrictEqual([Number(row2!.n), Number(row2!.changed)], [rows, changed])
      }),
    180_000,
  )
})
