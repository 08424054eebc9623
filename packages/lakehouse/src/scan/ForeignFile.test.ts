import { join } from "node:path"
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import type { DataFile } from "../iceberg/DataFile.ts"
import { IcebergTable } from "../iceberg/IcebergTable.ts"
import type { MetadataUpdate } from "../iceberg/MetadataUpdate.ts"
import type { Field, Schema } from "../iceberg/TableMetadata.ts"
import { ObjectStore } from "../store/ObjectStore.ts"
import { readTable, TestDuckDb, TestTables } from "../write/TestTable.ts"

const none = new Map<number, never>()
let tablesMade = 0

/** A table of files that no schema promise stands behind, each made by a query. */
const foreignTable = Effect.fnUntraced(function* (table: {
  readonly schemas: ReadonlyArray<ReadonlyArray<Field>>
  readonly files: ReadonlyArray<{
    readonly query: string
    readonly options?: string
    readonly partition?: DataFile["partition"]
  }>
  readonly updates?: ReadonlyArray<MetadataUpdate>
}) {
  const duck = yield* TestDuckDb
  const store = yield* ObjectStore
  const tables = yield* IcebergTable
  const name = `foreign-${tablesMade++}`
  const location = store.locationOf(`ns/silver/${name}`)
  const added: Array<DataFile> = []
  for (const [index, { options, partition = [], query }] of table.files.entries()) {
    const path = join(duck.folder, `${name}-${index}.parquet`)
    yield* duck.rows(`copy (${query}) to '${path}' (format parquet${options === undefined ? "" : `, ${options}`})`)
    const filePath = `${location}/data/${index}.parquet`
    yield* store.putFile(store.keyOf(filePath), path)
    added.push({
      content: "data",
      filePath,
      specId: 0,
      partition,
      recordCount: 1,
      fileSizeBytes: 1,
      columnSizes: none,
      valueCounts: none,
      nullValueCounts: none,
      nanValueCounts: none,
      lowerBounds: none,
      upperBounds: none,
    })
  }
  return yield* tables.commit({
    base: null,
    location,
    runId: name,
    updates: [
      { action: "upgrade-format-version", formatVersion: 3 },
      ...table.schemas.flatMap(
        (fields): ReadonlyArray<MetadataUpdate> => [
          { action: "add-schema", schema: { schemaId: 0, fields, identifierFieldIds: [] } satisfies Schema },
          { action: "set-current-schema", schemaId: -1 },
        ],
      ),
      ...(table.updates ?? []),
    ],
    snapshot: { operation: "append", added, addedDeletes: [], removed: new Set(), removedDeletes: new Set() },
  })
})

const field = (id: number, name: string, type: Field["type"], more: Partial<Field> = {}): Field => ({
  id,
  name,
  required: false,
  type,
  ...more,
})

layer(TestTables, { excludeTestServices: true })("ForeignFile", (it) => {
  it.effect("fields inside columns that were renamed, added, dropped and promoted are read by their ids", () =>
    Effect.gen(function* () {
      const struct = (fields: ReadonlyArray<Field>): Field["type"] => ({ type: "struct", fields })
      const table = yield* foreignTable({
        schemas: [
          [
            field(1, "s", struct([field(2, "x", "int"), field(3, "y", "string")])),
            field(4, "l", {
              type: "list",
              elementId: 5,
              elementRequired: false,
              element: struct([field(6, "p", "int"), field(7, "q", "int")]),
            }),
            field(8, "m", {
              type: "map",
              keyId: 9,
              key: "string",
              valueId: 10,
              valueRequired: false,
              value: struct([field(11, "v", "int")]),
            }),
          ],
          [
            field(8, "m", {
              type: "map",
              keyId: 9,
              key: "string",
              valueId: 10,
              valueRequired: false,
              value: struct([field(11, "w", "long")]),
            }),
            field(1, "s", struct([field(12, "x", "boolean"), field(3, "z", "string"), field(2, "was x", "long")])),
            field(4, "l", {
              type: "list",
              elementId: 5,
              elementRequired: false,
              element: struct([field(7, "q", "long")]),
            }),
          ],
        ],
        files: [
          {
            query: "select {'x': 1, 'y': 'old'} as s, [{'p': 1, 'q': 2}, null] as l, map {'k': {'v': 7}} as m",
            options:
              "field_ids {s: {__duckdb_field_id: 1, x: 2, y: 3}, l: {__duckdb_field_id: 4, element: {__duckdb_field_id: 5, p: 6, q: 7}}, m: {__duckdb_field_id: 8, key: 9, value: {__duckdb_field_id: 10, v: 11}}}",
          },
          {
            query:
              "select map {'n': {'w': 8::bigint}} as m, {'x': true, 'z': 'new', 'was x': 9::bigint} as s, [{'q': 4::bigint}] as l",
            options: `field_ids {s: {__duckdb_field_id: 1, x: 12, z: 3, "was x": 2}, l: {__duckdb_field_id: 4, element: {__duckdb_field_id: 5, q: 7}}, m: {__duckdb_field_id: 8, key: 9, value: {__duckdb_field_id: 10, w: 11}}}`,
          },
        ],
      })
      assert.deepStrictEqual(yield* readTable(table.metadataLocation, { suffix: "order by s.z" }), [
        { m: [{ key: "n", value: { w: "8" } }], s: { x: true, z: "new", "was x": "9" }, l: [{ q: "4" }] },
        { m: [{ key: "k", value: { w: "7" } }], s: { x: null, z: "old", "was x": "1" }, l: [{ q: "2" }, null] },
      ])
    }),
  )

  it.effect("files without field ids are read by the table's name mapping, nested names included", () =>
    Effect.gen(function* () {
      const mapping = [
        { "field-id": 1, names: ["id", "ID"] },
        { "field-id": 2, names: ["info"], fields: [{ "field-id": 3, names: ["city", "town"] }] },
        { "field-id": 4, names: ["tags"], fields: [{ "field-id": 5, names: ["element"] }] },
      ]
      const table = yield* foreignTable({
        schemas: [
          [
            field(1, "number", "long"),
            field(2, "info", { type: "struct", fields: [field(3, "place", "string")] }),
            field(4, "tags", { type: "list", elementId: 5, elementRequired: false, element: "string" }),
            field(6, "added", "date"),
          ],
        ],
        updates: [{ action: "set-properties", updates: { "schema.name-mapping.default": JSON.stringify(mapping) } }],
        files: [
          { query: "select 1::int as id, {'town': 'Bern', 'other': 1} as info, ['a'] as tags, 5 as unknown" },
          { query: `select 2::bigint as "ID", {'city': 'Rome'} as info, null::varchar[] as tags` },
        ],
      })
      assert.deepStrictEqual(yield* readTable(table.metadataLocation, { suffix: "order by number" }), [
        { number: "1", info: { place: "Bern" }, tags: ["a"], added: null },
        { number: "2", info: { place: "Rome" }, tags: null, added: null },
      ])
    }),
  )

  it.effect("columns that files lack have their partition's value, or their first default", () =>
    Effect.gen(function* () {
      const fields = [
        field(1, "id", "int"),
        field(2, "region", "string"),
        field(3, "day", "date"),
        field(4, "amount", "decimal(9,2)", { initialDefault: "12.50" }),
        field(5, "raw", "binary", { initialDefault: "00ff" }),
      ]
      const spec = {
        specId: 0,
        fields: [
          { sourceId: 2, fieldId: 1000, name: "region", transform: "identity" },
          { sourceId: 3, fieldId: 1001, name: "day", transform: "identity" },
        ],
      }
      const files = [
        { query: "select 1::int as id", options: "field_ids {id: 1}", partition: ["it's", 18_262n] },
        { query: "select 2::int as id", options: "field_ids {id: 1}", partition: [null, 18_263n] },
        {
          query: "select 3::int as id, 'own' as region, 1.25::decimal(9,2) as amount",
          options: "field_ids {id: 1, region: 2, amount: 4}",
          partition: ["own", null],
        },
      ]
      const updates: ReadonlyArray<MetadataUpdate> = [
        { action: "add-spec", spec },
        { action: "set-default-spec", specId: -1 },
      ]
      const expected = [
        { id: 1, region: "it's", day: "2020-01-01", amount: "12.50", raw: "\\x00\\xFF" },
        { id: 2, region: null, day: "2020-01-02", amount: "12.50", raw: "\\x00\\xFF" },
        { id: 3, region: "own", day: null, amount: "1.25", raw: "\\x00\\xFF" },
      ]
      const mapped: MetadataUpdate = {
        action: "set-properties",
        updates: {
          "schema.name-mapping.default": JSON.stringify(
            fields.map(({ id, name }) => ({ "field-id": id, names: [name] })),
          ),
        },
      }
      for (const more of [[], [mapped]]) {
        const table = yield* foreignTable({ schemas: [fields], files, updates: [...updates, ...more] })
        const rows = yield* readTable(table.metadataLocation, { suffix: "order by id" })
        assert.deepStrictEqual(rows, expected)
      }
    }),
  )
})
