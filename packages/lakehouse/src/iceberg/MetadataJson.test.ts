import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as fc from "fast-check"
import { decodeMetadata, encodeMetadata } from "./MetadataJson.ts"
import type { TableCorrupt } from "./TableCorrupt.ts"
import type { Field, IcebergType, TableMetadata } from "./TableMetadata.ts"

const int64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })
const time = fc.integer({ min: 0, max: 4_102_444_800_000 })
const id = fc.integer({ min: 1, max: 2 ** 31 - 1 })

const { type: anyType } = fc.letrec<{ type: IcebergType; field: Field }>((tie) => ({
  type: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.constantFrom("boolean", "int", "long", "decimal(38,0)", "fixed[16]", "timestamptz", "string", "uuid"),
    fc.record({ type: fc.constant("struct" as const), fields: fc.array(tie("field"), { maxLength: 3 }) }),
    fc.record({
      type: fc.constant("list" as const),
      elementId: id,
      elementRequired: fc.boolean(),
      element: tie("type"),
    }),
    fc.record({
      type: fc.constant("map" as const),
      keyId: id,
      key: tie("type"),
      valueId: id,
      valueRequired: fc.boolean(),
      value: tie("type"),
    }),
  ),
  field: fc.record(
    { id, name: fc.string(), required: fc.boolean(), type: tie("type"), doc: fc.string() },
    { requiredKeys: ["id", "name", "required", "type"] },
  ),
}))

const metadata: fc.Arbitrary<TableMetadata> = fc
  .record({
    types: fc.array(anyType, { minLength: 1, maxLength: 4 }),
    snapshots: fc.uniqueArray(int64, { minLength: 1, maxLength: 4 }).filter((ids) => !ids.includes(-1n)),
    sequence: int64,
    at: time,
    properties: fc.dictionary(fc.string(), fc.string(), { noNullPrototype: true }),
  })
  .map(({ at, properties, sequence, snapshots, types }) => ({
    formatVersion: 2 as const,
    tableUuid: "9c12d441-03fe-4693-9a96-a0705ddf69c1",
    location: "file:///data/store/ns/silver/t",
    lastSequenceNumber: sequence,
    lastUpdatedMs: at,
    lastColumnId: types.length,
    schemas: [
      {
        schemaId: 7,
        fields: types.map((type, index) => ({ id: index + 1, name: `c${index}`, required: false, type })),
        identifierFieldIds: [],
      },
    ],
    currentSchemaId: 7,
    partitionSpecs: [{ specId: 0, fields: [{ sourceId: 1, fieldId: 1000, name: "c0_day", transform: "day" }] }],
    defaultSpecId: 0,
    lastPartitionId: 1000,
    properties,
    currentSnapshotId: snapshots.at(-1)!,
    snapshots: snapshots.map((snapshotId, index) => ({
      snapshotId,
      parentSnapshotId: snapshots[index - 1] ?? null,
      sequenceNumber: sequence,
      timestampMs: at,
      manifestList: `file:///data/store/ns/silver/t/metadata/snap-${snapshotId}.avro`,
      summary: { operation: "append", "rat.run-id": "r" },
      schemaId: 7,
    })),
    snapshotLog: snapshots.map((snapshotId) => ({ snapshotId, timestampMs: at })),
    metadataLog: [{ metadataFile: "file:///x.metadata.json", timestampMs: at }],
    sortOrders: [
      { orderId: 1, fields: [{ transform: "identity", sourceId: 1, direction: "asc", nullOrder: "nulls-first" }] },
    ],
    defaultSortOrderId: 1,
    refs: { main: { snapshotId: snapshots.at(-1)!, type: "branch" as const, maxRefAgeMs: 5 } },
    statistics: [{ "snapshot-id": snapshots[0]!, "statistics-path": "s3://b/x.puffin" }],
    unknownFields: { "of-another-writer": { deep: [1, "x", null] } },
  }))

const failure = (bytes: Uint8Array) =>
  Effect.runSync(Effect.flip(decodeMetadata("file:///t/metadata/00001-x.metadata.json", bytes))) as TableCorrupt

const valid = (): Record<string, unknown> =>
  JSON.parse(Buffer.from(encodeMetadata(fc.sample(metadata.map(smallIds), 1)[0]!)).toString())
const smallIds = (any: TableMetadata): TableMetadata => ({
  ...any,
  lastSequenceNumber: 1n,
  currentSnapshotId: 5n,
  snapshots: [{ ...any.snapshots[0]!, snapshotId: 5n, sequenceNumber: 1n }],
  snapshotLog: [],
  refs: {},
  statistics: [],
})

describe("MetadataJson", () => {
  it("a metadata file comes back as it was, 64-bit ids to the last digit", () => {
    fc.assert(
      fc.property(metadata, (original) => {
        const decoded = Effect.runSync(decodeMetadata("file:///x", encodeMetadata(original)))
        assert.deepStrictEqual(normal(decoded), normal(original))
      }),
    )
  })

  it("a file of version 1 is read as version 2 says the same", () => {
    const file = {
      "format-version": 1,
      location: "s3://b/t/",
      "last-updated-ms": 5,
      "last-column-id": 2,
      schema: {
        type: "struct",
        fields: [
          { id: 1, name: "a", required: true, type: "int" },
          { id: 2, name: "d", required: false, type: "date" },
        ],
      },
      "partition-spec": [
        { "source-id": 2, name: "d_month", transform: "month" },
        { "source-id": 1, name: "a", transform: "identity" },
      ],
      properties: { x: "y" },
      "current-snapshot-id": 7,
      snapshots: [{ "snapshot-id": 7, "timestamp-ms": 4, "manifest-list": "s3://b/t/l.avro" }],
    }
    const decoded = Effect.runSync(decodeMetadata("file:///x", Buffer.from(JSON.stringify(file))))
    assert.deepInclude(decoded, {
      formatVersion: 2,
      location: "s3://b/t",
      currentSchemaId: 0,
      defaultSpecId: 0,
      lastPartitionId: 1001,
      lastSequenceNumber: 0n,
      currentSnapshotId: 7n,
    })
    assert.deepStrictEqual(
      decoded.partitionSpecs[0]!.fields.map(({ fieldId }) => fieldId),
      [1000, 1001],
    )
    assert.deepInclude(decoded.snapshots[0], {
      snapshotId: 7n,
      sequenceNumber: 0n,
      schemaId: 0,
      parentSnapshotId: null,
    })
    assert.deepStrictEqual(decoded.refs, { main: { snapshotId: 7n, type: "branch" } })
    assert.isUndefined(decoded.unknownFields)
    // Written, it is a file of version 2 that says the same.
    assert.deepStrictEqual(Effect.runSync(decodeMetadata("file:///x", encodeMetadata(decoded))), decoded)
    const early = { ...file, snapshots: [{ "snapshot-id": 7, "timestamp-ms": 4, manifests: ["m.avro"] }] }
    assert.include(failure(Buffer.from(JSON.stringify(early))).reason, "without a manifest list")
  })

  it("what version 3 adds comes back as it was", () => {
    const types = [
      "timestamp_ns",
      "timestamptz_ns",
      "unknown",
      "variant",
      "geometry",
      "geometry(srid:3857)",
      "geography(srid:4326, vincenty)",
    ]
    const file = {
      ...valid(),
      "format-version": 3,
      "next-row-id": 12,
      "encryption-keys": [{ "key-id": "k" }],
      schemas: [
        {
          type: "struct",
          "schema-id": 7,
          fields: [
            { id: 1, name: "c0", required: true, type: "int", "initial-default": 5, "write-default": 6 },
            ...types.map((type, index) => ({ id: index + 2, name: `t${index}`, required: false, type })),
          ],
        },
      ],
      "partition-specs": [
        {
          "spec-id": 0,
          fields: [
            { "source-ids": [1, 2], "field-id": 1000, name: "z", transform: "zorder" },
            { "source-ids": [1], "field-id": 1001, name: "b", transform: "bucket[4]" },
          ],
        },
      ],
      snapshots: [
        {
          "snapshot-id": 5,
          "sequence-number": 1,
          "timestamp-ms": 4,
          "manifest-list": "l.avro",
          "first-row-id": 3,
          "added-rows": 9,
        },
      ],
    }
    const decoded = Effect.runSync(decodeMetadata("file:///x", Buffer.from(JSON.stringify(file))))
    assert.deepInclude(decoded, { formatVersion: 3, nextRowId: 12n })
    assert.deepInclude(decoded.snapshots[0], { firstRowId: 3n, addedRows: 9n })
    assert.deepInclude(decoded.schemas[0]!.fields[0], { initialDefault: 5, writeDefault: 6 })
    assert.deepStrictEqual(
      decoded.schemas[0]!.fields.slice(1).map(({ type }) => type),
      types,
    )
    assert.deepStrictEqual(decoded.partitionSpecs[0]!.fields, [
      { sourceId: 1, sourceIds: [1, 2], fieldId: 1000, name: "z", transform: "zorder" },
      { sourceId: 1, fieldId: 1001, name: "b", transform: "bucket[4]" },
    ])
    const written = JSON.parse(Buffer.from(encodeMetadata(decoded)).toString())
    assert.deepStrictEqual(written["encryption-keys"], file["encryption-keys"])
    assert.deepStrictEqual(written["partition-specs"][0].fields, [
      { "source-ids": [1, 2], "field-id": 1000, name: "z", transform: "zorder" },
      { "source-id": 1, "field-id": 1001, name: "b", transform: "bucket[4]" },
    ])
    assert.deepStrictEqual(Effect.runSync(decodeMetadata("file:///x", encodeMetadata(decoded))), decoded)
  })

  it("64-bit ids are plain numbers in the file", () => {
    const [sample] = fc.sample(metadata, 1)
    const text = Buffer.from(encodeMetadata({ ...sample!, lastSequenceNumber: 9223372036854775807n })).toString()
    assert.include(text, '"last-sequence-number":9223372036854775807,')
  })

  it("no snapshot is said by a missing key, null or -1", () => {
    for (const current of [undefined, null, -1]) {
      const file = { ...valid(), "current-snapshot-id": current, snapshots: [] }
      const decoded = Effect.runSync(decodeMetadata("file:///x", Buffer.from(JSON.stringify(file))))
      assert.isNull(decoded.currentSnapshotId)
    }
  })

  it("a file that was cut off anywhere is corrupt and says which file", () => {
    const bytes = Buffer.from(JSON.stringify(valid()))
    for (let length = 0; length < bytes.length; length += 7) {
      const error = failure(bytes.subarray(0, length))
      assert.strictEqual(error._tag, "TableCorrupt")
      assert.include(error.message, "00001-x.metadata.json")
    }
  })

  it("other format versions, unknown types and dangling ids are refused with their reason", () => {
    const reasonOf = (change: Record<string, unknown>) =>
      failure(Buffer.from(JSON.stringify({ ...valid(), ...change }))).reason
    assert.include(reasonOf({ "format-version": 4 }), "format version 4")
    assert.include(reasonOf({ "format-version": undefined }), "no format version")
    assert.include(reasonOf({ "current-schema-id": 99 }), "current schema 99")
    assert.include(reasonOf({ "current-snapshot-id": 99 }), "current snapshot 99")
    assert.include(reasonOf({ location: 5 }), "location")
    const field = { id: 1, name: "a", required: false, type: "varchar" }
    assert.include(reasonOf({ schemas: [{ type: "struct", "schema-id": 7, fields: [field] }] }), "a type of Iceberg v3")
    assert.include(failure(Buffer.from("[]")).reason, "no format version")
    assert.include(failure(Buffer.from("null")).reason, "no format version")
  })
})

/** Small bigints of carried-over JSON come back as numbers; that is the same JSON. */
const normal = (value: unknown): unknown =>
  JSON.parse(
    JSON.stringify(value, (_key, item) => (typeof item === "bigint" ? `int ${item}` : item)).replaceAll(
      /"statistics":.*?\]/g,
      '"statistics":[]',
    ),
  )
