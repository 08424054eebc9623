import {
  Int64,
  kebabStruct,
  type MetadataUpdate,
  orElse,
  printLosslessJson,
  SchemaCodec,
  SnapshotCodec,
  SortOrderCodec,
} from "@rat/lakehouse"
import { Schema as Codec, Effect } from "effect"
import { type RestFailure, refuse } from "./RestFailure.ts"

/** Updates and requirements of a commit as they stand in a request (REST catalog, `TableUpdate`, `TableRequirement`). */

/** Field ids may be missing on the wire: -1 asks for a new one. */
export const WireSpec = kebabStruct({
  specId: orElse(Codec.Int, 0),
  fields: Codec.Array(
    kebabStruct({
      sourceId: Codec.Int,
      fieldId: orElse(Codec.Int, -1),
      name: Codec.String.check(Codec.isNonEmpty()),
      transform: Codec.String,
    }),
  ),
})

const StringMap = Codec.Record(Codec.String, Codec.String)

/** Statistics are carried over as they are; what they belong to and where they lie has to be known. */
const Statistics = Codec.Unknown.check(
  Codec.makeFilter((value) => {
    const { "snapshot-id": id, "statistics-path": path } = (value ?? {}) as Record<string, unknown>
    return (typeof id === "bigint" || Number.isSafeInteger(id)) && typeof path === "string"
      ? undefined
      : "has to have a snapshot-id and a statistics-path"
  }),
)

const updateCodecs = {
  "assign-uuid": { uuid: Codec.String.check(Codec.isUUID()) },
  "upgrade-format-version": { formatVersion: Codec.Int },
  "add-schema": { schema: SchemaCodec, lastColumnId: Codec.optionalKey(Codec.Int) },
  "set-current-schema": { schemaId: Codec.Int },
  "add-spec": { spec: WireSpec },
  "set-default-spec": { specId: Codec.Int },
  "add-sort-order": { sortOrder: SortOrderCodec },
  "set-default-sort-order": { sortOrderId: Codec.Int },
  "add-snapshot": { snapshot: SnapshotCodec },
  "set-snapshot-ref": {
    refName: Codec.String.check(Codec.isNonEmpty()),
    snapshotId: Int64,
    type: Codec.Literals(["branch", "tag"]),
    minSnapshotsToKeep: Codec.optionalKey(Codec.NullOr(Codec.Int)),
    maxSnapshotAgeMs: Codec.optionalKey(Codec.NullOr(Codec.Int)),
    maxRefAgeMs: Codec.optionalKey(Codec.NullOr(Codec.Int)),
  },
  "remove-snapshots": { snapshotIds: Codec.Array(Int64) },
  "remove-snapshot-ref": { refName: Codec.String },
  "set-location": { location: Codec.String },
  "set-properties": { updates: StringMap },
  "remove-properties": { removals: Codec.Array(Codec.String) },
  "set-statistics": { statistics: Statistics },
  "remove-statistics": { snapshotId: Int64 },
  "set-partition-statistics": { partitionStatistics: Statistics },
  "remove-partition-statistics": { snapshotId: Int64 },
  "remove-partition-specs": { specIds: Codec.Array(Codec.Int) },
  "remove-schemas": { schemaIds: Codec.Array(Codec.Int) },
} satisfies Record<MetadataUpdate["action"], Codec.Struct.Fields>

const requirementCodecs = {
  "assert-create": {},
  "assert-table-uuid": { uuid: Codec.String },
  "assert-ref-snapshot-id": { ref: Codec.String, snapshotId: Codec.optionalKey(Codec.NullOr(Int64)) },
  "assert-last-assigned-field-id": { lastAssignedFieldId: Codec.Int },
  "assert-current-schema-id": { currentSchemaId: Codec.Int },
  "assert-last-assigned-partition-id": { lastAssignedPartitionId: Codec.Int },
  "assert-default-spec-id": { defaultSpecId: Codec.Int },
  "assert-default-sort-order-id": { defaultSortOrderId: Codec.Int },
}

export type TableRequirement = {
  readonly [T in keyof typeof requirementCodecs]: { readonly type: T } & Codec.Struct<
    (typeof requirementCodecs)[T]
  >["Type"]
}[keyof typeof requirementCodecs]

type Decoder = (value: unknown) => Effect.Effect<unknown, Codec.SchemaError>

const decodersOf = (codecs: Record<string, Codec.Struct.Fields>): ReadonlyMap<string, Decoder> =>
  new Map(
    Object.entries(codecs).map(([name, fields]) => [
      name,
      Codec.decodeUnknownEffect(kebabStruct(fields)) as unknown as Decoder,
    ]),
  )

const updateDecoders = decodersOf(updateCodecs)
const requirementDecoders = decodersOf(requirementCodecs)

const unsupported: Readonly<Record<string, string>> = {
  "add-encryption-key": "encrypted tables can neither be read nor written here",
  "remove-encryption-key": "encrypted tables can neither be read nor written here",
}

const decodeOne = Effect.fnUntraced(function* (
  what: "update" | "requirement",
  key: "action" | "type",
  decoders: ReadonlyMap<string, Decoder>,
  value: unknown,
) {
  const name = (value as Readonly<Record<string, unknown>> | null)?.[key]
  const decode = typeof name === "string" ? decoders.get(name) : undefined
  if (decode === undefined) {
    const why = typeof name === "string" ? unsupported[name] : undefined
    return yield* refuse(
      "BadRequestException",
      why === undefined
        ? `The ${what} ${printLosslessJson(name ?? null)} is unknown. Known are: ${[...decoders.keys()].join(", ")}.`
        : `The ${what} "${name}" is not possible: ${why}.`,
    )
  }
  const decoded = yield* Effect.mapError(decode(value), (error) =>
    refuse(
      "BadRequestException",
      `The ${what} "${name}" is not valid: ${error.message.replace(/\s+/g, " ").slice(0, 500)}`,
    ),
  )
  return { [key]: name, ...withoutNulls(decoded as Record<string, unknown>, what) }
})

/** Optional limits of refs may come as null, which says the same as nothing. */
const withoutNulls = (fields: Record<string, unknown>, what: string) =>
  what === "update" ? Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null)) : fields

/** A snapshot's schema may be left out: then it is -1, for the one that is current when the snapshot is added. */
const completed = (update: MetadataUpdate): MetadataUpdate =>
  update.action === "add-snapshot"
    ? {
        ...update,
        snapshot: {
          ...update.snapshot,
          parentSnapshotId: update.snapshot.parentSnapshotId ?? null,
          schemaId: update.snapshot.schemaId ?? -1,
        },
      }
    : update

export const decodeUpdates = (
  values: ReadonlyArray<unknown>,
): Effect.Effect<ReadonlyArray<MetadataUpdate>, RestFailure> =>
  Effect.forEach(values, (value) =>
    Effect.map(decodeOne("update", "action", updateDecoders, value), (update) => completed(update as MetadataUpdate)),
  )

export const decodeRequirements = (
  values: ReadonlyArray<unknown>,
): Effect.Effect<ReadonlyArray<TableRequirement>, RestFailure> =>
  Effect.forEach(
    values,
    (value) =>
      decodeOne("requirement", "type", requirementDecoders, value) as Effect.Effect<TableRequirement, RestFailure>,
  )
