import * as fs from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DuckDBInstance } from "@duckdb/node-api"
import { assert, describe, it } from "@effect/vitest"
import { Column } from "@rat/domain"
import {
  copySql,
  defaultEvolution,
  type Evolution,
  FileStore,
  IcebergTable,
  ObjectStore,
  planWrite,
  ScanPlanner,
  type TableCommit,
  writtenFiles,
} from "@rat/lakehouse"
import { Effect, Layer } from "effect"
import { pyIceberg, runScript } from "./Install.ts"

/* Our tables read by PyIceberg, and PyIceberg's by us; skipped with the reason where it cannot be installed. */
const installed = await pyIceberg()

interface PyTable {
  readonly schema: ReadonlyArray<{ readonly id: number; readonly name: string; readonly type: string }>
  readonly rows: ReadonlyArray<Record<string, unknown>>
  readonly planned_files: number
  readonly files: ReadonlyArray<{
    readonly records: number
    readonly sequence_number: number
    readonly lower: Record<string, unknown>
    readonly upper: Record<string, unknown>
  }>
  readonly deleted_files: number
  readonly snapshots: ReadonlyArray<Record<string, string>>
}

const pathOf = (location: string) => location.replace(/^file:\/\//, "")

const scenario = Effect.gen(function* () {
  const python = "python" in installed ? installed.python : assert.fail(installed.reason)
  const folder = yield* Effect.acquireRelease(
    Effect.promise(() => fs.mkdtemp(join(tmpdir(), "rat-pyiceberg-"))),
    (path) => Effect.promise(() => fs.rm(path, { recursive: true, force: true })),
  )
  const connection = yield* Effect.acquireRelease(
    Effect.promise(async () => (await DuckDBInstance.create(":memory:")).connect()),
    (open) => Effect.sync(() => open.closeSync()),
  )
  const rows = (sql: string) => Effect.promise(async () => (await connection.runAndReadAll(sql)).getRowObjectsJson())
  const script = (name: string, ...args: ReadonlyArray<string>) =>
    Effect.promise(async () => (await runScript(python, name, ...args)).trim())
  const layer = ScanPlanner.layer.pipe(
    Layer.provideMerge(IcebergTable.layer),
    Layer.provideMerge(FileStore.layer({ root: folder })),
  )
  let copies = 0
  const write = Effect.fnUntraced(function* (
    query: string,
    operation: "append" | "overwrite",
    base: TableCommit | null,
    evolution: Partial<Evolution> = {},
    formatVersion: 2 | 3 | null = null,
  ) {
    const store = yield* ObjectStore
    const tables = yield* IcebergTable
    const described = yield* rows(`describe ${query}`)
    const plan = yield* planWrite({
      table: "t",
      base: base?.metadata ?? null,
      replaces: operation === "overwrite",
      columns: described.map((row) => new Column({ name: String(row.column_name), type: String(row.column_type) })),
      added: [],
      evolution: { ...defaultEvolution, allowDestructive: true, ...evolution },
      formatVersion,
    })
    const runId = `run-${copies++}`
    const location = store.locationOf("ns/silver/t")
    const written = writtenFiles(
      yield* rows(
        copySql({
          query: plan.select(query),
          schema: plan.schema,
          target: join(folder, runId),
          fileSizeBytes: 2 ** 28,
        }),
      ),
      plan.schema,
      (index) => `${location}/data/${runId}-${index}.parquet`,
    )
    for (const { file, localPath } of written) yield* store.putFile(store.keyOf(file.filePath), localPath)
    return yield* tables.commit({
      base,
      location,
      updates: plan.updates,
      snapshot: {
        operation,
        added: written.map(({ file }) => file),
        addedDeletes: [],
        removed: operation === "overwrite" ? "all" : new Set(),
        removedDeletes: operation === "overwrite" ? "all" : new Set(),
      },
      runId,
    })
  })
  const read = (location: string, ...filter: ReadonlyArray<string>) =>
    Effect.map(script("pyiceberg_read.py", location, ...filter), (text) => JSON.parse(text) as PyTable)
  return { folder, layer, read, rows, script, write }
})

describe.skipIf("reason" in installed)(
  `PyIceberg${"reason" in installed ? ` (skipped: ${installed.reason})` : ""}`,
  () => {
    it.live("reads a table of all types with the same schema, rows and bounds", () =>
      Effect.gen(function* () {
        const { layer, read, write } = yield* scenario
        const table = yield* Effect.provide(
          write(
            `select * from (values
              (true, 5, 9007199254740993::bigint, 18446744073709551615::ubigint, 1.5::float, 0.1::double, -1.23::decimal(5,2),
                'héllo "x", and much longer than bounds are', '\\x00\\xFF'::blob, date '2020-02-29', time '12:34:56.123456',
                timestamp '2020-01-02 03:04:05.123456', timestamptz '2020-01-02 03:04:05+00', 'f0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid,
                [1, null], {'a': 1, 'b c': {'d': 'x'}}, map {'k': 1.5::double}),
              (null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null)
            ) t(bool, int, big, ubig, f, d, dec, text, blob, date, time, ts, tz, uuid, list, struct, map)`,
            "overwrite",
            null,
          ),
          layer,
        )
        const seen = yield* read(table.metadataLocation)
        assert.deepStrictEqual(seen.schema.map(({ name, type }) => `${name} ${type}`).slice(0, 14), [
          "bool boolean",
          "int int",
          "big long",
          "ubig decimal(20, 0)",
          "f float",
          "d double",
          "dec decimal(5, 2)",
          "text string",
          "blob binary",
          "date date",
          "time time",
          "ts timestamp",
          "tz timestamptz",
          "uuid uuid",
        ])
        const [first, second] = seen.rows
        assert.deepStrictEqual(first, {
          bool: true,
          int: 5,
          // biome-ignore lint/correctness/noPrecisionLoss: JSON.parse reads the exact text as this double too
          big: 9007199254740993,
          ubig: "18446744073709551615",
          f: "1.5",
          d: "0.1",
          dec: "-1.23",
          text: 'héllo "x", and much longer than bounds are',
          blob: "00ff",
          date: "2020-02-29",
          time: "12:34:56.123456",
          ts: "2020-01-02T03:04:05.123456",
          tz: "2020-01-02T03:04:05+00:00",
          uuid: "f0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
          list: [1, null],
          struct: { a: 1, "b c": { d: "x" } },
          map: [["k", "1.5"]],
        })
        assert.isTrue(Object.values(second!).every((value) => value === null))
        const [file] = seen.files
        assert.deepInclude(file!.lower, {
          int: 5,
          dec: "-1.23",
          ubig: "18446744073709551615",
          text: 'héllo "x", and m',
          blob: "00ff",
          "struct.b c.d": "x",
        })
        assert.strictEqual(file!.upper.text, 'héllo "x", and n')
        assert.strictEqual(seen.snapshots[0]!["rat.run-id"], "run-0")
      }).pipe(Effect.scoped),
    )

    it.live("sees appends and overwrites, and prunes files by our bounds", () =>
      Effect.gen(function* () {
        const { layer, read, write } = yield* scenario
        const query = (from: number) => `select i as id, 'n' || i as name from range(${from}, ${from + 3}) t(i)`
        const [appended, replaced] = yield* Effect.gen(function* () {
          const created = yield* write(query(0), "overwrite", null)
          const appended = yield* write(query(3), "append", created)
          const replaced = yield* write("select 1.5::double as score, 9::bigint as id", "overwrite", appended)
          return [appended, replaced] as const
        }).pipe(Effect.provide(layer))
        const all = yield* read(appended.metadataLocation)
        assert.deepStrictEqual(all.rows.map((row) => row.name).toSorted(), ["n0", "n1", "n2", "n3", "n4", "n5"])
        assert.deepStrictEqual(
          all.files.map((file) => file.sequence_number),
          [2, 1],
        )
        const filtered = yield* read(appended.metadataLocation, "id >= 4")
        assert.strictEqual(filtered.planned_files, 1)
        assert.strictEqual(filtered.rows.length, 2)
        const last = yield* read(replaced.metadataLocation)
        assert.deepStrictEqual(last.rows, [{ score: "1.5", id: 9 }])
        assert.strictEqual(last.deleted_files, 2)
        assert.deepInclude(last.snapshots.at(-1), {
          operation: "overwrite",
          "deleted-records": "6",
          "total-records": "1",
        })
      }).pipe(Effect.scoped),
    )

    for (const version of [2, 3] as const) {
      it.live(`reads a table of version ${version} whose columns were renamed, added, widened, moved and nested`, () =>
        Effect.gen(function* () {
          const { layer, read, write } = yield* scenario
          const table = yield* Effect.gen(function* () {
            const first = yield* write(
              "select 1 as id, 'x' as name, 1.5::decimal(4,2) as price, {'a': 1, 'b': [{'p': 1}]} as s",
              "append",
              null,
              {},
              version,
            )
            const second = yield* write(
              "select 5000000000 as id, 'y' as label, 123456.5::decimal(8,2) as price, {'b': [{'q': 'n', 'p': 2}], 'a': 7} as s, date '2024-02-29' as day",
              "append",
              first,
              { renames: { name: "label" }, docs: { id: "the key" } },
            )
            return yield* write("select 3 as id", "append", second, { defaults: { label: "nobody" } })
          }).pipe(Effect.provide(layer))
          const seen = yield* read(table.metadataLocation)
          const rows = seen.rows.toSorted((a, b) => Number(a.id) - Number(b.id))
          assert.deepStrictEqual(rows, [
            { id: 1, label: "x", price: "1.50", s: { a: 1, b: [{ p: 1, q: null }] }, day: null },
            { id: 3, label: "nobody", price: null, s: null, day: null },
            {
              id: 5_000_000_000,
              label: "y",
              price: "123456.50",
              s: { a: 7, b: [{ p: 2, q: "n" }] },
              day: "2024-02-29",
            },
          ])
        }).pipe(Effect.scoped),
      )
    }

    it.live("a partitioned, evolved table that it wrote has the same rows for us", () =>
      Effect.gen(function* () {
        const { folder, layer, read, rows, script } = yield* scenario
        const location = yield* script("pyiceberg_write.py", folder)
        const [plan, even] = yield* Effect.gen(function* () {
          const planner = yield* ScanPlanner
          const predicates = [{ column: "id", op: "<=", value: 0 } as const]
          return [yield* planner.plan(location), yield* planner.plan(location, { predicates })] as const
        }).pipe(Effect.provide(layer))
        const ours = yield* rows(
          `select * replace (id::integer as id) from (${plan.relation(pathOf)}) where id < 100 order by id`,
        )
        const theirs = (yield* read(location, "id < 100")).rows.toSorted((a, b) => Number(a.id) - Number(b.id))
        assert.deepStrictEqual(ours, theirs.map((row) => ({ ...row, extra: null })) as never)
        assert.deepStrictEqual(
          ours.map((row) => [row.id, row.label]),
          [
            [0, "n0"],
            [2, "n2"],
            [3, "n3"],
          ],
        )
        assert.strictEqual(plan.rowCount, 4)
        assert.strictEqual(even.files.length, 1)
      }).pipe(Effect.scoped),
    )
  },
)
