import * as fs from "node:fs/promises"
import { join } from "node:path"
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { IcebergTable } from "../iceberg/IcebergTable.ts"
import type { IcebergType, Schema } from "../iceberg/TableMetadata.ts"
import { ObjectStore } from "../store/ObjectStore.ts"
import { pathOfLocation, readTable, TestDuckDb, TestTables, writeTable } from "../write/TestTable.ts"
import { relationOf } from "./Relation.ts"
import { ScanPlanner } from "./ScanPlanner.ts"

layer(TestTables, { excludeTestServices: true })("ScanPlanner", (it) => {
  it.effect("an unchanged table is planned once, whatever predicates are asked for", () =>
    Effect.gen(function* () {
      const planner = yield* ScanPlanner
      const table = yield* writeTable({
        name: "cached",
        query: "select i as id from range(10) t(i)",
        runId: "run-0",
        operation: "overwrite",
        base: null,
      })
      const before = yield* planner.planned
      const first = yield* planner.plan(table.metadataLocation)
      assert.strictEqual(yield* planner.plan(table.metadataLocation), first)
      const pruned = yield* planner.plan(table.metadataLocation, {
        predicates: [{ column: "id", op: ">", value: 100 }],
      })
      assert.strictEqual((yield* planner.planned) - before, 1)
      assert.strictEqual(first.rowCount, 10)
      assert.deepInclude(pruned, { prunedFiles: 1, rowCount: 0, files: [] })
      assert.deepStrictEqual(
        first.columns.map(({ name, type }) => ({ name, type })),
        [{ name: "id", type: "BIGINT" }],
      )
    }),
  )

  it.effect("pruned plans give the rows of the whole table for the predicate, from fewer files", () =>
    Effect.gen(function* () {
      const planner = yield* ScanPlanner
      let table = null
      for (let part = 0; part < 4; part++) {
        table = yield* writeTable({
          name: "pruned",
          query: `select i as id, 'k' || lpad(i::varchar, 30, '0') as k, case when i % 50 <> 0 then timestamp '2020-01-01' + to_hours(i) end as t
            from range(${part * 100}, ${part * 100 + 100}) t(i)`,
          runId: `run-${part}`,
          operation: part === 0 ? "overwrite" : "append",
          base: table,
        })
      }
      for (const [column, op, value, files] of [
        ["id", ">=", 250, 2],
        ["id", "=", 399n, 1],
        ["k", "<", `k${"0".repeat(28)}20`, 4], // bounds keep 16 characters only
        ["t", "<", "2020-01-05 00:00:00", 1],
        ["t", "is null", undefined, 4],
      ] as const) {
        const predicates = [{ column, op, ...(value === undefined ? {} : { value }) }]
        const plan = yield* planner.plan(table!.metadataLocation, { predicates })
        assert.strictEqual(plan.files.length, files, `${column} ${op}`)
        assert.strictEqual(plan.files.length + plan.prunedFiles, 4)
        const where = `where ${column} ${op} ${value === undefined ? "" : typeof value === "string" ? `'${value}'` : value} order by id`
        assert.deepStrictEqual(
          yield* readTable(table!.metadataLocation, { predicates, suffix: where }),
          yield* readTable(table!.metadataLocation, { suffix: where }),
        )
      }
    }),
  )

  it.effect("the maximum of a column comes from statistics as DuckDB prints it, or not at all", () =>
    Effect.gen(function* () {
      const planner = yield* ScanPlanner
      const duck = yield* TestDuckDb
      const query = (from: number) => `select
        i as id, (i / 4)::decimal(9,2) as d, date '2020-01-01' + i::integer as day, timestamp '2020-01-01' + to_microseconds(i) as ts,
        timestamptz '2020-01-01 00:00:00+00' + to_hours(i) as tz, 'v' || i as s, 'long value number ' || i as l, i / 3 as f,
        case when i = 5 then 'nan'::double else i end as n, null::integer as nothing, {'a': i} as st
        from range(${from}, ${from} + 10) t(i)`
      const first = yield* writeTable({ name: "max", query: query(0), runId: "r0", operation: "overwrite", base: null })
      const table = yield* writeTable({ name: "max", query: query(100), runId: "r1", operation: "append", base: first })
      const plan = yield* planner.plan(table.metadataLocation)
      const [expected] = yield* duck.rows(
        `select ${["id", "d", "day", "ts", "s", "f"].map((name) => `max(${name})::varchar as ${name}`).join(", ")} from (${plan.relation(pathOfLocation)})`,
      )
      for (const [name, text] of Object.entries(expected!)) {
        assert.deepStrictEqual(planner.maximum(plan, name), { kind: "value", value: text as string })
      }
      assert.deepStrictEqual(planner.maximum(plan, "TZ"), { kind: "value", value: "2020-01-05 13:00:00+00" })
      assert.deepStrictEqual(planner.maximum(plan, "nothing"), { kind: "value", value: null })
      for (const unknown of ["l", "n", "st", "absent"]) {
        assert.strictEqual(planner.maximum(plan, unknown).kind, "ask")
      }
    }),
  )

  it.effect("names of folders and files with quotes, blanks and pattern characters are read as they are", () =>
    Effect.gen(function* () {
      const duck = yield* TestDuckDb
      const table = yield* writeTable({
        name: "paths",
        query: "select 42 as a",
        runId: "run-0",
        operation: "overwrite",
        base: null,
      })
      const plan = yield* (yield* ScanPlanner).plan(table.metadataLocation)
      const source = pathOfLocation(plan.files[0]!.filePath)
      const folder = join(duck.folder, "it's [a] *?/p=1")
      yield* Effect.promise(() => fs.mkdir(folder, { recursive: true }))
      // What the pattern of the next name would match.
      yield* duck.rows(
        `copy (select 13 as a) to '${join(duck.folder, "decoy1.parquet")}' (format parquet, field_ids {a: 1})`,
      )
      for (const name of [
        "x*.parquet",
        "x[1].parquet",
        "q?.parquet",
        "it's.parquet",
        "{a,b}.parquet",
        "back\\slash.parquet",
      ]) {
        yield* Effect.promise(() => fs.copyFile(source, join(folder, name)))
        assert.deepStrictEqual(yield* duck.rows(plan.relation(() => join(folder, name))), [{ a: 42 }])
      }
      const missing = yield* Effect.flip(duck.rows(plan.relation(() => join(duck.folder, "decoy[0-9].parquet"))))
      assert.include(missing.message, "No files found")
    }),
  )

  it.effect("files of older schemas are read by field id: renamed, added, dropped, widened, nested", () =>
    Effect.gen(function* () {
      const duck = yield* TestDuckDb
      const store = yield* ObjectStore
      const tables = yield* IcebergTable
      const created = yield* writeTable({
        name: "evolved",
        query: `select 1 as a, 'gone' as b, 2.5::float as c, {'x': 1, 'y': 'old'} as s, [{'p': 1, 'q': 2}, null] as l,
          map {'k': {'v': 7}} as m, 1.50::decimal(5,2) as d
          union all select null, null, null, null, null, null, null`,
        runId: "run-0",
        operation: "overwrite",
        base: null,
      })
      const [a, b, c, s, l, m, d] = created.metadata.schemas[0]!.fields
      const struct = s!.type as Extract<IcebergType, { type: "struct" }>
      const list = l!.type as Extract<IcebergType, { type: "list" }>
      const element = list.element as Extract<IcebergType, { type: "struct" }>
      const map = m!.type as Extract<IcebergType, { type: "map" }>
      const value = map.value as Extract<IcebergType, { type: "struct" }>
      const schema: Schema = {
        schemaId: 1,
        identifierFieldIds: [],
        fields: [
          { id: 90, name: "b", required: false, type: "date" }, // not the old b
          { ...a!, name: "renamed", type: "long" },
          { ...c!, type: "double" },
          { ...d!, type: "decimal(12,2)" },
          {
            ...s!,
            type: {
              type: "struct",
              fields: [
                { id: 91, name: "x", required: false, type: "boolean" }, // not the old x
                { ...struct.fields[1]!, name: "z" },
                { ...struct.fields[0]!, name: "was x", type: "long" },
              ],
            },
          },
          { ...l!, type: { ...list, element: { ...element, fields: [element.fields[1]!] } } },
          {
            ...m!,
            type: { ...map, value: { ...value, fields: [{ ...value.fields[0]!, name: "w", type: "long" }] } },
          },
        ],
      }
      assert.strictEqual(b!.name, "b")
      const query = `select date '2020-01-01' as b, 5::bigint as renamed, 0.5::double as c, 7.25::decimal(12,2) as d,
        {'x': true, 'z': 'new', 'was x': 9::bigint} as s, [{'q': 4}] as l, map {'k': {'w': 8::bigint}} as m`
      const path = join(duck.folder, "evolved.parquet")
      yield* duck.rows(`copy (${query}) to '${path}' (format parquet)`)
      const filePath = `${created.metadata.location}/data/run-1-0.parquet`
      yield* store.putFile(store.keyOf(filePath), path)
      const none = new Map<number, never>()
      const file = {
        content: "data" as const,
        specId: 0,
        partition: [],
        filePath,
        recordCount: 1,
        fileSizeBytes: 1,
        columnSizes: none,
        valueCounts: none,
        nullValueCounts: none,
        nanValueCounts: none,
        lowerBounds: none,
        upperBounds: none,
      }
      const table = yield* tables.commit({
        base: created,
        location: created.metadata.location,
        updates: [
          { action: "add-schema", schema: schema },
          { action: "set-current-schema", schemaId: -1 },
        ],
        snapshot: {
          operation: "append",
          added: [{ ...file, schemaId: -1 }],
          addedDeletes: [],
          removed: new Set(),
          removedDeletes: new Set(),
        },
        runId: "run-1",
      })
      assert.deepStrictEqual(yield* readTable(table.metadataLocation, { suffix: "order by renamed" }), [
        {
          b: null,
          renamed: "1",
          c: 2.5,
          d: "1.50",
          s: { x: null, z: "old", "was x": "1" },
          l: [{ q: 2 }, null],
          m: [{ key: "k", value: { w: "7" } }],
        },
        {
          b: "2020-01-01",
          renamed: "5",
          c: 0.5,
          d: "7.25",
          s: { x: true, z: "new", "was x": "9" },
          l: [{ q: 4 }],
          m: [{ key: "k", value: { w: "8" } }],
        },
        { b: null, renamed: null, c: null, d: null, s: null, l: null, m: null },
      ])
    }),
  )

  it.effect("files whose schema nobody promised are read by the field ids in them", () =>
    Effect.gen(function* () {
      const duck = yield* TestDuckDb
      const table = yield* writeTable({
        name: "foreign",
        query: "select 1 as a, 'x' as b, {'p': 1} as s",
        runId: "run-0",
        operation: "overwrite",
        base: null,
      })
      const plan = yield* (yield* ScanPlanner).plan(table.metadataLocation)
      const files = plan.files.map(({ schemaId: _, ...file }) => file)
      const [a, b, s] = plan.schema.fields
      const changed: Schema = {
        ...plan.schema,
        fields: [
          { ...b!, name: "it's renamed" },
          { ...a!, type: "long" },
          s!,
          { id: 50, name: "new", required: false, type: "uuid" },
        ],
      }
      const sql = relationOf(
        {
          schema: changed,
          schemas: table.metadata.schemas,
          specs: [],
          files,
          applied: new Map(),
          vectors: new Map(),
          inspected: new Map(),
        },
        pathOfLocation,
      )
      assert.deepStrictEqual(yield* duck.rows(sql), [{ "it's renamed": "x", a: "1", s: { p: 1 }, new: null }])
    }),
  )
})
