import { Schema as Codec, Effect } from "effect"
import { parseLosslessJson, printLosslessJson } from "./LosslessJson.ts"
import { Int64, kebabStruct, orElse, SchemaCodec } from "./SchemaJson.ts"
import { TableCorrupt } from "./TableCorrupt.ts"
import type { TableMetadata } from "./TableMetadata.ts"

/*
 * The metadata file as JSON (Iceberg spec v2, "Table Metadata Fields" and "Appendix C: JSON serialization"). Reading is
 * tolerant where the spec lets writers leave fields out; fields that v2 does not know are dropped.
 */

const Spec = kebabStruct({
  specId: Codec.Int,
  fields: Codec.Array(
    kebabStruct({ sourceId: Codec.Int, fieldId: Codec.Int, name: Codec.String, transform: Codec.String }),
  ),
})

const Order = kebabStruct({
  orderId: Codec.Int,
  fields: Codec.Array(
    kebabStruct({ transform: Codec.String, sourceId: Codec.Int, direction: Codec.String, nullOrder: Codec.String }),
  ),
})

const StringMap = Codec.Record(Codec.String, Codec.String)

const SnapshotJson = kebabStruct({
  snapshotId: Int64,
  parentSnapshotId: Codec.optionalKey(Codec.NullOr(Int64)),
  sequenceNumber: orElse(Int64, 0),
  timestampMs: Codec.Int,
  manifestList: Codec.String,
  summary: orElse(StringMap, {}),
  schemaId: Codec.optionalKey(Codec.Int),
})

const RefJson = kebabStruct({
  snapshotId: Int64,
  type: Codec.Literals(["branch", "tag"]),
  minSnapshotsToKeep: Codec.optionalKey(Codec.Int),
  maxSnapshotAgeMs: Codec.optionalKey(Codec.Int),
  maxRefAgeMs: Codec.optionalKey(Codec.Int),
})

const MetadataFile = kebabStruct({
  formatVersion: Codec.Literal(2),
  tableUuid: Codec.String,
  location: Codec.String,
  lastSequenceNumber: Int64,
  lastUpdatedMs: Codec.Int,
  lastColumnId: Codec.Int,
  schemas: Codec.Array(SchemaCodec),
  currentSchemaId: Codec.Int,
  partitionSpecs: Codec.Array(Spec),
  defaultSpecId: Codec.Int,
  lastPartitionId: Codec.Int,
  properties: orElse(StringMap, {}),
  currentSnapshotId: Codec.optionalKey(Codec.NullOr(Int64)),
  snapshots: orElse(Codec.Array(SnapshotJson), []),
  snapshotLog: orElse(Codec.Array(kebabStruct({ snapshotId: Int64, timestampMs: Codec.Int })), []),
  metadataLog: orElse(Codec.Array(kebabStruct({ metadataFile: Codec.String, timestampMs: Codec.Int })), []),
  sortOrders: Codec.Array(Order),
  defaultSortOrderId: Codec.Int,
  refs: orElse(Codec.Record(Codec.String, RefJson), {}),
  statistics: Codec.optionalKey(Codec.Array(Codec.Unknown)),
  partitionStatistics: Codec.optionalKey(Codec.Array(Codec.Unknown)),
})

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
  if (version !== 2) {
    return yield* corrupt(
      typeof version === "number"
        ? `it has format version ${version}; version 2 is what can be read and written here`
        : "it has no format version",
    )
  }
  const file = yield* decodeFile(json).pipe(Effect.mapError((error) => corrupt(error.message.replaceAll("\n", " "))))
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
  }
  if (!metadata.schemas.some((schema) => schema.schemaId === metadata.currentSchemaId)) {
    return yield* corrupt(`its current schema ${metadata.currentSchemaId} is not in its list of schemas`)
  }
  if (current !== null && !snapshots.some((snapshot) => snapshot.snapshotId === current)) {
    return yield* corrupt(`its current snapshot ${current} is not in its list of snapshots`)
  }
  return metadata
})

export const encodeMetadata = (metadata: TableMetadata): Uint8Array =>
  Buffer.from(
    printLosslessJson(
      encodeFile({
        ...metadata,
        snapshots: metadata.snapshots.map(({ parentSnapshotId, ...snapshot }) => ({
          ...snapshot,
          // The first snapshot has no key at all: a null there breaks readers that expect a number.
          ...(parentSnapshotId === null ? {} : { parentSnapshotId }),
        })),
      }),
    ),
  )
