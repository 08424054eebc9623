import { assert, describe, it } from "@effect/vitest"
import { Effect, Result } from "effect"
import * as fc from "fast-check"
import { applyUpdates } from "./ApplyUpdates.ts"
import { decodeMetadata, encodeMetadata } from "./MetadataJson.ts"
import type { MetadataUpdate } from "./MetadataUpdate.ts"
import { idsOf } from "./SchemaRules.ts"
import type { Field, IcebergType, Schema, Snapshot, TableMetadata } from "./TableMetadata.ts"

const context = { nowMs: 1000, location: "file:///t/", uuid: "9c12d441-03fe-4693-9a96-a0705ddf69c1" }
const field = (id: number, name: string, type: IcebergType = "int", required = false): Field => ({
  id,
  name,
  required,
  type,
})
const schemaOf = (...fields: ReadonlyArray<Field>): Schema => ({ schemaId: 0, fields, identifierFieldIds: [] })
const setSchema = (schema: Schema): ReadonlyArray<MetadataUpdate> => [
  { action: "add-schema", schema },
  { action: "set-current-schema", schemaId: -1 },
]
const snapshot = (id: bigint, sequenceNumber: bigint, more: Partial<Snapshot> = {}): Snapshot => ({
  snapshotId: id,
  parentSnapshotId: null,
  sequenceNumber,
  timestampMs: 1000,
  manifestList: `file:///t/metadata/snap-${id}.avro`,
  summary: { operation: "append" },
  schemaId: 0,
  ...more,
})
const setMain = (snapshotId: bigint): MetadataUpdate => ({
  action: "set-snapshot-ref",
  refName: "main",
  snapshotId,
  type: "branch",
})
const create = Result.getOrThrow(
  applyUpdates(null, setSchema(schemaOf(field(1, "a"), field(2, "b", "string"))), context),
)
const done = (metadata: TableMetadata | null, ...updates: ReadonlyArray<MetadataUpdate>) =>
  Result.getOrThrow(applyUpdates(metadata, updates, { ...context, nowMs: 2000 }))
const reason = (metadata: TableMetadata | null, ...updates: ReadonlyArray<MetadataUpdate>) =>
  Result.match(applyUpdates(metadata, updates, context), {
    onSuccess: () => "",
    onFailure: (refusal) => `${refusal.action}: ${refusal.reason}`,
  })

describe("applyUpdates", () => {
  it("a new table has its first schema, spec and order under the id 0, and says that foreign tools must not delete", () => {
    const table = done(
      null,
      { action: "assign-uuid", uuid: "00000000-0000-4000-8000-000000000001" },
      { action: "upgrade-format-version", formatVersion: 1 },
      { action: "set-location", location: "s3://b/t/" },
      ...setSchema({ ...schemaOf(field(1, "a"), field(2, "t", "timestamp")), schemaId: 9 }),
      {
        action: "add-spec",
        spec: { specId: 7, fields: [{ sourceId: 2, fieldId: -1, name: "t_day", transform: "day" }] },
      },
      { action: "set-default-spec", specId: -1 },
      {
        action: "add-sort-order",
        sortOrder: {
          orderId: 5,
          fields: [{ sourceId: 1, transform: "identity", direction: "asc", nullOrder: "nulls-first" }],
        },
      },
      { action: "set-default-sort-order", sortOrderId: -1 },
    )
    assert.deepInclude(table, {
      currentSchemaId: 0,
      defaultSpecId: 0,
      lastPartitionId: 1000,
      lastColumnId: 2,
      formatVersion: 2,
    })
    assert.deepInclude(table, {
      location: "s3://b/t",
      tableUuid: "00000000-0000-4000-8000-000000000001",
      defaultSortOrderId: 1,
    })
    assert.deepStrictEqual(table.partitionSpecs, [
      { specId: 0, fields: [{ sourceId: 2, fieldId: 1000, name: "t_day", transform: "day" }] },
    ])
    assert.strictEqual(table.properties["gc.enabled"], "false")
    assert.include(reason(null), "no current schema")
    assert.include(reason(null, { action: "add-schema", schema: schemaOf(field(1, "a")) }), "no current schema")
  })

  it("a field id means one column for ever, and its type only widens", () => {
    const widened = done(create, ...setSchema(schemaOf(field(1, "renamed", "long"), field(2, "b", "string"))))
    assert.strictEqual(widened.currentSchemaId, 1)
    const refusals: ReadonlyArray<readonly [Schema, string]> = [
      [schemaOf(field(1, "a", "string")), 'field 1 ("a") was int and cannot become string'],
      [
        schemaOf(field(1, "a", { type: "list", elementId: 3, elementRequired: false, element: "int" })),
        "cannot become a list",
      ],
      [schemaOf(field(1, "a"), field(1, "c")), "occurs twice"],
      [schemaOf(field(1, "a"), field(3, "a")), '"a" occurs twice'],
      [schemaOf(field(3, "s", { type: "struct", fields: [field(3, "x")] })), "field id 3 occurs twice"],
      [schemaOf(field(0, "a")), "not between"],
      [schemaOf(field(3, "v", "variant")), "needs format version 3"],
      [schemaOf({ ...field(3, "d"), initialDefault: 5 }), "needs format version 3"],
      [{ ...schemaOf(field(1, "a")), identifierFieldIds: [1] }, "must be a required"],
      [{ ...schemaOf(field(1, "a")), identifierFieldIds: [7] }, "identifier field 7 is not in it"],
    ]
    for (const [schema, text] of refusals) assert.include(reason(create, ...setSchema(schema)), text)
    // Narrower again: neither as a new schema nor by going back to the old one.
    assert.include(reason(widened, ...setSchema(schemaOf(field(1, "a")))), "was long and cannot become int")
    assert.include(reason(widened, { action: "set-current-schema", schemaId: 0 }), "was long and cannot become int")
    // Dropped for good: the id is not for another column.
    const dropped = done(done(create, ...setSchema(schemaOf(field(1, "a")))), {
      action: "remove-schemas",
      schemaIds: [0],
    })
    assert.include(reason(dropped, ...setSchema(schemaOf(field(1, "a"), field(2, "b", "date")))), "new ones begin at 3")
    assert.strictEqual(done(dropped, ...setSchema(schemaOf(field(1, "a"), field(3, "b", "date")))).lastColumnId, 3)
  })

  it("elements and values of nested columns widen, and do not change in other ways", () => {
    const list = (elementId: number, element: IcebergType): Field =>
      field(3, "l", { type: "list", elementId, elementRequired: false, element })
    const map = (value: IcebergType): Field =>
      field(5, "m", { type: "map", keyId: 6, key: "string", valueId: 7, valueRequired: false, value })
    const table = done(create, ...setSchema(schemaOf(field(1, "a"), list(4, "int"), map("float"))))
    assert.strictEqual(reason(table, ...setSchema(schemaOf(list(4, "long"), map("double")))), "")
    assert.include(reason(table, ...setSchema(schemaOf(list(4, "string"), map("float")))), "cannot become a list")
    assert.include(reason(table, ...setSchema(schemaOf(list(8, "int"), map("float")))), "cannot become a list")
    assert.include(reason(table, ...setSchema(schemaOf(list(4, "int"), map("int")))), "cannot become a map")
  })

  it("-1 is what was added last, also when the table had it already", () => {
    const schema = schemaOf(field(1, "a"), field(2, "b", "string"), field(3, "c"))
    const table = done(create, ...setSchema(schema))
    const back = done(table, ...setSchema(create.schemas[0]!))
    assert.deepStrictEqual([back.currentSchemaId, back.schemas.length, back.lastColumnId], [0, 2, 3])
    assert.include(reason(table, { action: "set-current-schema", schemaId: -1 }), "no schema was added before")
    assert.include(reason(table, { action: "set-default-spec", specId: -1 }), "no partition spec was added before")
    assert.include(reason(table, { action: "set-default-sort-order", sortOrderId: 4 }), "no sort order 4")
  })

  it("partition fields keep the id of their column and transform, and take no other's", () => {
    const spec = (
      ...fields: ReadonlyArray<readonly [source: number, id: number, name: string, transform: string]>
    ): MetadataUpdate => ({
      action: "add-spec",
      spec: {
        specId: 0,
        fields: fields.map(([sourceId, fieldId, name, transform]) => ({ sourceId, fieldId, name, transform })),
      },
    })
    const first = done(create, spec([1, 1000, "a_bucket_4", "bucket[4]"]))
    const second = done(first, spec([2, 1000, "b", "identity"], [1, 1007, "bucket", "bucket[4]"]))
    assert.deepStrictEqual(
      second.partitionSpecs.at(-1)!.fields.map(({ fieldId }) => fieldId),
      [1001, 1000],
    )
    assert.strictEqual(
      done(second, spec([2, 1000, "b", "identity"], [1, 1007, "bucket", "bucket[4]"])).partitionSpecs.length,
      3,
    )
    assert.include(reason(create, spec([9, 1000, "x", "identity"])), "no column with the id 9")
    assert.include(reason(create, spec([2, 1000, "x", "day"])), 'day cannot be applied to column "b"')
    assert.include(reason(create, spec([2, 1000, "a", "truncate[1]"])), "name of another column")
    assert.include(reason(create, spec([1, 1000, "x", "identity"], [1, 1001, "y", "identity"])), "twice")
    assert.include(reason(first, { action: "remove-partition-specs", specIds: [0] }), "default partition spec stays")
  })

  it("snapshots come with higher sequence numbers, and go from logs, refs and statistics", () => {
    const table = done(
      create,
      { action: "add-snapshot", snapshot: snapshot(1n, 1n) },
      setMain(1n),
      { action: "set-snapshot-ref", refName: "kept", snapshotId: 1n, type: "tag", maxRefAgeMs: 5 },
      { action: "add-snapshot", snapshot: snapshot(2n, 2n, { parentSnapshotId: 1n, timestampMs: 5000 }) },
      setMain(2n),
      { action: "set-statistics", statistics: { "snapshot-id": 1, "statistics-path": "x" } },
    )
    assert.strictEqual(table.lastUpdatedMs, 5000)
    assert.strictEqual(table.currentSnapshotId, 2n)
    assert.include(reason(table, { action: "add-snapshot", snapshot: snapshot(2n, 3n) }), "exists already")
    assert.include(
      reason(table, { action: "add-snapshot", snapshot: snapshot(3n, 2n, { parentSnapshotId: 2n }) }),
      "sequence number 2 is not above",
    )
    assert.include(
      reason(table, { action: "add-snapshot", snapshot: snapshot(3n, 3n, { schemaId: 8 }) }),
      "no schema 8",
    )
    assert.include(reason(table, { action: "remove-snapshots", snapshotIds: [2n] }), "is the current one")
    assert.include(reason(table, setMain(9n)), "no snapshot 9")
    assert.include(
      reason(table, { action: "set-snapshot-ref", refName: "main", snapshotId: 1n, type: "tag" }),
      "main is a branch",
    )
    assert.include(
      reason(done(table, ...setSchema(schemaOf(field(1, "a")))), { action: "remove-schemas", schemaIds: [0] }),
      "snapshot 1 is read",
    )
    const expired = done(table, { action: "remove-snapshots", snapshotIds: [1n] })
    assert.deepStrictEqual(Object.keys(expired.refs), ["main"])
    assert.deepStrictEqual(
      expired.snapshotLog.map(({ snapshotId }) => snapshotId),
      [2n],
    )
    assert.deepStrictEqual(expired.statistics, [])
    const emptied = done(table, { action: "remove-snapshot-ref", refName: "main" })
    assert.deepStrictEqual([emptied.currentSnapshotId, emptied.snapshotLog], [null, []])
  })

  it("version 3 counts row ids on, and refuses snapshots that do not say theirs", () => {
    const table = done(create, { action: "upgrade-format-version", formatVersion: 3 })
    assert.strictEqual(table.nextRowId, 0n)
    const added = done(table, {
      action: "add-snapshot",
      snapshot: snapshot(1n, 1n, { firstRowId: 0n, addedRows: 10n }),
    })
    assert.strictEqual(added.nextRowId, 10n)
    assert.include(reason(added, { action: "add-snapshot", snapshot: snapshot(2n, 2n) }), "lacks first-row-id")
    assert.include(
      reason(added, { action: "add-snapshot", snapshot: snapshot(2n, 2n, { firstRowId: 9n, addedRows: 1n }) }),
      "below the table's next, 10",
    )
    assert.include(reason(table, { action: "upgrade-format-version", formatVersion: 2 }), "cannot be lowered")
    assert.include(reason(create, { action: "upgrade-format-version", formatVersion: 4 }), "4 is not known")
  })

  it("the log of metadata files is as long as the table's property says", () => {
    let table = done(create, { action: "set-properties", updates: { "write.metadata.previous-versions-max": "3" } })
    for (let version = 0; version < 5; version++) {
      table = Result.getOrThrow(
        applyUpdates(table, [], { ...context, previousLocation: `file:///t/metadata/${version}.json` }),
      )
    }
    assert.deepStrictEqual(
      table.metadataLog.map(({ metadataFile }) => metadataFile.at(-6)),
      ["2", "3", "4"],
    )
  })

  it("whatever is asked in whatever order, what a table refers to exists, ids only rise, and its file reads back the same", () => {
    const types = ["int", "long", "float", "double", "string", "date", "timestamp", "decimal(9,2)", "decimal(12,2)"]
    const anyField = fc.record({
      id: fc.integer({ min: 1, max: 8 }),
      name: fc.constantFrom("a", "b", "c", "d"),
      required: fc.boolean(),
      type: fc.constantFrom(...types),
    })
    const small = fc.integer({ min: -1, max: 4 })
    const id = fc.bigInt({ min: 1n, max: 6n })
    const anyUpdate: fc.Arbitrary<MetadataUpdate> = fc.oneof(
      fc
        .array(anyField, { minLength: 1, maxLength: 4 })
        .map((fields) => ({ action: "add-schema" as const, schema: schemaOf(...fields) })),
      small.map((schemaId) => ({ action: "set-current-schema" as const, schemaId })),
      fc
        .array(
          fc.tuple(
            fc.integer({ min: 1, max: 4 }),
            fc.integer({ min: 999, max: 1004 }),
            fc.constantFrom("identity", "bucket[4]", "void", "year"),
          ),
          { maxLength: 3 },
        )
        .map((list) => ({
          action: "add-spec" as const,
          spec: {
            specId: 0,
            fields: list.map(([sourceId, fieldId, transform], index) => ({
              sourceId,
              fieldId,
              name: `p${index}`,
              transform,
            })),
          },
        })),
      small.map((specId) => ({ action: "set-default-spec" as const, specId })),
      fc.tuple(id, id, fc.nat({ max: 2 })).map(([snapshotId, sequence, schemaId]) => ({
        action: "add-snapshot" as const,
        snapshot: snapshot(snapshotId, sequence, {
          schemaId,
          firstRowId: sequence * 10n,
          addedRows: 5n,
          parentSnapshotId: 1n,
        }),
      })),
      fc.tuple(fc.constantFrom("main", "b", "t"), id).map(([refName, snapshotId]) => ({
        action: "set-snapshot-ref" as const,
        refName,
        snapshotId,
        type: "branch" as const,
      })),
      fc.array(id, { maxLength: 2 }).map((snapshotIds) => ({ action: "remove-snapshots" as const, snapshotIds })),
      fc.constantFrom("main", "b").map((refName) => ({ action: "remove-snapshot-ref" as const, refName })),
      fc.array(small, { maxLength: 2 }).map((specIds) => ({ action: "remove-partition-specs" as const, specIds })),
      fc.array(small, { maxLength: 2 }).map((schemaIds) => ({ action: "remove-schemas" as const, schemaIds })),
      fc.constantFrom(2, 3, 4).map((formatVersion) => ({ action: "upgrade-format-version" as const, formatVersion })),
    )
    let accepted = 0
    fc.assert(
      fc.property(fc.array(fc.array(anyUpdate, { maxLength: 3 }), { maxLength: 12 }), (commits) => {
        let table = create
        const meaning = new Map<number, string>()
        for (const updates of commits) {
          const before = JSON.stringify(table, (_key, value) => (typeof value === "bigint" ? `${value}` : value))
          const outcome = applyUpdates(table, updates, { ...context, previousLocation: "file:///t/metadata/x.json" })
          assert.strictEqual(
            JSON.stringify(table, (_key, value) => (typeof value === "bigint" ? `${value}` : value)),
            before,
          )
          if (Result.isFailure(outcome)) continue
          accepted++
          const next = outcome.success
          const schemaIds = next.schemas.map(({ schemaId }) => schemaId)
          const snapshotIds = next.snapshots.map(({ snapshotId }) => snapshotId)
          assert.include(schemaIds, next.currentSchemaId)
          assert.include(
            next.partitionSpecs.map(({ specId }) => specId),
            next.defaultSpecId,
          )
          for (const list of [schemaIds, snapshotIds]) assert.strictEqual(new Set<unknown>(list).size, list.length)
          for (const { schemaId } of next.snapshots) assert.include(schemaIds, schemaId)
          for (const ref of Object.values(next.refs)) assert.include(snapshotIds, ref.snapshotId)
          for (const entry of next.snapshotLog) assert.include(snapshotIds, entry.snapshotId)
          assert.strictEqual(next.currentSnapshotId ?? undefined, next.refs.main?.snapshotId)
          assert.isAtLeast(next.lastColumnId, Math.max(table.lastColumnId, ...next.schemas.flatMap(idsOf)))
          assert.isAtLeast(next.lastPartitionId, table.lastPartitionId)
          assert.isTrue(
            next.lastSequenceNumber >= table.lastSequenceNumber && (next.nextRowId ?? 0n) >= (table.nextRowId ?? 0n),
          )
          // A partition field's id means one column and transform, whatever specs come and go.
          for (const each of next.partitionSpecs.flatMap(({ fields }) => fields)) {
            const text = `${each.sourceId} ${each.transform}`
            assert.strictEqual(meaning.get(each.fieldId) ?? text, text)
            meaning.set(each.fieldId, text)
          }
          const read = Effect.runSync(decodeMetadata("x", encodeMetadata(next)))
          assert.deepStrictEqual(Buffer.from(encodeMetadata(read)), Buffer.from(encodeMetadata(next)))
          table = next
        }
      }),
      { numRuns: 300 },
    )
    assert.isAbove(accepted, 300)
  })
})
