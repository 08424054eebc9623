import { assert, layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { ScanPlanner } from "../scan/ScanPlanner.ts"
import { type ObjectNotFound, ObjectStore, StoreUnavailable } from "../store/ObjectStore.ts"
import { pathOfLocation, readTable, TestDuckDb, TestTables, writeTable } from "../write/TestTable.ts"
import { IcebergTable, type TableCommit } from "./IcebergTable.ts"
import { icebirdRows } from "./Icebird.ts"
import { decodeManifest } from "./Manifest.ts"
import { decodeManifestList } from "./ManifestList.ts"
import type { TableCorrupt } from "./TableCorrupt.ts"

const oneOfEach = `
  select * from (values
    (true, 1::tinyint, 300::smallint, 5::integer, 9007199254740993::bigint, 255::utinyint, 65535::usmallint,
      4294967295::uinteger, 18446744073709551615::ubigint, 12345678901234567890123456789012345678::hugeint,
      1.5::float, 'nan'::double, 1.23::decimal(5,2), 'héllo "x"', 'a'::enum('a','b'), '{"k":1}'::json,
      '\\x00\\xFF\\xAB'::blob, date '2020-02-29', time '12:34:56.123456', timestamp '2020-01-02 03:04:05.123456',
      '2020-01-02 03:04:05'::timestamp_s, timestamp_ns '2020-01-02 03:04:05.123456',
      timestamptz '2020-01-02 03:04:05.123456+00', 'f0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid,
      [1, 2, null], [1, 2]::integer[2], {'a': 1, 'b c': {'d': 'x', 'e"f': [true]}}, map {'k': 1.5::double}, [{'q': 1}], null),
    (null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null,
      null, null, null, null, null, null, null, null, null, null),
    (false, -1, -300, -5, -9007199254740993, 0, 0, 0, 0, -1::hugeint, -2.5, 'infinity', -9.99, '', 'b', '[]', '',
      date '0044-03-15 (BC)', time '00:00:00', timestamp '1919-01-02 03:04:05.1', '1970-01-01 00:00:00', timestamp_ns '1969-12-31 23:59:59.999999',
      timestamptz '1969-01-02 03:04:05+00', '00eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', [], [null, 0], null, map {}, [], null)
  ) t("bool", "tiny", "small", "Int", "big", "utiny", "usmall", "uint", "ubig", "huge", "f", "d", "dec", "text", "enum", "json",
    "blob", "date", "time", "ts", "ts_s", "ts_ns", "tz", "uuid", "list", "array", "struct", "map", "structs", "nothing")`

/** A reader that has seen nothing yet, as another node. */
const withoutCaches = Layer.fresh(ScanPlanner.layer.pipe(Layer.provide(IcebergTable.layer)))

layer(TestTables, { excludeTestServices: true })("IcebergTable", (it) => {
  it.effect("a table of all types is read back with the same rows by DuckDB", () =>
    Effect.gen(function* () {
      const duck = yield* TestDuckDb
      const table = yield* writeTable({
        name: "types",
        query: oneOfEach,
        runId: "run-types",
        operation: "overwrite",
        base: null,
      })
      assert.strictEqual(table.totalRecords, 3)
      const expected = yield* duck.rows(`select * replace (
        uint::bigint as uint, ubig::decimal(20,0) as ubig, huge::decimal(38,0) as huge, "enum"::varchar as "enum", "array"::integer[] as "array",
        ts_s::timestamp as ts_s, ts_ns::timestamp as ts_ns) from (${oneOfEach})`)
      assert.deepStrictEqual(yield* readTable(table.metadataLocation), expected)
    }),
  )

  it.effect("a foreign reader sees the rows of creation, append and overwrite", () =>
    Effect.gen(function* () {
      const write = { name: "steps", base: null }
      const created = yield* writeTable({
        ...write,
        runId: "run-1",
        operation: "overwrite",
        query: "select i as id, 'row ' || i as name from range(3) t(i)",
      })
      const appended = yield* writeTable({
        ...write,
        base: created,
        runId: "run-2",
        operation: "append",
        query: "select 'row ' || i as name, i as id from range(3, 5) t(i)",
      })
      const replaced = yield* writeTable({
        ...write,
        base: appended,
        runId: "run-3",
        operation: "overwrite",
        query: "select i as id, i * 1.5::double as score from range(2) t(i)",
        evolution: { allowDestructive: true },
      })
      assert.deepStrictEqual(
        (yield* icebirdRows(appended.metadataLocation)).toSorted((a, b) => Number(a.id) - Number(b.id)),
        [0n, 1n, 2n, 3n, 4n].map((id) => ({ id, name: `row ${id}` })),
      )
      assert.deepStrictEqual(yield* icebirdRows(replaced.metadataLocation), [
        { id: 0n, score: 0 },
        { id: 1n, score: 1.5 },
      ])
      // Time travel: an old snapshot comes with its own schema.
      const old = yield* readTable(replaced.metadataLocation, {
        snapshotId: appended.snapshotId!,
        suffix: "order by id",
      })
      assert.deepStrictEqual(old[4], { id: "4", name: "row 4" })
      const summary = replaced.metadata.snapshots.at(-1)!.summary
      assert.deepInclude(summary, {
        operation: "overwrite",
        "added-records": "2",
        "deleted-data-files": "2",
        "deleted-records": "5",
        "total-records": "2",
        "total-data-files": "1",
        "rat.run-id": "run-3",
      })
      assert.strictEqual(replaced.metadata.schemas.length, 2)
      assert.strictEqual(replaced.metadata.metadataLog.length, 2)
      assert.strictEqual(replaced.metadata.lastSequenceNumber, 3n)
    }),
  )

  it.effect("added files inherit the commit's sequence number, deleted ones keep their own", () =>
    Effect.gen(function* () {
      const store = yield* ObjectStore
      const step = (runId: string, operation: "append" | "overwrite", base: TableCommit | null) =>
        writeTable({ name: "sequence", query: "select 1 as a", runId, operation, base })
      const first = yield* step("run-1", "overwrite", null)
      const second = yield* step("run-2", "append", first)
      const third = yield* step("run-3", "overwrite", second)
      const manifestList = third.metadata.snapshots.at(-1)!.manifestList
      const lines = yield* decodeManifestList(manifestList, yield* store.get(store.keyOf(manifestList)))
      assert.deepStrictEqual(
        lines.map(({ addedFiles, deletedFiles, sequenceNumber }) => [sequenceNumber, addedFiles, deletedFiles]),
        [
          [3n, 1, 0],
          [3n, 0, 2],
        ],
      )
      const entries = yield* Effect.forEach(lines, ({ path }) =>
        Effect.flatMap(store.get(store.keyOf(path)), (bytes) => decodeManifest(path, bytes, 0, third.metadata)),
      )
      assert.deepStrictEqual(
        entries
          .flat()
          .map(({ fileSequenceNumber, sequenceNumber, snapshotId, status }) => [
            status,
            snapshotId,
            sequenceNumber,
            fileSequenceNumber,
          ]),
        [
          ["added", third.snapshotId, null, null],
          ["deleted", third.snapshotId, 2n, 2n],
          ["deleted", third.snapshotId, 1n, 1n],
        ],
      )
      // An append carries old manifests over, but not one that only tells of deletions of an older snapshot.
      const fourth = yield* step("run-4", "append", third)
      const last = fourth.metadata.snapshots.at(-1)!.manifestList
      const carried = yield* decodeManifestList(last, yield* store.get(store.keyOf(last)))
      assert.deepStrictEqual(carried.slice(1), lines.slice(0, 1))
      assert.strictEqual(carried[0]!.sequenceNumber, 4n)
    }),
  )

  it.effect("a repeated commit of a run answers with the same table and writes nothing new", () =>
    Effect.gen(function* () {
      const tables = yield* IcebergTable
      const store = yield* ObjectStore
      const write = {
        name: "twice",
        query: "select 1 as a",
        runId: "run-same",
        operation: "overwrite",
        base: null,
      } as const
      const first = yield* writeTable(write)
      const stored = yield* store.get(store.keyOf(first.metadataLocation))
      yield* Effect.sleep("5 millis")
      const second = yield* writeTable(write)
      assert.strictEqual(second.metadataLocation, first.metadataLocation)
      assert.strictEqual(second.snapshotId, first.snapshotId)
      assert.deepStrictEqual(second.metadata, first.metadata)
      assert.deepStrictEqual(yield* store.get(store.keyOf(first.metadataLocation)), stored)
      assert.strictEqual((yield* tables.files(second.metadata)).data.length, 1)
    }),
  )

  it.effect("a commit that is stopped at any write leaves the old table as it was, and its repetition succeeds", () =>
    Effect.gen(function* () {
      const store = yield* ObjectStore
      const created = yield* writeTable({
        name: "crash",
        query: "select 1 as a",
        runId: "run-a",
        operation: "overwrite",
        base: null,
      })
      const add = { name: "crash", query: "select 2 as a", runId: "run-b", operation: "append", base: created } as const
      for (let allowed = 0; allowed < 3; allowed++) {
        let writes = 0
        const failing = ObjectStore.of({
          ...store,
          put: (key, bytes, options) =>
            writes++ < allowed
              ? store.put(key, bytes, options)
              : Effect.fail(new StoreUnavailable({ key, reason: "the power went out" })),
        })
        const stopped = yield* writeTable(add).pipe(
          Effect.provide(Layer.fresh(IcebergTable.layer).pipe(Layer.provide(Layer.succeed(ObjectStore, failing)))),
          Effect.result,
        )
        assert.strictEqual(stopped._tag, "Failure")
        assert.deepStrictEqual(yield* readTable(created.metadataLocation), [{ a: 1 }])
      }
      const added = yield* writeTable(add)
      assert.deepStrictEqual(yield* readTable(added.metadataLocation, { suffix: "order by a" }), [{ a: 1 }, { a: 2 }])
    }),
  )

  it.effect("a table without rows is created, and read as no rows of the right types", () =>
    Effect.gen(function* () {
      const query = "select 1::decimal(9,2) as a, {'b': 'x'} as s where false"
      const table = yield* writeTable({ name: "empty", query, runId: "run-0", operation: "overwrite", base: null })
      assert.strictEqual(table.totalRecords, 0)
      assert.deepStrictEqual(yield* readTable(table.metadataLocation), [])
      const plan = yield* (yield* ScanPlanner).plan(table.metadataLocation)
      const columns = yield* (yield* TestDuckDb).columns(plan.relation(pathOfLocation))
      assert.deepStrictEqual(
        columns.map(({ name, type }) => [name, type]),
        [
          ["a", "DECIMAL(9,2)"],
          ["s", "STRUCT(b VARCHAR)"],
        ],
      )
      const filled = yield* writeTable({
        name: "empty",
        query: "select 5::decimal(9,2) as a, {'b': 'y'} as s",
        runId: "run-1",
        operation: "append",
        base: table,
      })
      assert.strictEqual(filled.totalRecords, 1)
      assert.deepStrictEqual(yield* readTable(filled.metadataLocation), [{ a: "5.00", s: { b: "y" } }])
    }),
  )

  it.effect("files that are missing, cut off or elsewhere are errors that name them", () =>
    Effect.gen(function* () {
      const store = yield* ObjectStore
      const table = yield* writeTable({
        name: "damaged",
        query: "select i from range(1000) t(i)",
        runId: "run-d",
        operation: "overwrite",
        base: null,
      })
      // Without the caches of the writer.
      const failureOf = (location: string) => readTable(location).pipe(Effect.provide(withoutCaches), Effect.flip)
      const manifestList = table.metadata.snapshots[0]!.manifestList
      const [manifest] = yield* decodeManifestList(manifestList, yield* store.get(store.keyOf(manifestList)))
      for (const location of [manifest!.path, manifestList, table.metadataLocation]) {
        const bytes = Buffer.from(yield* store.get(store.keyOf(location)))
        const cuts = [bytes.length - 20]
        // Right behind the header, which ends in the marker that also ends the file: still a valid Avro file.
        if (location === manifest!.path) cuts.push(bytes.indexOf(bytes.subarray(-16)) + 16)
        for (const cut of cuts) {
          yield* store.put(store.keyOf(location), bytes.subarray(0, cut))
          const corrupt = yield* failureOf(table.metadataLocation)
          assert.strictEqual((corrupt as TableCorrupt)._tag, "TableCorrupt")
          assert.strictEqual((corrupt as TableCorrupt).location, location)
        }
        yield* store.remove([store.keyOf(location)])
        assert.strictEqual(((yield* failureOf(table.metadataLocation)) as ObjectNotFound)._tag, "ObjectNotFound")
      }
      const elsewhere = yield* failureOf("s3://other/metadata/00000-x.metadata.json")
      assert.include(elsewhere.message, "not in this object store")
    }),
  )

  it.effect("names of metadata files count up, and the metadata log is bounded", () =>
    Effect.gen(function* () {
      const tables = yield* IcebergTable
      let table = yield* writeTable({
        name: "log",
        query: "select 1 as a",
        runId: "run-0",
        operation: "overwrite",
        base: null,
      })
      assert.match(table.metadataLocation, /\/metadata\/00000-run-0-[0-9a-f]{8}\.metadata\.json$/)
      for (let index = 1; index <= 103; index++) {
        table = yield* tables.commit({
          base: table,
          location: table.metadata.location,
          updates: [],
          snapshot: { operation: "append", added: [], addedDeletes: [], removed: new Set(), removedDeletes: new Set() },
          runId: `run-${index}`,
        })
      }
      assert.match(table.metadataLocation, /\/metadata\/00103-run-103-/)
      assert.strictEqual(table.metadata.metadataLog.length, 100)
      assert.strictEqual(table.metadata.snapshots.length, 104)
      assert.strictEqual(table.metadata.schemas.length, 1)
      assert.strictEqual(table.metadata.properties["gc.enabled"], "false")
    }),
  )
})
