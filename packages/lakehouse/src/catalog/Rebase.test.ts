import { assert, layer } from "@effect/vitest"
import { mainRef, RefName, TableKey } from "@rat/domain"
import { Effect, Layer } from "effect"
import { IcebergTable, type TableCommit } from "../iceberg/IcebergTable.ts"
import { TestPostgres } from "../postgres/TestPostgres.ts"
import { readTable, TestTables, writeTable } from "../write/TestTable.ts"
import { Catalog } from "./Catalog.ts"
import { catalogMigrations } from "./CatalogMigrations.ts"
import { PostgresCatalog } from "./PostgresCatalog.ts"
import { Rebase } from "./Rebase.ts"

const append = (base: TableCommit, runId: string, query: string) =>
  writeTable({ name: base.metadata.location.split("/").at(-1)!, query, runId, operation: "append", base })

const create = (name: string, query: string) =>
  writeTable({ name, query, runId: "run-0", operation: "overwrite", base: null })

const values = (location: string, column = "a") =>
  Effect.map(readTable(location, { suffix: `order by ${column}` }), (rows) => rows.map((row) => row[column]))

const keyOf = (name: string) => new TableKey({ namespace: "ns", layer: "silver", name } as never)
const pointerOf = (made: TableCommit) => ({
  metadataLocation: made.metadataLocation,
  snapshotId: String(made.snapshotId),
  rowCount: made.totalRecords,
  sizeBytes: made.totalSizeBytes,
})

const testLayer = Rebase.layer.pipe(
  Layer.provideMerge(Layer.merge(PostgresCatalog.layer, TestTables)),
  Layer.provideMerge(TestPostgres.layer(catalogMigrations)),
)

layer(testLayer, { excludeTestServices: true })("Rebase", (it) => {
  it.effect("appends of both sides are all there afterwards, with the snapshots and totals of one table", () =>
    Effect.gen(function* () {
      const rebase = yield* Rebase
      const base = yield* create("both", "select 1 as a")
      const theirs = yield* append(base, "run-t", "select 2 as a union all select 3")
      const one = yield* append(base, "run-1", "select 10 as a")
      const ours = yield* append(one, "run-2", "select 11 as a union all select 12")
      const made = yield* rebase.appends(ours, theirs)
      assert.deepStrictEqual(yield* values(made.metadataLocation), [1, 2, 3, 10, 11, 12])
      assert.deepStrictEqual(
        made.metadata.snapshots.map(({ snapshotId }) => snapshotId),
        [base, theirs, one, ours].map(({ snapshotId }) => snapshotId),
      )
      assert.deepStrictEqual(
        made.metadata.snapshots.map(({ sequenceNumber }) => sequenceNumber),
        [1n, 2n, 3n, 4n],
      )
      assert.deepStrictEqual(
        made.metadata.snapshots.map(({ parentSnapshotId }) => parentSnapshotId),
        [null, base.snapshotId, theirs.snapshotId, one.snapshotId],
      )
      assert.strictEqual(made.totalRecords, 6)
      assert.strictEqual(made.metadata.snapshots.at(-1)!.summary["total-data-files"], "4")
      // Time travel to a snapshot of ours sees theirs too: it lies upon them.
      assert.strictEqual((yield* readTable(made.metadataLocation, { snapshotId: one.snapshotId! })).length, 4)
    }),
  )

  it.effect("a state that our side went back to is not lost under theirs", () =>
    Effect.gen(function* () {
      const rebase = yield* Rebase
      const tables = yield* IcebergTable
      const first = yield* create("back", "select 1 as a")
      const base = yield* append(first, "run-b", "select 2 as a")
      const theirs = yield* append(base, "run-t", "select 3 as a")
      const rolledBack = yield* tables.commit({
        base,
        location: base.metadata.location,
        runId: "back",
        updates: [{ action: "set-snapshot-ref", refName: "main", snapshotId: first.snapshotId!, type: "branch" }],
        snapshot: null,
      })
      assert.strictEqual(rolledBack.totalRecords, 1)
      const ours = yield* append(rolledBack, "run-o", "select 10 as a")
      const refused = yield* Effect.flip(rebase.appends(ours, theirs))
      assert.strictEqual(refused._tag, "RebaseConflict")
      // Where both sides began after the step back, it is part of both.
      const other = yield* append(rolledBack, "run-p", "select 11 as a")
      const made = yield* rebase.appends(ours, other)
      assert.deepStrictEqual(yield* values(made.metadataLocation), [1, 10, 11])
    }),
  )

  it.effect("appends that each bring a column are read with the columns that they have", () =>
    Effect.gen(function* () {
      const rebase = yield* Rebase
      const base = yield* create("columns", "select 1 as a")
      const theirs = yield* append(base, "run-t", "select 2 as a")
      const one = yield* append(base, "run-1", "select 3 as a, 'x' as x")
      const two = yield* append(one, "run-2", "select 4 as a, 'y' as y")
      const made = yield* rebase.appends(two, theirs)
      assert.deepStrictEqual(yield* readTable(made.metadataLocation, { suffix: "order by a" }), [
        { a: 1, x: null, y: null },
        { a: 2, x: null, y: null },
        { a: 3, x: "x", y: null },
        { a: 4, x: null, y: "y" },
      ])
      const before = yield* readTable(made.metadataLocation, { snapshotId: one.snapshotId!, suffix: "order by a" })
      assert.deepStrictEqual(before, [
        { a: 1, x: null },
        { a: 2, x: null },
        { a: 3, x: "x" },
      ])
    }),
  )

  it.effect("a snapshot that lies upon wider columns of theirs has those", () =>
    Effect.gen(function* () {
      const rebase = yield* Rebase
      const base = yield* create("wider", "select 1 as a")
      const theirs = yield* append(base, "run-t", "select 9000000000 as a, true as b")
      const one = yield* append(base, "run-1", "select 3 as a")
      const made = yield* rebase.appends(yield* append(one, "run-2", "select 4 as a"), theirs)
      const before = yield* readTable(made.metadataLocation, { snapshotId: one.snapshotId!, suffix: "order by a" })
      assert.deepStrictEqual(before, [
        { a: "1", b: null },
        { a: "3", b: null },
        { a: "9000000000", b: true },
      ])
    }),
  )

  it.effect("columns that were renamed and named back on their side are not taken for ours", () =>
    Effect.gen(function* () {
      const rebase = yield* Rebase
      const rename = (from: TableCommit, runId: string, query: string, renames: Record<string, string>) =>
        writeTable({ name: "renamed", query, runId, operation: "append", base: from, evolution: { renames } })
      const base = yield* create("renamed", "select 1 as a")
      const there = yield* rename(base, "run-t", "select 2 as b", { a: "b" })
      const theirs = yield* rename(there, "run-u", "select 3 as a", { b: "a" })
      const ours = yield* append(base, "run-1", "select 4 as a, 'x' as x")
      const outcome = yield* Effect.exit(rebase.appends(ours, theirs))
      if (outcome._tag === "Failure") return
      assert.deepStrictEqual(yield* values(outcome.value.metadataLocation, "x"), ["x", null, null, null])
    }),
  )

  it.effect("an append goes upon files that theirs only wrote anew, and next appends go on from there", () =>
    Effect.gen(function* () {
      const rebase = yield* Rebase
      const tables = yield* IcebergTable
      const base = yield* append(yield* create("compacted", "select 1 as a"), "run-1", "select 2 as a")
      const ours = yield* append(base, "run-o", "select 10 as a")
      const other = yield* create("compacted-files", "select unnest([1, 2]) as a")
      const [file] = (yield* tables.files(other.metadata)).data
      const { schemaId: _, sequenceNumber: __, ...moved } = file!
      const theirs = yield* tables.commit({
        base,
        location: base.metadata.location,
        runId: "compaction",
        updates: [],
        snapshot: { operation: "replace", added: [moved], addedDeletes: [], removed: "all", removedDeletes: "all" },
      })
      const made = yield* rebase.appends(ours, theirs)
      assert.deepStrictEqual(yield* values(made.metadataLocation), [1, 2, 10])
      const next = yield* append(made, "run-n", "select 20 as a")
      assert.deepStrictEqual(yield* values(next.metadataLocation), [1, 2, 10, 20])
      assert.strictEqual((yield* tables.files(next.metadata)).data.length, 3)
    }),
  )

  it.effect("rows that either side changed, and columns that both added, are conflicts that say so", () =>
    Effect.gen(function* () {
      const rebase = yield* Rebase
      const base = yield* create("conflicts", "select 1 as a")
      const appended = yield* append(base, "run-a", "select 2 as a")
      const replaced = yield* writeTable({
        name: "conflicts",
        query: "select 3 as a",
        runId: "run-r",
        operation: "overwrite",
        base,
      })
      const reason = (ours: TableCommit, theirs: TableCommit) =>
        Effect.map(Effect.flip(rebase.appends(ours, theirs)), (error) => error.message)
      assert.match(yield* reason(appended, replaced), /the other side changed rows that were there \(overwrite\)/)
      assert.match(yield* reason(replaced, appended), /this side changed rows that were there \(overwrite\)/)
      const columnB = yield* append(base, "run-b", "select 4 as a, 'x' as b")
      const columnC = yield* append(base, "run-c", "select 5 as a, 'y' as c")
      assert.match(yield* reason(columnB, columnC), /columns changed on both sides \(here "b", there "c"\)/)
      const one = yield* rebase.appends(columnB, appended)
      assert.deepStrictEqual(
        (yield* readTable(one.metadataLocation, { suffix: "order by a" })).map(({ a, b }) => [a, b]),
        [
          [1, null],
          [2, null],
          [4, "x"],
        ],
      )
      assert.match(yield* reason(yield* create("elsewhere", "select 1 as a"), base), /made on both sides/)
    }),
  )

  it.effect(
    "a branch whose table moved on main merges after it was put upon main's version, unless main moves again",
    () =>
      Effect.gen(function* () {
        const rebase = yield* Rebase
        const catalog = yield* Catalog
        const key = keyOf("merged")
        const commit = (ref: RefName, expected: TableCommit | null, made: TableCommit) =>
          catalog.commit(ref, {
            message: "m",
            author: "test",
            runId: null,
            changes: [{ key, expected: expected?.metadataLocation ?? null, next: pointerOf(made) }],
          })
        const branch = RefName.make("work")
        const base = yield* create("merged", "select 1 as a")
        yield* commit(mainRef, null, base)
        yield* catalog.createBranch(branch, { from: mainRef })
        const ours = yield* append(base, "run-o", "select 10 as a")
        yield* commit(branch, base, ours)
        const first = yield* append(base, "run-1", "select 2 as a")
        yield* commit(mainRef, base, first)
        const merge = catalog.merge(branch, { message: "merge", author: "test", runId: null })
        assert.strictEqual((yield* Effect.flip(merge))._tag, "CatalogConflict")
        assert.deepStrictEqual(yield* rebase.branch(branch, [key]), [])
        const second = yield* append(first, "run-2", "select 3 as a")
        yield* commit(mainRef, first, second)
        assert.strictEqual((yield* Effect.flip(merge))._tag, "CatalogConflict")
        assert.deepStrictEqual(yield* rebase.branch(branch, [key]), [])
        yield* merge
        const there = yield* catalog.table(mainRef, key)
        assert.deepStrictEqual(yield* values(there!.metadataLocation), [1, 2, 3, 10])
        assert.strictEqual(there!.rowCount, 4)
      }),
  )
})
