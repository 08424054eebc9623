import { assert, layer } from "@effect/vitest"
import { Effect, Layer, Result } from "effect"
import * as fc from "fast-check"
import { ObjectStore, StoreUnavailable } from "../store/ObjectStore.ts"
import { TestTables } from "../write/TestTable.ts"
import { type ContentFile, type DataFile, type DeleteFile, fileKey } from "./DataFile.ts"
import { IcebergTable, type TableCommit } from "./IcebergTable.ts"
import type { MetadataUpdate } from "./MetadataUpdate.ts"
import { encodeSingleValue, type SingleValue } from "./SingleValue.ts"
import type { SnapshotChange } from "./TableChange.ts"
import type { TableMetadata } from "./TableMetadata.ts"

const facts = (filePath: string, recordCount: number) => ({
  filePath,
  specId: 0,
  partition: [] as ReadonlyArray<SingleValue | null>,
  recordCount,
  fileSizeBytes: recordCount * 10,
  columnSizes: new Map<number, number>(),
  valueCounts: new Map([[1, recordCount]]),
  nullValueCounts: new Map([[1, 0]]),
  nanValueCounts: new Map<number, number>(),
  lowerBounds: new Map([[1, encodeSingleValue("long", 0n)]]),
  upperBounds: new Map([[1, encodeSingleValue("long", BigInt(recordCount))]]),
})
const data = (path: string, recordCount = 10, more: Partial<DataFile> = {}): DataFile => ({
  ...facts(path, recordCount),
  content: "data",
  schemaId: -1,
  ...more,
})
const positions = (path: string, recordCount: number, more: Partial<DeleteFile> = {}): DeleteFile => ({
  ...facts(path, recordCount),
  content: "position-deletes",
  format: "parquet",
  ...more,
})
const vector = (path: string, of: string, recordCount = 1, contentOffset = 4): DeleteFile =>
  positions(path, recordCount, { format: "puffin", referencedDataFile: of, contentOffset, contentSizeBytes: 40 })

const nothing: SnapshotChange = {
  operation: "append",
  added: [],
  addedDeletes: [],
  removed: new Set(),
  removedDeletes: new Set(),
}
const schema = {
  schemaId: 0,
  fields: [{ id: 1, name: "id", required: false, type: "long" }],
  identifierFieldIds: [],
}
const make: ReadonlyArray<MetadataUpdate> = [
  { action: "add-schema", schema },
  { action: "set-current-schema", schemaId: -1 },
]
const version3: MetadataUpdate = { action: "upgrade-format-version", formatVersion: 3 }
const partitioned = (transform: string): ReadonlyArray<MetadataUpdate> => [
  {
    action: "add-spec",
    spec: { specId: 0, fields: [{ sourceId: 1, fieldId: -1, name: `id_${transform.slice(0, 3)}`, transform }] },
  },
  { action: "set-default-spec", specId: -1 },
]

let runs = 0
const commit = Effect.fnUntraced(function* (
  base: TableCommit | null,
  name: string,
  snapshot: Partial<SnapshotChange> | null,
  updates: ReadonlyArray<MetadataUpdate> = base === null ? make : [],
) {
  const tables = yield* IcebergTable
  const store = yield* ObjectStore
  return yield* tables.commit({
    base,
    location: store.locationOf(`ns/silver/${name}`),
    runId: `run-${runs++}`,
    updates,
    snapshot: snapshot === null ? null : { ...nothing, ...snapshot },
  })
})

/** A reader that has seen nothing yet. */
const anotherNode = Layer.fresh(IcebergTable.layer)
const read = Effect.fnUntraced(function* (metadata: TableMetadata, snapshotId?: bigint) {
  return yield* Effect.gen(function* () {
    const tables = yield* IcebergTable
    const lines = yield* tables.manifests(metadata, snapshotId)
    const { data, deletes } = yield* tables.files(metadata, snapshotId)
    return { lines, data, deletes }
  }).pipe(Effect.provide(anotherNode))
})
const keys = (files: ReadonlyArray<ContentFile>) => files.map(fileKey).sort()
const summary = (table: TableCommit) => table.metadata.snapshots.at(-1)!.summary

layer(TestTables, { excludeTestServices: true })("TableCommit", (it) => {
  it.effect("only manifests of removed files are written anew, and what stays keeps its sequence number", () =>
    Effect.gen(function* () {
      const first = yield* commit(null, "remove", { added: [data("a"), data("b", 20)] })
      const second = yield* commit(first, "remove", { added: [data("c")] })
      const before = yield* read(second.metadata)
      const third = yield* commit(second, "remove", {
        operation: "overwrite",
        added: [data("d")],
        removed: new Set(["a"]),
      })
      const after = yield* read(third.metadata)
      assert.deepStrictEqual(
        after.lines.map((line) => [line.addedFiles, line.existingFiles, line.deletedFiles, line.minSequenceNumber]),
        [
          [1, 0, 0, 3n],
          [0, 1, 1, 1n],
          [1, 0, 0, 2n],
        ],
      )
      assert.deepStrictEqual(
        after.lines[2],
        before.lines.find(({ path }) => path === after.lines[2]!.path),
      )
      assert.deepStrictEqual(
        after.data.map(({ filePath, schemaId, sequenceNumber }) => [filePath, sequenceNumber, schemaId]).sort(),
        [
          ["b", 1n, 0],
          ["c", 2n, 0],
          ["d", 3n, 0],
        ],
      )
      assert.deepInclude(summary(third), {
        operation: "overwrite",
        "added-records": "10",
        "deleted-data-files": "1",
        "deleted-records": "10",
        "removed-files-size": "100",
        "total-records": "40",
        "total-data-files": "3",
        "changed-partition-count": "1",
      })
      assert.deepStrictEqual(keys((yield* read(third.metadata, second.snapshotId!)).data), ["a", "b", "c"])
      const refused = yield* Effect.flip(commit(third, "remove", { operation: "delete", removed: new Set(["b", "a"]) }))
      assert.strictEqual(refused._tag, "TableCorrupt")
      assert.include(refused.message, "removes a, which its current snapshot does not list")
    }),
  )

  it.effect("deletes that can concern no file any more are dropped, others stay", () =>
    Effect.gen(function* () {
      const [one, two] = [{ partition: [1n] }, { partition: [2n] }]
      const first = yield* commit(
        null,
        "dangling",
        { added: [data("a", 10, one), data("b", 10, one), data("c", 10, two)] },
        [...make, ...partitioned("bucket[4]")],
      )
      const second = yield* commit(first, "dangling", {
        operation: "delete",
        addedDeletes: [
          positions("p1", 3, one),
          positions("pa", 1, { ...one, referencedDataFile: "a" }),
          positions("p2", 2, two),
          { ...positions("e", 1, two), content: "equality-deletes", equalityIds: [1] },
        ],
      })
      assert.deepStrictEqual(
        [second.totalRecords, second.totals.positionDeletes, second.totals.deleteFiles],
        [24, 6, 4],
      )
      const third = yield* commit(second, "dangling", { added: [data("new", 5, two)] })
      const fourth = yield* commit(third, "dangling", { operation: "overwrite", removed: new Set(["a", "c"]) })
      const { data: files, deletes } = yield* read(fourth.metadata)
      assert.deepStrictEqual([keys(files), keys(deletes)], [["b", "new"], ["p1"]])
      assert.deepInclude(summary(fourth), {
        "removed-delete-files": "3",
        "removed-position-deletes": "3",
        "removed-equality-deletes": "1",
        "total-delete-files": "1",
        "total-position-deletes": "3",
        "total-equality-deletes": "0",
        "changed-partition-count": "2",
      })
      const emptied = yield* commit(fourth, "dangling", {
        operation: "overwrite",
        removed: "all",
        added: [data("z", 1, one)],
      })
      const last = yield* read(emptied.metadata)
      assert.deepStrictEqual([keys(last.data), keys(last.deletes), emptied.totalRecords], [["z"], [], 1])
    }),
  )

  it.effect("a data file has one deletion vector, which goes with it", () =>
    Effect.gen(function* () {
      const first = yield* commit(null, "vectors", { added: [data("a"), data("b")] }, [...make, version3])
      const second = yield* commit(first, "vectors", {
        operation: "delete",
        addedDeletes: [vector("v.puffin", "a"), vector("v.puffin", "b", 2, 50)],
      })
      assert.strictEqual(summary(second)["added-dvs"], "2")
      const twice = yield* Effect.flip(
        commit(second, "vectors", { operation: "delete", addedDeletes: [vector("w.puffin", "a", 3)] }),
      )
      assert.include(twice.message, "vector for a, which has one already")
      const third = yield* commit(second, "vectors", {
        operation: "delete",
        addedDeletes: [vector("w.puffin", "a", 3)],
        removedDeletes: new Set(["v.puffin#4"]),
      })
      assert.deepStrictEqual(keys((yield* read(third.metadata)).deletes), ["v.puffin#50", "w.puffin#4"])
      assert.strictEqual(third.totalRecords, 15)
      const fourth = yield* commit(third, "vectors", { operation: "delete", removed: new Set(["a"]) })
      const { deletes } = yield* read(fourth.metadata)
      assert.deepStrictEqual(deletes, [{ ...vector("v.puffin", "b", 2, 50), sequenceNumber: 2n }])
    }),
  )

  it.effect("files that do not fit the table's version, specs or schemas are refused", () =>
    Effect.gen(function* () {
      const table = yield* commit(null, "unfit", { added: [data("a")] })
      const newer = yield* commit(table, "unfit", null, [version3])
      const reason = (base: TableCommit, change: Partial<SnapshotChange>) =>
        Effect.map(Effect.flip(commit(base, "unfit", change)), (error) => `${error._tag}: ${error.message}`)
      assert.include(yield* reason(table, { addedDeletes: [vector("v", "a")] }), "UpdateRefused")
      assert.include(yield* reason(table, { addedDeletes: [vector("v", "a")] }), "needs format version 3")
      assert.include(yield* reason(newer, { addedDeletes: [positions("p", 1)] }), "since format version 3")
      assert.include(yield* reason(table, { added: [data("b", 1, { specId: 4 })] }), "partition spec 4")
      assert.include(yield* reason(table, { added: [data("b", 1, { partition: [1n] })] }), "1 partition values")
      assert.include(yield* reason(table, { added: [data("b", 1, { schemaId: 9 })] }), "schema 9")
      const update = yield* Effect.flip(commit(table, "unfit", null, [{ action: "set-current-schema", schemaId: 5 }]))
      assert.include(update.message, "set-current-schema")
    }),
  )

  it.effect("partition specs change, and every manifest says what its files' partitions are", () =>
    Effect.gen(function* () {
      const first = yield* commit(
        null,
        "specs",
        {
          added: [
            data("a", 1, { partition: [30n] }),
            data("b", 1, { partition: [-10n] }),
            data("n", 1, { partition: [null] }),
          ],
        },
        [...make, ...partitioned("truncate[10]")],
      )
      const second = yield* commit(
        first,
        "specs",
        { added: [data("c", 1, { specId: 1, partition: [3n] }), data("d", 1, { partition: [0n] })] },
        partitioned("bucket[8]"),
      )
      const { data: files, lines } = yield* read(second.metadata)
      assert.deepStrictEqual(
        lines.map(({ addedFiles, partitionSpecId, partitions }) => [
          partitionSpecId,
          addedFiles,
          partitions!.map((field) => [field.containsNull, field.lowerBound?.[0], field.upperBound?.[0]]),
        ]),
        [
          [1, 1, [[false, 3, 3]]],
          [0, 1, [[false, 0, 0]]],
          [0, 3, [[true, 246, 30]]],
        ],
      )
      assert.deepStrictEqual(files.map(({ filePath, partition, specId }) => [filePath, specId, partition[0]]).sort(), [
        ["a", 0, 30n],
        ["b", 0, -10n],
        ["c", 1, 3n],
        ["d", 0, 0n],
        ["n", 0, null],
      ])
    }),
  )

  it.effect("many small commits leave few manifests, and files keep their sequence numbers and row ids", () =>
    Effect.gen(function* () {
      let table = yield* commit(null, "many", { added: [data("f0", 7)] }, [
        ...make,
        version3,
        { action: "set-properties", updates: { "commit.manifest.min-count-to-merge": "5" } },
      ])
      const rowIds = new Map<string, bigint>()
      for (let index = 1; index <= 40; index++) {
        table = yield* commit(table, "many", { added: [data(`f${index}`, 7)] })
        const { data: files, lines } = yield* read(table.metadata)
        assert.isAtMost(lines.length, 5)
        assert.strictEqual(files.length, index + 1)
        for (const file of files) {
          assert.strictEqual(file.sequenceNumber, BigInt(file.filePath.slice(1)) + 1n)
          assert.strictEqual(rowIds.get(file.filePath) ?? file.firstRowId, file.firstRowId)
          assert.strictEqual(file.schemaId, 0)
          rowIds.set(file.filePath, file.firstRowId!)
        }
      }
      assert.deepStrictEqual(
        [...rowIds.values()].sort((left, right) => Number(left - right)),
        Array.from({ length: 41 }, (_, index) => BigInt(index * 7)),
      )
      assert.strictEqual(table.metadata.nextRowId, 41n * 7n)
      assert.strictEqual(table.metadata.snapshots.at(-1)!.addedRows, 7n)
    }),
  )

  it.effect("a table that becomes version 3 gives row ids to the files that it has, once", () =>
    Effect.gen(function* () {
      const old = yield* commit(yield* commit(null, "upgrade", { added: [data("a", 3)] }), "upgrade", {
        added: [data("b", 4)],
      })
      assert.isUndefined((yield* read(old.metadata)).data[0]!.firstRowId)
      const upgraded = yield* commit(old, "upgrade", { added: [data("c", 5)] }, [version3])
      const ids = (files: ReadonlyArray<DataFile>) =>
        Object.fromEntries(files.map((file) => [file.filePath, file.firstRowId]))
      const assigned = ids((yield* read(upgraded.metadata)).data)
      assert.deepStrictEqual(assigned, { c: 0n, b: 5n, a: 9n })
      assert.deepInclude(upgraded.metadata.snapshots.at(-1), { firstRowId: 0n, addedRows: 12n })
      const last = yield* commit(upgraded, "upgrade", {
        operation: "overwrite",
        removed: new Set(["b"]),
        added: [data("d", 1)],
      })
      assert.deepStrictEqual(ids((yield* read(last.metadata)).data), { a: 9n, c: 0n, d: 12n })
    }),
  )

  it.effect("row ids of an upgraded table do not overlap, also where its manifests hold files of older snapshots", () =>
    Effect.gen(function* () {
      const first = yield* commit(null, "older", { added: [data("a", 3), data("b", 4), data("c", 2)] })
      const old = yield* commit(first, "older", { operation: "delete", removed: new Set(["b"]) })
      const upgraded = yield* commit(old, "older", { added: [data("d", 5)] }, [version3])
      const last = yield* commit(upgraded, "older", { added: [data("e", 1)] })
      const { data: files } = yield* read(last.metadata)
      assert.deepStrictEqual(Object.fromEntries(files.map((file) => [file.filePath, file.firstRowId])), {
        d: 0n,
        a: 5n,
        c: 8n,
        e: 10n,
      })
    }),
  )

  it.effect("equality deletes concern older files only: without any, they go", () =>
    Effect.gen(function* () {
      const equality = (path: string): DeleteFile => ({
        ...positions(path, 1),
        content: "equality-deletes",
        equalityIds: [1],
      })
      const first = yield* commit(null, "equality", { added: [data("a")] })
      const second = yield* commit(first, "equality", {
        operation: "overwrite",
        added: [data("b")],
        addedDeletes: [equality("e2")],
      })
      const third = yield* commit(second, "equality", { operation: "delete", addedDeletes: [equality("e3")] })
      const fourth = yield* commit(third, "equality", { operation: "overwrite", removed: new Set(["a"]) })
      const { data: files, deletes } = yield* read(fourth.metadata)
      assert.deepStrictEqual([keys(files), keys(deletes)], [["b"], ["e3"]])
    }),
  )

  it.effect("a rewrite keeps its old sequence number where it says so, an append never does", () =>
    Effect.gen(function* () {
      const first = yield* commit(null, "keep", { added: [data("a")] })
      const equality: DeleteFile = { ...positions("e", 1), content: "equality-deletes", equalityIds: [1] }
      const second = yield* commit(first, "keep", { operation: "delete", addedDeletes: [equality] })
      const rewrite = { removed: new Set(["a"]), added: [data("b", 10, { sequenceNumber: 1n })] }
      const replaced = yield* read((yield* commit(second, "keep", { ...rewrite, operation: "replace" })).metadata)
      assert.deepStrictEqual([replaced.data[0]!.sequenceNumber, keys(replaced.deletes)], [1n, ["e"]])
      const overwritten = yield* read((yield* commit(second, "keep", { ...rewrite, operation: "overwrite" })).metadata)
      assert.deepStrictEqual([overwritten.data[0]!.sequenceNumber, keys(overwritten.deletes)], [3n, []])
    }),
  )

  it.effect(
    "a commit that is stopped before any of its files leaves the table as it was, and repeated it is the same commit",
    () =>
      Effect.gen(function* () {
        const store = yield* ObjectStore
        const tables = yield* IcebergTable
        const first = yield* commit(null, "stopped", { added: [data("a"), data("b")] })
        const base = yield* commit(first, "stopped", {
          operation: "delete",
          addedDeletes: [positions("p", 1, { referencedDataFile: "a" })],
        })
        const change = {
          base,
          location: base.metadata.location,
          runId: "stopped",
          updates: [{ action: "set-properties" as const, updates: { k: "v" } }],
          snapshot: { ...nothing, operation: "overwrite" as const, added: [data("c")], removed: new Set(["a"]) },
        }
        let stopped = 0
        for (; ; stopped++) {
          let writes = 0
          const failing = ObjectStore.of({
            ...store,
            put: (key, bytes, options) =>
              writes++ < stopped
                ? store.put(key, bytes, options)
                : Effect.fail(new StoreUnavailable({ key, reason: "the power went out" })),
          })
          const outcome = yield* Effect.flatMap(IcebergTable, (table) => table.commit(change)).pipe(
            Effect.provide(Layer.fresh(IcebergTable.layer).pipe(Layer.provide(Layer.succeed(ObjectStore, failing)))),
            Effect.result,
          )
          const before = yield* read(base.metadata)
          assert.deepStrictEqual([keys(before.data), keys(before.deletes)], [["a", "b"], ["p"]])
          if (Result.isFailure(outcome)) continue
          const again = yield* tables.commit(change)
          assert.strictEqual(again.metadataLocation, outcome.success.metadataLocation)
          assert.deepStrictEqual(again.metadata, outcome.success.metadata)
          const after = yield* read(again.metadata)
          assert.deepStrictEqual([keys(after.data), keys(after.deletes)], [["b", "c"], []])
          break
        }
        assert.strictEqual(stopped, 5) // metadata, list, and manifests of added, removed and delete files
      }),
  )

  it.effect("any sequence of changes ends in the files, totals and row ids of a plain model", () =>
    Effect.gen(function* () {
      const tables = yield* IcebergTable
      const steps = fc.array(
        fc.record({
          adds: fc.nat({ max: 3 }),
          removes: fc.nat({ max: 2 }),
          vectors: fc.nat({ max: 2 }),
          all: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
          replace: fc.boolean(),
        }),
        { minLength: 1, maxLength: 12 },
      )
      const seed = Number(process.env.RAT_TEST_SEED ?? Date.now() % 1_000_000)
      for (const [round, plan] of fc.sample(steps, { numRuns: 25, seed }).entries()) {
        let table = yield* commit(null, `model-${seed}-${round}`, { added: [] }, [
          ...make,
          version3,
          { action: "set-properties", updates: { "commit.manifest.min-count-to-merge": "3" } },
        ])
        const model = new Map<
          string,
          { file: DataFile; vector: DeleteFile | null; rowId: bigint | null; sequence: bigint }
        >()
        let names = 0
        for (const step of plan) {
          const victims = step.all
            ? [...model.keys()]
            : [...model.keys()].filter((_, index) => index % 3 === 1).slice(0, step.removes)
          const staying = [...model.keys()].filter((key) => !victims.includes(key))
          const added = Array.from({ length: step.adds }, () => data(`m${names++}`, 1 + (names % 5)))
          const marked = staying.slice(-step.vectors || staying.length)
          const addedDeletes = marked.map((path, index) => vector(`v${names++}.puffin`, path, 1, 4 + index))
          const removedDeletes = new Set(
            marked.flatMap((path) => (model.get(path)!.vector === null ? [] : [fileKey(model.get(path)!.vector!)])),
          )
          const removed = step.all ? ("all" as const) : new Set(victims)
          table = yield* commit(table, `model-${seed}-${round}`, {
            operation: step.replace ? "replace" : "overwrite",
            added,
            addedDeletes,
            removed,
            removedDeletes,
          })
          for (const path of victims) model.delete(path)
          for (const [index, path] of marked.entries()) model.get(path)!.vector = addedDeletes[index]!
          for (const file of added) {
            model.set(file.filePath, { file, vector: null, rowId: null, sequence: table.metadata.lastSequenceNumber })
          }
          const expected = [...model.values()]
          const { data: files, deletes, lines } = yield* read(table.metadata)
          const context = `seed ${seed}, round ${round}`
          assert.deepStrictEqual(keys(files), keys(expected.map(({ file }) => file)), context)
          assert.deepStrictEqual(keys(deletes), keys(expected.flatMap((each) => each.vector ?? [])), context)
          const rows = expected.reduce((sum, { file }) => sum + file.recordCount, 0)
          const deleted = expected.reduce((sum, each) => sum + (each.vector?.recordCount ?? 0), 0)
          assert.deepStrictEqual(
            [table.totals.dataFiles, table.totals.records, table.totals.deleteFiles, table.totals.positionDeletes],
            [files.length, rows, deletes.length, deleted],
            context,
          )
          assert.strictEqual(
            lines.reduce((sum, line) => sum + (line.content === "data" ? line.addedRows + line.existingRows : 0), 0),
            rows,
            context,
          )
          const ranges: Array<readonly [bigint, bigint]> = []
          for (const file of files) {
            const known = model.get(file.filePath)!
            assert.strictEqual(file.firstRowId, known.rowId ?? file.firstRowId, context)
            assert.strictEqual(file.sequenceNumber, known.sequence, context)
            known.rowId = file.firstRowId!
            ranges.push([file.firstRowId!, file.firstRowId! + BigInt(file.recordCount)])
          }
          ranges.sort((left, right) => (left[0] < right[0] ? -1 : 1))
          for (const [index, range] of ranges.entries()) {
            const next = ranges[index + 1]?.[0] ?? table.metadata.nextRowId!
            assert.isTrue(range[1] <= next, `row ids overlap; ${context}`)
          }
          // The writer's own cache says the same as the files.
          assert.deepStrictEqual(keys((yield* tables.files(table.metadata)).data), keys(files), context)
        }
      }
    }),
  )
})
