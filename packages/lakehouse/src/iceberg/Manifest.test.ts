import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as fc from "fast-check"
import { decodeManifest, encodeManifest, inherit, type ManifestEntry } from "./Manifest.ts"
import { decodeManifestList, encodeManifestList, type ManifestFile } from "./ManifestList.ts"
import type { Schema } from "./TableMetadata.ts"

const int64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })
const count = fc.nat({ max: Number.MAX_SAFE_INTEGER })
const mapOf = <V>(value: fc.Arbitrary<V>): fc.Arbitrary<ReadonlyMap<number, V>> =>
  fc.array(fc.tuple(fc.nat({ max: 1000 }), value), { maxLength: 4 }).map((entries) => new Map(entries))

const entry: fc.Arbitrary<ManifestEntry> = fc.record({
  status: fc.constantFrom("existing" as const, "added" as const, "deleted" as const),
  snapshotId: fc.option(int64),
  sequenceNumber: fc.option(int64),
  fileSequenceNumber: fc.option(int64),
  file: fc.record({
    filePath: fc.string({ unit: "binary" }),
    recordCount: count,
    fileSizeBytes: count,
    columnSizes: mapOf(count),
    valueCounts: mapOf(count),
    nullValueCounts: mapOf(count),
    nanValueCounts: mapOf(count),
    lowerBounds: mapOf(fc.uint8Array({ maxLength: 20 })),
    upperBounds: mapOf(fc.uint8Array({ maxLength: 20 })),
  }),
})

const line: fc.Arbitrary<ManifestFile> = fc.record({
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
  partitions: fc.constantFrom(null, []),
  keyMetadata: fc.constant(null),
})

const schema: Schema = {
  schemaId: 3,
  fields: [{ id: 1, name: "id", required: false, type: "long" }],
  identifierFieldIds: [],
}
const encode = (entries: ReadonlyArray<ManifestEntry>, filesSchema = false) =>
  encodeManifest({ schema, specId: 0, filesSchema, entries })
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

describe("Manifest", () => {
  it("entries come back as they were", () => {
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 5 }), (entries) => {
        const decoded = Effect.runSync(decodeManifest("m.avro", encode(entries)))
        assert.deepStrictEqual(plain(decoded), plain(entries))
      }),
    )
  })

  it("lines of a manifest list come back as they were", () => {
    fc.assert(
      fc.property(fc.array(line, { maxLength: 5 }), int64, (manifests, snapshotId) => {
        const bytes = encodeManifestList({ snapshotId, parentSnapshotId: null, sequenceNumber: 1n, manifests })
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
    const decoded = Effect.runSync(decodeManifest("m.avro", bytes))
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
        Effect.runSync(decodeManifest("m.avro", encoded)).flatMap(({ file }) =>
          [...file.lowerBounds.values(), ...file.upperBounds.values()].map(({ buffer }) => buffer),
        ),
      )
      const bytes = Array.from(held).reduce((sum, { byteLength }) => sum + byteLength, 0)
      assert.isBelow(bytes, 4096 + files * 2048)
    }
  })

  it("files of a manifest that promises their schema carry its id, others none", () => {
    const entries = fc.sample(entry, 2)
    const ids = (filesSchema: boolean) =>
      Effect.runSync(decodeManifest("m.avro", encode(entries, filesSchema))).map(({ file }) => file.schemaId)
    assert.deepStrictEqual(ids(true), [3, 3])
    assert.deepStrictEqual(ids(false), [undefined, undefined])
  })

  it("missing sequence numbers and snapshot ids are inherited, those that are there stay", () => {
    const manifest = { addedSnapshotId: 10n, sequenceNumber: 4n }
    const [sample] = fc.sample(entry, 1)
    const own = { ...sample!, snapshotId: 1n, sequenceNumber: 0n, fileSequenceNumber: 0n }
    assert.deepStrictEqual(inherit(own, manifest), own)
    assert.deepInclude(
      inherit({ ...own, snapshotId: null, sequenceNumber: null, fileSequenceNumber: null }, manifest),
      {
        snapshotId: 10n,
        sequenceNumber: 4n,
        fileSequenceNumber: 4n,
      },
    )
  })

  it("a manifest that was cut off or damaged anywhere is corrupt and says which file", () => {
    const bytes = encode(fc.sample(entry, 3))
    const reasons = new Set<string>()
    for (let length = 0; length < bytes.length; length++) {
      const outcome = Effect.runSync(Effect.result(decodeManifest("s3://b/m0.avro", bytes.subarray(0, length))))
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
        Effect.runSync(Effect.ignore(decodeManifest("m.avro", damaged))) // an error or other values, never a defect
      }),
    )
  })
})
