import { Schema as Codec, Effect, SchemaTransformation } from "effect"
import { parseLosslessJson, printLosslessJson } from "./LosslessJson.ts"
import { Int64, kebabCase, kebabStruct, orElse, SchemaCodec } from "./SchemaJson.ts"
import { TableCorrupt } from "./TableCorrupt.ts"
import type { PartitionSpec, Snapshot, SortOrder, TableMetadata } from "./TableMetadata.ts"

/*
 * The metadata file as JSON (Iceberg spec, "Table Metadata Fields" and "Appendix C: JSON serialization"). Reading is
 * tolerant where the spec lets writers leave fields out; top-level fields that are not known are carried over.
 */

const sources = { sourceId: Codec.optionalKey(Codec.Int), sourceIds: Codec.optionalKey(Codec.Array(Codec.Int)) }

/**
 * Fields of specs and orders name their column by `source-id`, or in v3, where a transform takes several, all of them by
 * `source-ids`.
 */
interface InFile {
  readonly sourceId?: number
  readonly sourceIds?: ReadonlyArray<number>
}
const fromFile = <A extends InFile>({ sourceId, sourceIds, ...field }: A) => ({
  ...field,
  sourceId: sourceIds?.[0] ?? sourceId ?? -1,
  ...(sourceIds !== undefined && sourceIds.length > 1 ? { sourceIds } : {}),
})
const toFile = <A extends InFile>({ sourceId, sourceIds, ...field }: A) => ({
  ...field,
  ...(sourceIds === undefined ? { sourceId: sourceId! } : { sourceIds }),
})

const PartitionFieldCodec = kebabStruct({
  ...sources,
  fieldId: orElse(Codec.Int, -1),
  name: Codec.String,
  transform: Codec.String,
}).pipe(
  Codec.decodeTo(
    Codec.declare((_: unknown): _ is PartitionSpec["fields"][number] => true),
    SchemaTransformation.transform({ decode: fromFile, encode: toFile }),
  ),
)

/** A partition spec. Writers of the REST protocol may leave ids out: -1 then. */
export const SpecCodec = kebabStruct({ specId: orElse(Codec.Int, 0), fields: Codec.Array(PartitionFieldCodec) })

const SortFieldCodec = kebabStruct({
  transform: Codec.String,
  ...sources,
  direction: Codec.String,
  nullOrder: Codec.String,
}).pipe(
  Codec.decodeTo(
    Codec.declare((_: unknown): _ is SortOrder["fields"][number] => true),
    SchemaTransformation.transform({ decode: fromFile, encode: toFile }),
  ),
)

export const SortOrderCodec = kebabStruct({ orderId: orElse(Codec.Int, 0), fields: Codec.Array(SortFieldCodec) })

const StringMap = Codec.Record(Codec.String, Codec.String)

const encodeSpecJson = Codec.encodeSync(SpecCodec)

/** The spec's fields as JSON text, as manifests carry them in their header. */
export const encodeSpecFields = (spec: PartitionSpec): string =>
  JSON.stringify((encodeSpecJson(spec) as { readonly fields: unknown }).fields)

/** A snapshot as it stands in files and on the wire: parent and schema may be left out. */
export const SnapshotCodec = kebabStruct({
  snapshotId: Int64,
  parentSnapshotId: Codec.optionalKey(Codec.NullOr(Int64)),
  sequenceNumber: orElse(Int64, 0),
  timestampMs: Codec.Int,
  manifestList: Codec.String,
  summary: orElse(StringMap, {}),
  schemaId: Codec.optionalKey(Codec.Int),
  firstRowId: Codec.optionalKey(Int64),
  addedRows: Codec.optionalKey(Int64),
})

export const RefCodec = kebabStruct({
  snapshotId: Int64,
  type: Codec.Literals(["branch", "tag"]),
  minSnapshotsToKeep: Codec.optionalKey(Codec.Int),
  maxSnapshotAgeMs: Codec.optionalKey(Codec.Int),
  maxRefAgeMs: Codec.optionalKey(Codec.Int),
})

const fields = {
  formatVersion: Codec.Literals([2, 3]),
  tableUuid: Codec.String,
  location: Codec.String,
  lastSequenceNumber: Int64,
  lastUpdatedMs: Codec.Int,
  lastColumnId: Codec.Int,
  schemas: Codec.Array(SchemaCodec),
  currentSchemaId: Codec.Int,
  partitionSpecs: Codec.Array(SpecCodec),
  defaultSpecId: Codec.Int,
  lastPartitionId: Codec.Int,
  properties: orElse(StringMap, {}),
  currentSnapshotId: Codec.optionalKey(Codec.NullOr(Int64)),
  snapshots: orElse(Codec.Array(SnapshotCodec), []),
  snapshotLog: orElse(Codec.Array(kebabStruct({ snapshotId: Int64, timestampMs: Codec.Int })), []),
  metadataLog: orElse(Codec.Array(kebabStruct({ metadataFile: Codec.String, timestampMs: Codec.Int })), []),
  sortOrders: Codec.Array(SortOrderCodec),
  defaultSortOrderId: Codec.Int,
  refs: orElse(Codec.Record(Codec.String, RefCodec), {}),
  statistics: Codec.optionalKey(Codec.Array(Codec.Unknown)),
  partitionStatistics: Codec.optionalKey(Codec.Array(Codec.Unknown)),
  nextRowId: Codec.optionalKey(Int64),
  encryptionKeys: Codec.optionalKey(Codec.Array(Codec.Unknown)),
}
const MetadataFile = kebabStruct(fields)
const knownFields = new Set([...Object.keys(fields).map(kebabCase), "schema", "partition-spec"])

const unknownFieldsOf = (json: object): Pick<TableMetadata, "unknownFields"> => {
  const unknown = Object.entries(json).filter(([key]) => !knownFields.has(key))
  return unknown.length === 0 ? {} : { unknownFields: Object.fromEntries(unknown) }
}

type V1 = Record<string, unknown>

/**
 * A v1 file as v2 says the same ("Appendix E: Format version changes"): one schema and spec without ids, no sequence numbers
 * (0 throughout), optional uuid. Lists of manifests inside snapshots, which v1 allowed, are refused.
 */
const fromV1 = (json: V1): V1 => {
  const schema = json.schema as V1 | undefined
  const schemas = json.schemas ?? (schema === undefined ? undefined : [{ "schema-id": 0, ...schema }])
  const fields = (json["partition-spec"] ?? []) as ReadonlyArray<V1>
  const specs = (json["partition-specs"] ?? [{ "spec-id": 0, fields }]) as ReadonlyArray<{
    readonly fields: ReadonlyArray<V1>
  }>
  const partitionSpecs = specs.map((spec) => ({
    ...spec,
    fields: spec.fields.map((field, index) => ({ "field-id": 1000 + index, ...field })),
  }))
  const snapshots = (json.snapshots ?? []) as ReadonlyArray<V1>
  if (snapshots.some((snapshot) => snapshot["manifest-list"] === undefined)) {
    throw new Error("its snapshots list manifests without a manifest list, which only early v1 writers did")
  }
  const current = json["current-snapshot-id"]
  const refs =
    json.refs ??
    ((typeof current === "number" || typeof current === "bigint") && Number(current) !== -1
      ? { main: { "snapshot-id": current, type: "branch" } }
      : {})
  return {
    ...json,
    "format-version": 2,
    "table-uuid": json["table-uuid"] ?? "00000000-0000-0000-0000-000000000000",
    "last-sequence-number": 0,
    schemas,
    "current-schema-id": json["current-schema-id"] ?? 0,
    "partition-specs": partitionSpecs,
    "default-spec-id": json["default-spec-id"] ?? 0,
    "last-partition-id":
      json["last-partition-id"] ??
      Math.max(999, ...partitionSpecs.flatMap((spec) => spec.fields.map((field) => Number((field as V1)["field-id"])))),
    "sort-orders": json["sort-orders"] ?? [{ "order-id": 0, fields: [] }],
    "default-sort-order-id": json["default-sort-order-id"] ?? 0,
    refs,
  }
}

const decodeFile = Codec.decodeUnknownEffect(MetadataFile)
const encodeFile = Codec.encodeSync(MetadataFile)

/** Reads a metadata file. Everything that is wrong with it is a `TableCorrupt` that names it. */
export const decodeMetadata = Effect.fnUntraced(function* (location: string, bytes: Uint8Array) {
  const corrupt = (reason: string) => new TableCorrupt({ location, reason })
  const json = yield* Effect.try({
    try: () => parseLosslessJson(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8")),
    catch: (error) => corrupt(`it is no complete JSON document (${(error as Error).message})`),
  })
  const version = (json as { readonly "format-version"?: unknown } | null)?.["format-version"]
  if (version !== 1 && version !== 2 && version !== 3) {
    return yield* corrupt(
      typeof version === "number"
        ? `it has format version ${version}; versions 1 to 3 are what can be read here`
        : "it has no format version",
    )
  }
  const upgraded =
    version === 1
      ? yield* Effect.try({ try: () => fromV1(json as V1), catch: (error) => corrupt((error as Error).message) })
      : json
  const file = yield* decodeFile(upgraded).pipe(
    Effect.mapError((error) => corrupt(error.message.replaceAll("\n", " "))),
  )
  const snapshots = file.snapshots.map(({ parentSnapshotId, schemaId, ...snapshot }) => ({
    ...snapshot,
    parentSnapshotId: parentSnapshotId ?? null,
    schemaId: schemaId ?? file.currentSchemaId,
  }))
  // Some writers say "no snapshot" with -1.
  const current = file.currentSnapshotId === undefined || file.currentSnapshotId === -1n ? null : file.currentSnapshotId
  const metadata: TableMetadata = {
    ...file,
    location: file.location.replace(/\/+$/, ""),
    snapshots,
    currentSnapshotId: current,
    ...unknownFieldsOf(json as object),
  }
  if (!metadata.schemas.some((schema) => schema.schemaId === metadata.currentSchemaId)) {
    return yield* corrupt(`its current schema ${metadata.currentSchemaId} is not in its list of schemas`)
  }
  if (current !== null && !snapshots.some((snapshot) => snapshot.snapshotId === current)) {
    return yield* corrupt(`its current snapshot ${current} is not in its list of snapshots`)
  }
  return metadata
})

const encodeSnapshotJson = Codec.encodeSync(SnapshotCodec)
/** Text of snapshots that were encoded before: a table of a thousand of them is written again with each commit. */
const snapshotTexts = new WeakMap<Snapshot, string>()

const snapshotText = (snapshot: Snapshot): string => {
  let text = snapshotTexts.get(snapshot)
  if (text === undefined) {
    const { parentSnapshotId, ...rest } = snapshot
    // The first snapshot has no key at all: a null there breaks readers that expect a number.
    text = printLosslessJson(
      encodeSnapshotJson({ ...rest, ...(parentSnapshotId === null ? {} : { parentSnapshotId }) }),
    )
    snapshotTexts.set(snapshot, text)
  }
  return text
}

export const encodeMetadata = (metadata: TableMetadata): Uint8Array => {
  const encoded = encodeFile({ ...metadata, snapshots: [], snapshotLog: [] }) as Record<string, unknown>
  const { snapshots: _, "snapshot-log": __, "format-version": version, ...rest } = encoded
  const log = metadata.snapshotLog.map(
    ({ snapshotId, timestampMs }) => `{"snapshot-id":${snapshotId},"timestamp-ms":${timestampMs}}`,
  )
  const snapshots = metadata.snapshots.map(snapshotText)
  // The lists that grow with every commit are joined from text.
  const others = printLosslessJson({ ...rest, ...metadata.unknownFields }).slice(1)
  return Buffer.from(
    `{"format-version":${version},"snapshots":[${snapshots.join(",")}],"snapshot-log":[${log.join(",")}],${others}`,
  )
}
