import { assert, describe, it, layer } from "@effect/vitest"
import { mainRef, RefName, TableKey } from "@rat/domain"
import { Catalog, IcebergTable } from "@rat/lakehouse"
import { Effect, Schema } from "effect"
import { nameSites, quoteNames, tablesOf } from "./TableNames.ts"
import { publish, refusal, rows, TestQuery } from "./TestQuery.ts"
import { parseTravelTime } from "./TimeTravel.ts"

const rewritten = (sql: string) => quoteNames(sql, nameSites(sql), () => true).sql

describe("TimeTravel", () => {
  it.each<readonly [sql: string, expected: string]>([
    ["from silver.orders for version as of 12", 'from silver."orders as of 12" as "orders"'],
    ["from silver.orders version as of 12 o", 'from silver."orders as of 12" o'],
    [
      "from silver.orders FOR VERSION AS OF 'v1' as o where o.a = 1",
      'from silver."orders as of v1" as o where o.a = 1',
    ],
    [
      "from silver.orders for timestamp as of '2026-01-02' join bronze.x using (a)",
      'from silver."orders as of 2026-01-02T00:00:00.000Z" as "orders" join bronze.x using (a)',
    ],
    [
      "from silver.orders for system_time as of timestamp '2026-01-02 03:04:05.5+01:30'",
      'from silver."orders as of 2026-01-02T01:34:05.500Z" as "orders"',
    ],
    ["from silver.orders at (version => 12), b", 'from silver."orders as of 12" as "orders", b'],
    [
      "from silver.orders at (timestamp => '2026-01-02'::timestamp) t",
      'from silver."orders as of 2026-01-02T00:00:00.000Z" t',
    ],
    ["from silver.orders@feature/x-1 where true", 'from silver."orders as of feature%2Fx-1" as "orders" where true'],
    ["from default.silver.my-table@Dev", 'from "default".silver."my-table as of Dev" as "my-table"'],
    ["from silver.orders$snapshots", "from silver.orders$snapshots"],
    ["from silver.orders$files for version as of 5", 'from silver."orders$files as of 5" as "orders$files"'],
    ["from silver.orders version", "from silver.orders version"],
    ["from silver.orders at", "from silver.orders at"],
    ["select a @ b from silver.orders", "select a @ b from silver.orders"],
  ])("%s becomes %s", (sql, expected) => {
    assert.strictEqual(rewritten(sql), expected)
  })

  it.each<readonly [sql: string, reason: string]>([
    ["from silver.orders for timestamp as of now()", "cannot be computed"],
    ["from silver.orders at (timestamp => now() - interval 1 day)", "cannot be computed"],
    ["from silver.orders for timestamp as of 'yesterday'", "no point in time"],
    ["from silver.orders for version as of x", "in quotes"],
  ])("%s is refused: %s", (sql, reason) => {
    const [table] = nameSites(sql).flatMap(tablesOf)
    assert.strictEqual(table?.travel?.kind, "problem")
    assert.include((table!.travel as { reason: string }).reason, reason)
  })

  it("times are UTC where the text says nothing else, and impossible ones are none", () => {
    assert.strictEqual(parseTravelTime("2026-02-28 23:59:59.999"), Date.UTC(2026, 1, 28, 23, 59, 59, 999))
    assert.strictEqual(parseTravelTime("2026-02-28T23:00Z"), Date.UTC(2026, 1, 28, 23))
    assert.strictEqual(parseTravelTime("2026-03-01 00:00:00-02"), Date.UTC(2026, 2, 1, 2))
    for (const text of ["2026-02-30", "2026-13-01", "2026-01-01 25:00:00", "today", "", "20260101"])
      assert.isUndefined(parseTravelTime(text))
  })
})

layer(TestQuery.layer({ slots: 1 }), { excludeTestServices: true })("Time travel", (it) => {
  it.effect("a table is read as of a snapshot, a time, a tag, a branch, with its schema of then", () =>
    Effect.gen(function* () {
      const catalog = yield* Catalog
      const tables = yield* IcebergTable
      const name = "default.silver.travelled"
      const key = Schema.decodeUnknownSync(TableKey)({ namespace: "default", layer: "silver", name: "travelled" })
      const metadata = Effect.gen(function* () {
        return yield* tables.load((yield* catalog.table(mainRef, key))!.metadataLocation)
      })
      yield* publish(name, "select 1 as a")
      const first = yield* metadata
      yield* Effect.sleep(5)
      yield* publish(name, "select 2 as a, 'x' as b")
      yield* catalog.createTag(RefName.make("release"), { from: mainRef })
      yield* catalog.createBranch(RefName.make("feature/x-1"), { from: mainRef })
      yield* publish(name, "select 3 as a, 'y' as b")
      yield* publish(name, "select 4 as a, 'z' as b", "feature/x-1")
      const now = yield* metadata
      const id = first.currentSnapshotId!
      const then = new Date(first.snapshots[0]!.timestampMs).toISOString().replace("T", " ")
      for (const [from, expected] of [
        ["silver.travelled", [[3, "y"]]],
        [`silver.travelled for version as of ${id}`, [[1]]],
        [`silver.travelled version as of ${id} t where t.a = 1`, [[1]]],
        [`silver.travelled at (version => ${id}) where travelled.a = 1`, [[1]]],
        [`silver.travelled for timestamp as of '${then}'`, [[1]]],
        [`silver.travelled at (timestamp => timestamp '${then}')`, [[1]]],
        ["silver.travelled for version as of 'release'", [[2, "x"]]],
        ["silver.travelled@release", [[2, "x"]]],
        ["silver.travelled@feature/x-1", [[4, "z"]]],
        ["default.silver.travelled@feature/x-1 t", [[4, "z"]]],
        ["silver.travelled for version as of 'main'", [[3, "y"]]],
        ["silver.travelled for timestamp as of '2999-01-01'", [[3, "y"]]],
      ] as const) {
        assert.deepStrictEqual(yield* rows({ sql: `from ${from}` }), expected, from)
      }
      const both = `select now.a, old.a from silver.travelled now, silver.travelled for version as of ${id} old`
      assert.deepStrictEqual(yield* rows({ sql: both }), [[3, 1]])
      assert.strictEqual(now.snapshots.length, 3)
      for (const [from, reason] of [
        ["silver.travelled for version as of 77", `Its newest are ${now.currentSnapshotId}`],
        ["silver.travelled for timestamp as of '2001-01-01'", "Its first one is of"],
        ["silver.travelled@relaese", 'Did you mean "release"?'],
        ["silver.travelled for timestamp as of now()", "cannot be computed"],
        ["silver.gone for version as of 1", "does not exist"],
        ["silver.gone@release", 'There is no table silver.gone on "release"'],
      ] as const) {
        const error = yield* refusal({ sql: `from ${from}` })
        assert.strictEqual(error._tag, "QueryInvalid", from)
        assert.include(error.message, reason)
      }
    }),
  )

  it.effect("what a table knows of itself can be asked in SQL", () =>
    Effect.gen(function* () {
      yield* publish("default.silver.known", "select i as a, 'k' || i as k from range(5) t(i)")
      yield* publish("default.silver.known", "select i as a, 'k' || i as k from range(7) t(i)")
      const one = (sql: string) => Effect.map(rows({ sql }), ([row]) => row)
      assert.deepStrictEqual(
        yield* rows({
          sql: "select operation, summary['added-records'], parent_id is null, committed_at <= now() from silver.known$snapshots order by committed_at",
        }),
        [
          ["overwrite", "5", true, true],
          ["overwrite", "7", false, true],
        ],
      )
      assert.deepStrictEqual(
        yield* one(
          "select content, file_format, record_count, lower_bounds[1], upper_bounds[2], null_value_counts[1] from silver.known$files",
        ),
        [0, "PARQUET", "7", "0", "k6", "0"],
      )
      assert.deepStrictEqual(yield* one("select count(*), bool_and(is_current_ancestor) from silver.known$history"), [
        "2",
        true,
      ])
      assert.deepStrictEqual(yield* one("select name, type from silver.known$refs"), ["main", "BRANCH"])
      assert.deepStrictEqual(yield* one("select record_count, file_count, spec_id from silver.known$partitions"), [
        "7",
        "1",
        0,
      ])
      assert.deepStrictEqual(yield* one("select sum(added_data_files_count) from silver.known$manifests"), ["1"])
      assert.deepStrictEqual(
        yield* one("select status, data_file.record_count, sequence_number from silver.known$entries where status < 2"),
        [1, "7", "2"],
      )
      assert.deepStrictEqual(yield* one("select count(*) from silver.known$metadata_log_entries"), ["2"])
      assert.deepStrictEqual(
        yield* one(
          `select record_count from silver.known$files for version as of ${yield* one("select min_by(snapshot_id, committed_at)::varchar from silver.known$snapshots")}`,
        ),
        ["5"],
      )
      assert.deepStrictEqual(yield* rows({ sql: "from silver.known$delete_files" }), [])
      const unknown = yield* refusal({ sql: "from silver.known$snapshot" })
      assert.include(unknown.message, 'Did you mean "$snapshots"?')
    }),
  )
})
