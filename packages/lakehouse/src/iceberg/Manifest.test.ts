import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as fc from "fast-check"
import { readAvroFile, writeAvroFile } from "./AvroFile.ts"
import type { ContentFile } from "./DataFile.ts"
import { decodeManifest, encodeManifest, type ManifestEntry } from "./Manifest.ts"
import { decodeManifestList, encodeManifestList, hasLiveFiles, type ManifestFile } from "./ManifestList.ts"
import { partitionFields } from "./PartitionSpec.ts"
import { inheritAll } from "./RowLineage.ts"
import type { SingleValue } from "./SingleValue.ts"
import type { PartitionSpec, Schema } from "./TableMetadata.ts"

const int64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })
const count = fc.nat({ max: Number.MAX_SAFE_INTEGER })
const mapOf = <V>(value: fc.Arbitrary<V>): fc.Arbitrary<ReadonlyMap<number, V>> =>
  fc.array(fc.tuple(fc.nat({ max: 1000 }), value), { maxLength: 4 }).map((entries) => new Map(entries))

const facts = {
  filePath: fc.string({ unit: "binary" }),
  specId: fc.constant(7),
  partition: fc.tuple(
    fc.option(fc.bigInt({ min: -(2n ** 31n), max: 2n ** 31n - 1n })),
    fc.option(fc.string({ unit: "binary" })),
    fc.option(fc.bigInt({ min: -(10n ** 20n) + 1n, max: 10n ** 20n - 1n })),
    fc.option(fc.uuid()),
  ),
  recordCount: count,
  fileSizeBytes: count,
  columnSizes: mapOf(count),
  valueCounts: mapOf(count),
  nullValueCounts: mapOf(count),
  nanValueCounts: mapOf(count),
  lowerBounds: mapOf(fc.uint8Array({ maxLength: 20 })),
  upperBounds: mapOf(fc.uint8Array({ maxLength: 20 })),
}
const statused = (file: fc.Arbitrary<ContentFile>): fc.Arbitrary<ManifestEntry> =>
  fc.record({
    status: fc.constantFrom("existing" as const, "added" as const, "deleted" as const),
    snapshotId: fc.option(int64),
    sequenceNumber: fc.option(int64),
    fileSequenceNumber: fc.option(int64),
    file,
  })
const entry = statused(fc.record({ content: fc.constant("data" as const), ...facts }))
const deletes = statused(
  fc.record(
    {
      content: fc.constantFrom("position-deletes" as const, "equality-deletes" as const),
      format: fc.constant("parquet" as const),
      ...facts,
      equalityIds: fc.array(fc.nat()),
      referencedDataFile: fc.string(),
      contentOffset: count,
      contentSizeBytes: count,
      sortOrderId: fc.nat(),
    },
    { requiredKeys: ["content", "format", ...(Object.keys(facts) as Array<keyof typeof facts>)] },
  ),
)

const lineArbitrary: fc.Arbitrary<ManifestFile> = fc.record({
  path: fc.string(),
  lengthBytes: count,
  partitionSpecId: fc.nat(),
  content: fc.constantFrom("data" as const, "deletes" as const),
  sequenceNumber: int64,
  minSequenceNumber: int64,
  addedSnapshotId: int64,
  addedFiles: fc.nat(),
  existingFiles: fc.nat(),
  deletedFiles: fc.nat(),
  addedRows: count,
  existingRows: count,
  deletedRows: count,
  partitions: fc.constantFrom(
    null,
    [],
    [
      { containsNull: true },
      { containsNull: false, containsNan: true, lowerBound: new Uint8Array([1]), upperBound: new Uint8Array() },
    ],
  ),
  keyMetadata: fc.constant(null),
})

const schema: Schema = {
  schemaId: 3,
  fields: [
    { id: 1, name: "day", required: false, type: "date" },
    { id: 2, name: "text", required: false, type: "string" },
    { id: 3, name: "amount", required: false, type: "decimal(20,3)" },
    { id: 4, name: "key", required: false, type: "uuid" },
  ],
  identifierFieldIds: [],
}
const spec: PartitionSpec = {
  specId: 7,
  fields: schema.fields.map(({ id, name }) => ({
    sourceId: id,
    fieldId: 999 + id,
    name: `p ${name}`,
    transform: "identity",
  })),
}
const table = { partitionSpecs: [spec], schemas: [schema], currentSchemaId: 3 }
const encode = (
  entries: ReadonlyArray<ManifestEntry>,
  content: "data" | "deletes" = "data",
  formatVersion: 2 | 3 = 3,
) =>
  encodeManifest({ schema, spec, partitionFields: partitionFields(spec, [schema], 3), formatVersion, content, entries })
const decode = (bytes: Uint8Array, location = "m.avro") => decodeManifest(location, bytes, 7, table)
const plain = (value: unknown): unknown =>
  value instanceof Uint8Array
    ? Buffer.from(value).toString("hex")
    : value instanceof Map
      ? Array.from(value, ([key, item]) => [key, plain(item)])
      : Array.isArray(value)
        ? value.map(plain)
        : value !== null && typeof value === "object"
          ? Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plain(item)]))
          : value

/** A length as Avro writes it. */
const varint = (length: number): Buffer => {
  const bytes: Array<number> = []
  for (let rest = length * 2; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return Buffer.from([...bytes, rest])
    bytes.push((rest % 128) + 128)
  }
}

describe("Manifest", () => {
  it("entries come back as they were", () => {
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 5 }), fc.array(deletes, { maxLength: 5 }), (entries, others) => {
        assert.deepStrictEqual(plain(Effect.runSync(decode(encode(entries)))), plain(entries))
        assert.deepStrictEqual(plain(Effect.runSync(decode(encode(others, "deletes")))), plain(others))
      }),
    )
  })

  it("partition values of every type come back as they were, whatever their columns are called", () => {
    const bounded = (bits: bigint) => fc.bigInt({ min: -(2n ** (bits - 1n)), max: 2n ** (bits - 1n) - 1n })
    const values: Readonly<Record<string, fc.Arbitrary<SingleValue>>> = {
      boolean: fc.boolean(),
      int: bounded(32n),
      long: int64,
      float: fc.float({ noNaN: true }),
      double: fc.double(),
      "decimal(1,0)": fc.bigInt({ min: -9n, max: 9n }),
      "decimal(38,10)": fc.bigInt({ min: -(10n ** 38n) + 1n, max: 10n ** 38n - 1n }),
      date: bounded(32n),
      time: fc.bigInt({ min: 0n, max: 86_399_999_999n }),
      timestamp: int64,
      timestamptz: int64,
      timestamp_ns: int64,
      timestamptz_ns: int64,
      string: fc.string({ unit: "binary" }),
      uuid: fc.uuid(),
      "fixed[3]": fc.uint8Array({ minLength: 3, maxLength: 3 }),
      binary: fc.uint8Array({ maxLength: 20 }),
    }
    const types = Object.keys(values)
    const wide: Schema = {
      schemaId: 0,
      fields: types.map((type, index) => ({
        id: index + 1,
        name: `${index} ${type} ü.${index}`,
        required: false,
        type,
      })),
      identifierFieldIds: [],
    }
    const wideSpec: PartitionSpec = {
      specId: 7,
      fields: wide.fields.map(({ id, name }) => ({ sourceId: id, fieldId: 999 + id, name, transform: "identity" })),
    }
    const fields = partitionFields(wideSpec, [wide], 0)
    const partition = fc.tuple(...types.map((type) => fc.option(values[type]!)))
    const [sample] = fc.sample(entry, 1)
    fc.assert(
      fc.property(fc.array(partition, { minLength: 1, maxLength: 4 }), (partitions) => {
        const entries = partitions.map((each) => ({ ...sample!, file: { ...sample!.file, partition: each } }))
        const bytes = encodeManifest({
          schema: wide,
          spec: wideSpec,
          partitionFields: fields,
          formatVersion: 2,
          content: "data",
          entries,
        })
        const decoded = Effect.runSync(decodeManifest("m.avro", bytes, 7, { partitionSpecs: [wideSpec] }))
        assert.deepStrictEqual(
          decoded.map(({ file }) => plain(file.partition)),
          partitions.map(plain),
        )
        // Another order of the spec's fields is still found, and a field that the writer left out is NULL.
        const other = {
          specId: 7,
          fields: [{ ...wideSpec.fields[0]!, fieldId: 5000 }, ...wideSpec.fields.toReversed()],
        }
        const reversed = Effect.runSync(decodeManifest("m.avro", bytes, 7, { partitionSpecs: [other] }))
        assert.deepStrictEqual(plain(reversed[0]!.file.partition), [null, ...partitions[0]!.toReversed().map(plain)])
      }),
    )
  })

  it("manifests and lists of version 1 are read, with what they do not say at its default", () => {
    const optional = (id: number, name: string, type: unknown) => ({
      name,
      type: ["null", type],
      default: null,
      "field-id": id,
    })
    const required = (id: number, name: string, type: unknown) => ({ name, type, "field-id": id })
    const dataFile = {
      type: "record",
      name: "r2",
      fields: [
        required(100, "file_path", "string"),
        required(101, "file_format", "string"),
        required(102, "partition", {
          type: "record",
          name: "r102",
          fields: [optional(1000, "d", { type: "int", logicalType: "date" })],
        }),
        required(103, "record_count", "long"),
        required(104, "file_size_in_bytes", "long"),
        required(105, "block_size_in_bytes", "long"),
      ],
    }
    const manifest = writeAvroFile({
      schema: {
        type: "record",
        name: "manifest_entry",
        fields: [required(0, "status", "int"), required(1, "snapshot_id", "long"), required(2, "data_file", dataFile)],
      },
      metadata: { "partition-spec-id": "0" },
      records: [
        {
          status: 1,
          snapshot_id: 9n,
          data_file: {
            file_path: "a.parquet",
            file_format: "parquet",
            partition: { d: 3 },
            record_count: 5n,
            file_size_in_bytes: 50n,
            block_size_in_bytes: 1n,
          },
        },
      ],
    })
    const spec1 = { specId: 0, fields: [{ sourceId: 1, fieldId: 1000, name: "d", transform: "identity" }] }
    const entries = Effect.runSync(decodeManifest("m.avro", manifest, 0, { partitionSpecs: [spec1] }))
    const list = writeAvroFile({
      schema: {
        type: "record",
        name: "manifest_file",
        fields: [
          required(500, "manifest_path", "string"),
          required(501, "manifest_length", "long"),
          required(502, "partition_spec_id", "int"),
          optional(503, "added_snapshot_id", "long"),
          optional(504, "added_data_files_count", "int"),
        ],
      },
      metadata: {},
      records: [
        {
          manifest_path: "m.avro",
          manifest_length: 5n,
          partition_spec_id: 0,
          added_snapshot_id: null,
          added_data_files_count: null,
        },
      ],
    })
    const [line] = Effect.runSync(decodeManifestList("l.avro", list))
    assert.isTrue(hasLiveFiles(line!))
    assert.deepInclude(line, { content: "data", sequenceNumber: 0n, minSequenceNumber: 0n, partitions: null })
    assert.deepStrictEqual(
      inheritAll(entries, line!).map(({ file, sequenceNumber, snapshotId }) => [
        snapshotId,
        sequenceNumber,
        file.content,
        file.partition,
        file.recordCount,
        file.lowerBounds.size,
      ]),
      [[9n, 0n, "data", [3n], 5, 0]],
    )
    const missing = Effect.runSync(Effect.flip(decodeManifest("m.avro", manifest, 4, { partitionSpecs: [spec1] })))
    assert.include(missing.message, "partition spec 4, which the table does not have")
  })

  it("manifests whose writer says every type as an object are the same manifests", () => {
    const names = new Set(["int", "long", "bytes", "string", "boolean"])
    const respelled = (schema: unknown): unknown => {
      if (typeof schema === "string") return names.has(schema) ? { type: schema } : schema
      if (Array.isArray(schema)) return schema.map(respelled)
      const parts = Object.entries(schema as object).map(([key, value]) => [
        key,
        key === "fields"
          ? value.map((field: { readonly type: unknown }) => ({ ...field, type: respelled(field.type) }))
          : ["items", "values"].includes(key)
            ? respelled(value)
            : value,
      ])
      return Object.fromEntries(parts)
    }
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 3 }), (entries) => {
        const bytes = encode(entries)
        const start = bytes.indexOf('{"type":"record"')
        const { schema } = readAvroFile(bytes)
        const text = Buffer.from(JSON.stringify(schema))
        assert.isTrue(bytes.subarray(start, start + text.length).equals(text))
        const next = Buffer.from(JSON.stringify(respelled(schema)))
        // The text's length stands before it.
        const [old, length] = [varint(text.length), varint(next.length)]
        const head = bytes.subarray(0, start - old.length)
        assert.isTrue(bytes.subarray(start - old.length, start).equals(old))
        const foreign = Buffer.concat([head, length, next, bytes.subarray(start + text.length)])
        assert.deepStrictEqual(plain(Effect.runSync(decode(foreign))), plain(entries))
      }),
    )
  })

  it("statistics are the same whether one field is asked for or all of them", () => {
    fc.assert(
      fc.property(entry, fc.nat({ max: 1000 }), (sample, key) => {
        const read = () => Effect.runSync(decode(encode([sample])))[0]!.file
        const names = [
          "columnSizes",
          "valueCounts",
          "nullValueCounts",
          "nanValueCounts",
          "lowerBounds",
          "upperBounds",
        ] as const
        for (const name of names) {
          const expected: ReadonlyMap<number, unknown> = sample.file[name]
          for (const each of [key, ...expected.keys()]) {
            assert.deepStrictEqual(plain(read()[name].get(each)), plain(expected.get(each)))
            assert.strictEqual(read()[name].has(each), expected.has(each))
          }
          const map = read()[name]
          assert.strictEqual(map.size, expected.size)
          assert.deepStrictEqual([...map.keys()], [...expected.keys()])
          assert.deepStrictEqual([...read()[name].values()].map(plain), [...expected.values()].map(plain))
          assert.deepStrictEqual(plain(new Map<number, unknown>(read()[name])), plain(expected))
        }
      }),
    )
  })

  it("lines of a manifest list come back as they were", () => {
    fc.assert(
      fc.property(fc.array(lineArbitrary, { maxLength: 5 }), int64, (manifests, snapshotId) => {
        const bytes = encodeManifestList({
          snapshotId,
          parentSnapshotId: null,
          sequenceNumber: 1n,
          formatVersion: 2,
          manifests,
        })
        assert.deepStrictEqual(Effect.runSync(decodeManifestList("l.avro", bytes)), manifests)
      }),
    )
  })

  it("many entries in several compressed blocks come back in order, and the same entries give the same bytes", () => {
    const [sample] = fc.sample(entry, 1)
    const entries = Array.from({ length: 10_000 }, (_, index) => ({
      ...sample!,
      file: { ...sample!.file, filePath: `file:///data/${index}.parquet` },
    }))
    const bytes = encode(entries)
    assert.isTrue(bytes.equals(encode(entries)))
    const decoded = Effect.runSync(decode(bytes))
    assert.deepStrictEqual(
      decoded.map(({ file }) => file.filePath),
      entries.map(({ file }) => file.filePath),
    )
  })

  it("bounds of a few bytes, which caches keep, do not hold much more memory than the manifest's text", () => {
    const bounds = new Map([[1, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8)]])
    for (const files of [1, 20]) {
      const entries = fc.sample(entry, files).map((sample) => ({
        ...sample,
        file: { ...sample.file, lowerBounds: bounds, upperBounds: bounds },
      }))
      const encoded = encode(entries)
      const held = new Set(
        Effect.runSync(decode(encoded)).flatMap(({ file }) =>
          [...file.lowerBounds.values(), ...file.upperBounds.values()].map(({ buffer }) => buffer),
        ),
      )
      const bytes = Array.from(held).reduce((sum, { byteLength }) => sum + byteLength, 0)
      assert.isBelow(bytes, 4096 + files * 2048)
    }
  })

  it("files carry the id of their schema as long as all of a manifest share it", () => {
    const [one, two] = fc.sample(entry, 2).map((each) => ({ ...each, status: "added" as const }))
    const ids = (first?: number, second?: number) =>
      Effect.runSync(
        decode(
          encode(
            [[one!, first] as const, [two!, second] as const].map(([each, schemaId]) =>
              schemaId === undefined ? each : { ...each, file: { ...each.file, schemaId } as ContentFile },
            ),
          ),
        ),
      ).map(({ file }) => (file.content === "data" ? file.schemaId : null))
    assert.deepStrictEqual(ids(3, 3), [3, 3])
    assert.deepStrictEqual(ids(3, 2), [undefined, undefined])
    assert.deepStrictEqual(ids(3), [undefined, undefined])
  })

  it("missing sequence numbers, snapshot and row ids are inherited, those that are there stay", () => {
    const [line] = fc.sample(lineArbitrary, 1)
    const manifest = { ...line!, addedSnapshotId: 10n, sequenceNumber: 4n, firstRowId: 100n }
    const [sample] = fc.sample(entry, 1)
    const bare: ManifestEntry = {
      ...sample!,
      status: "added",
      snapshotId: null,
      sequenceNumber: null,
      fileSequenceNumber: null,
    }
    const file = { ...sample!.file, recordCount: 7 }
    const own: ManifestEntry = {
      ...bare,
      status: "existing",
      snapshotId: 1n,
      sequenceNumber: 0n,
      fileSequenceNumber: 0n,
      file: { ...file, firstRowId: 3n } as never,
    }
    const entries = inheritAll(
      [{ ...bare, file }, own, { ...bare, status: "deleted", file }, { ...bare, file }],
      manifest,
    )
    assert.deepStrictEqual(
      entries.map((each) => [
        each.snapshotId,
        each.sequenceNumber,
        each.fileSequenceNumber,
        each.file.sequenceNumber,
        (each.file as { firstRowId?: bigint }).firstRowId,
      ]),
      [
        [10n, 4n, 4n, 4n, 100n],
        [1n, 0n, 0n, 0n, 3n],
        [10n, 4n, 4n, 4n, undefined],
        [10n, 4n, 4n, 4n, 107n],
      ],
    )
    const before = inheritAll([{ ...bare, file }], { ...line!, content: "data" })
    assert.isFalse("firstRowId" in before[0]!.file)
  })

  it("a manifest that was cut off or damaged anywhere is corrupt and says which file", () => {
    const bytes = encode(fc.sample(entry, 3))
    const reasons = new Set<string>()
    for (let length = 0; length < bytes.length; length++) {
      const outcome = Effect.runSync(Effect.result(decode(bytes.subarray(0, length), "s3://b/m0.avro")))
      // Cut off right behind the header it is a valid file of no entries; the list's length catches that.
      if (outcome._tag === "Success") assert.strictEqual(outcome.success.length, 0)
      else {
        assert.strictEqual(outcome.failure._tag, "TableCorrupt")
        assert.include(outcome.failure.message, "s3://b/m0.avro")
        reasons.add(outcome.failure.reason)
      }
    }
    assert.include(Array.from(reasons), "it ends in the middle (truncated)")
    fc.assert(
      fc.property(fc.nat({ max: bytes.length - 1 }), fc.integer({ min: 1, max: 255 }), (at, change) => {
        const damaged = Buffer.from(bytes)
        damaged[at]! ^= change
        Effect.runSync(Effect.ignore(decode(damaged))) // an error or other values, never a defect
      }),
    )
  })
})
