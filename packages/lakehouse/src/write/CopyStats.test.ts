import { join } from "node:path"
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { decodeSingleValue } from "../iceberg/SingleValue.ts"
import { copySql } from "./CopySql.ts"
import { type CopyRow, writtenFiles } from "./CopyStats.ts"
import { defaultEvolution, planWrite } from "./ResultSchema.ts"
import { TestDuckDb } from "./TestTable.ts"

const written = Effect.fnUntraced(function* (query: string, options = "") {
  const duck = yield* TestDuckDb
  const plan = yield* planWrite({
    table: "t",
    base: null,
    replaces: true,
    columns: yield* duck.columns(query),
    added: [],
    evolution: defaultEvolution,
  })
  const sql = copySql({
    query: plan.select(query),
    schema: plan.schema,
    target: join(duck.folder, `stats-${Math.random()}`),
    fileSizeBytes: 1_000_000_000,
  })
  const rows: ReadonlyArray<CopyRow> = yield* duck.rows(
    options === "" ? sql : sql.replace(/file_size_bytes \d+/, options),
  )
  return { schema: plan.schema, files: writtenFiles(rows, plan.schema, (index) => `file:///t/${index}.parquet`) }
})

layer(TestDuckDb.layer, { excludeTestServices: true })("CopyStats", (it) => {
  it.effect("counts, bounds and sizes are kept by field id, for fields inside structs too", () =>
    Effect.gen(function* () {
      const { files, schema } = yield* written(`
        select * from (values (1, 'b', {'x': 5, 'y': 'p'}, [1, 2]), (null, 'a', null, []), (3, null, {'x': null, 'y': 'q'}, null)) t(i, s, st, l)`)
      assert.strictEqual(files.length, 1)
      const { file } = files[0]!
      assert.strictEqual(file.recordCount, 3)
      assert.isAbove(file.fileSizeBytes, 100)
      const [i, s, st, l] = schema.fields
      const struct = st!.type as { fields: ReadonlyArray<{ id: number }> }
      const [x, y] = struct.fields
      const bound = (bounds: ReadonlyMap<number, Uint8Array>, id: number, type: string) =>
        bounds.has(id) ? decodeSingleValue(type, bounds.get(id)!) : undefined
      assert.deepStrictEqual([bound(file.lowerBounds, i!.id, "int"), bound(file.upperBounds, i!.id, "int")], [1n, 3n])
      assert.deepStrictEqual(
        [bound(file.lowerBounds, s!.id, "string"), bound(file.upperBounds, s!.id, "string")],
        ["a", "b"],
      )
      assert.deepStrictEqual(
        [bound(file.lowerBounds, x!.id, "int"), bound(file.upperBounds, y!.id, "string")],
        [5n, "q"],
      )
      assert.strictEqual(file.nullValueCounts.get(i!.id), 1)
      assert.strictEqual(file.valueCounts.get(i!.id), 3)
      assert.strictEqual(file.nullValueCounts.get(x!.id), 2)
      const element = (l!.type as { elementId: number }).elementId
      assert.isTrue(file.valueCounts.has(element) && file.columnSizes.has(element))
      assert.isFalse(file.lowerBounds.has(element))
      assert.isFalse(file.valueCounts.has(l!.id))
    }),
  )

  it.effect("a column with NaN has no bounds, one without says so, zeros have the signs of bounds", () =>
    Effect.gen(function* () {
      const { files } = yield* written(
        "select * from (values (1.0::double, 0.0::double, 'nan'::float), ('nan', -0.0, 'nan')) t(a, zeros, b)",
      )
      const { file } = files[0]!
      assert.isFalse(file.lowerBounds.has(1) || file.upperBounds.has(1) || file.nanValueCounts.has(1))
      assert.isFalse(file.lowerBounds.has(3) || file.nanValueCounts.has(3))
      assert.strictEqual(file.nanValueCounts.get(2), 0)
      assert.isTrue(Object.is(decodeSingleValue("double", file.lowerBounds.get(2)!), -0))
      assert.isTrue(Object.is(decodeSingleValue("double", file.upperBounds.get(2)!), 0))
    }),
  )

  it.effect("long strings and binaries have short bounds that enclose them", () =>
    Effect.gen(function* () {
      const { files } = yield* written(
        `select 'y' || repeat('z', 100) || i as s, repeat('é', 500) as e, repeat('ab', 40)::blob as b from range(10) t(i)`,
      )
      const { file } = files[0]!
      assert.strictEqual(decodeSingleValue("string", file.lowerBounds.get(1)!), `y${"z".repeat(15)}`)
      assert.strictEqual(decodeSingleValue("string", file.upperBounds.get(1)!), `y${"z".repeat(14)}{`)
      assert.strictEqual(Buffer.from(file.lowerBounds.get(3)!).toString(), "ab".repeat(8))
      assert.strictEqual(Buffer.from(file.upperBounds.get(3)!).toString(), `${"ab".repeat(7)}ac`)
    }),
  )

  it.effect("each of several files has its own statistics, and their rows add up", () =>
    Effect.gen(function* () {
      const { files } = yield* written(
        "select i, 'n' || (i % 7) as s, null::integer as n from range(600000) t(i)",
        "file_size_bytes '1MB'",
      )
      assert.isAbove(files.length, 1)
      assert.strictEqual(
        files.reduce((sum, { file }) => sum + file.recordCount, 0),
        600000,
      )
      assert.strictEqual(new Set(files.map(({ file }) => file.filePath)).size, files.length)
      assert.strictEqual(new Set(files.map(({ localPath }) => localPath)).size, files.length)
      for (const { file } of files) {
        assert.strictEqual(file.nullValueCounts.get(3), file.recordCount)
        assert.isFalse(file.lowerBounds.has(3))
        const [lower, upper] = [file.lowerBounds, file.upperBounds].map((bounds) =>
          decodeSingleValue("long", bounds.get(1)!),
        )
        assert.isAtLeast(Number((upper as bigint) - (lower as bigint)) + 1, file.recordCount)
      }
    }),
  )

  it.effect("an empty result makes no file", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual((yield* written("select 1 as a where false")).files, [])
    }),
  )
})
