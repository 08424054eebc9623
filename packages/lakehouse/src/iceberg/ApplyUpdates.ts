import { Result, Schema } from "effect"
import { addSchema, addSortOrder, addSpec, type State } from "./AddedParts.ts"
import type { MetadataUpdate } from "./MetadataUpdate.ts"
import { checkTypes } from "./SchemaRules.ts"
import type { TableMetadata } from "./TableMetadata.ts"

/** An update that the table's metadata does not allow. Nothing was changed. */
export class UpdateRefused extends Schema.TaggedError<UpdateRefused>()("UpdateRefused", {
  action: Schema.String,
  reason: Schema.String,
}) {
  override get message() {
    return `The update "${this.action}" is not possible: ${this.reason}.`
  }
}

/** The spec's default of `write.metadata.previous-versions-max`. */
const previousVersions = 100

export interface UpdateContext {
  readonly nowMs: number
  /** Of a new table; may be left out when `set-location` is among the updates. */
  readonly location?: string
  /** Of a new table; may be left out when `assign-uuid` is among the updates. */
  readonly uuid?: string
  /** The file that holds the metadata; it goes into the metadata log. */
  readonly previousLocation?: string | null
}

/**
 * Metadata after a list of updates (REST specification, `TableUpdate`; Iceberg spec, "Table Metadata"). Pure and the only place
 * where metadata is changed: our own commits and those over the wire are the same. Null is a table that does not exist yet.
 *
 * Invariants kept: ids of columns and partition fields rise and are never used for something else; what a snapshot refers
 * to exists; sequence numbers and times do not go back.
 */
export const applyUpdates = (
  metadata: TableMetadata | null,
  updates: ReadonlyArray<MetadataUpdate>,
  context: UpdateContext,
): Result.Result<TableMetadata, UpdateRefused> => {
  const state: State = {
    metadata: metadata ?? emptyTable(context),
    isNew: metadata === null,
    lastSchema: null,
    lastSpec: null,
    lastOrder: null,
  }
  try {
    for (const update of updates) apply(state, update, context)
    // A new table's spec and order may speak of columns only once there is a schema.
    if (currentSchemaIsMissing(state.metadata)) throw refused("set-current-schema", "the table has no current schema")
    if (state.metadata.location === "") throw refused("set-location", "the table has no location")
    if (state.metadata.tableUuid === "") throw refused("assign-uuid", "the table has no uuid")
  } catch (error) {
    if (error instanceof UpdateRefused) return Result.fail(error)
    throw error
  }
  const next = state.metadata
  const limit = Math.max(1, Number(next.properties["write.metadata.previous-versions-max"]) || previousVersions)
  const log =
    metadata === null || context.previousLocation == null
      ? next.metadataLog
      : [...next.metadataLog, { metadataFile: context.previousLocation, timestampMs: metadata.lastUpdatedMs }]
  return Result.succeed({
    ...next,
    lastUpdatedMs: Math.max(context.nowMs, metadata?.lastUpdatedMs ?? 0, next.lastUpdatedMs),
    metadataLog: log.slice(-limit),
  })
}

const currentSchemaIsMissing = ({ currentSchemaId, schemas }: TableMetadata) =>
  !schemas.some(({ schemaId }) => schemaId === currentSchemaId)

const refused = (action: string, reason: string) => new UpdateRefused({ action, reason })

const emptyTable = ({ location, nowMs, uuid }: UpdateContext): TableMetadata => ({
  formatVersion: 2,
  tableUuid: uuid ?? "",
  location: location?.replace(/\/+$/, "") ?? "",
  lastSequenceNumber: 0n,
  lastUpdatedMs: nowMs,
  lastColumnId: 0,
  schemas: [],
  currentSchemaId: -1,
  partitionSpecs: [{ specId: 0, fields: [] }],
  defaultSpecId: 0,
  lastPartitionId: 999, // partition field ids begin at 1000
  // Nobody but the catalog may delete files: other branches may need them. Iceberg's tools obey `gc.enabled`.
  properties: { "gc.enabled": "false", "write.format.default": "parquet" },
  currentSnapshotId: null,
  snapshots: [],
  snapshotLog: [],
  metadataLog: [],
  sortOrders: [{ orderId: 0, fields: [] }],
  defaultSortOrderId: 0,
  refs: {},
})

const apply = (state: State, update: MetadataUpdate, context: UpdateContext): undefined => {
  const { metadata } = state
  const set = (change: Partial<TableMetadata>): undefined => {
    state.metadata = { ...state.metadata, ...change }
  }
  const { action } = update
  const refuse = (reason: string): never => {
    throw refused(action, reason)
  }
  switch (action) {
    case "assign-uuid":
      if (!state.isNew && metadata.tableUuid !== update.uuid) refuse(`the table has the uuid ${metadata.tableUuid}`)
      return set({ tableUuid: update.uuid })
    case "upgrade-format-version": {
      const { formatVersion } = update
      // A table of version 1 is made as one of version 2, which every reader of it understands.
      if (formatVersion === metadata.formatVersion || (state.isNew && formatVersion === 1)) return
      if (formatVersion < metadata.formatVersion) {
        refuse(`the table has format version ${metadata.formatVersion}, which cannot be lowered to ${formatVersion}`)
      }
      if (formatVersion !== 3) refuse(`format version ${formatVersion} is not known here; 2 and 3 are`)
      return set({ formatVersion: 3, nextRowId: metadata.nextRowId ?? 0n })
    }
    case "add-schema":
      return addSchema(state, update.schema, update.lastColumnId ?? 0, refuse)
    case "set-current-schema": {
      const schemaId = update.schemaId === -1 ? state.lastSchema : update.schemaId
      if (schemaId === null) return refuse("no schema was added before")
      const wanted = metadata.schemas.find((schema) => schema.schemaId === schemaId)
      if (wanted === undefined) return refuse(`there is no schema ${schemaId}`)
      const current = metadata.schemas.find((schema) => schema.schemaId === metadata.currentSchemaId)
      // Back to a narrower type: files may hold values that no longer fit.
      if (current !== undefined) checkTypes(current, wanted, refuse)
      return set({ currentSchemaId: schemaId })
    }
    case "add-spec":
      return addSpec(state, update.spec, refuse)
    case "set-default-spec": {
      const specId = update.specId === -1 ? state.lastSpec : update.specId
      if (specId === null) return refuse("no partition spec was added before")
      if (!metadata.partitionSpecs.some((spec) => spec.specId === specId))
        refuse(`there is no partition spec ${specId}`)
      return set({ defaultSpecId: specId })
    }
    case "add-sort-order":
      return addSortOrder(state, update.sortOrder, refuse)
    case "set-default-sort-order": {
      const orderId = update.sortOrderId === -1 ? state.lastOrder : update.sortOrderId
      if (orderId === null) return refuse("no sort order was added before")
      if (!metadata.sortOrders.some((order) => order.orderId === orderId)) refuse(`there is no sort order ${orderId}`)
      return set({ defaultSortOrderId: orderId })
    }
    case "add-snapshot": {
      const { snapshot } = update
      if (metadata.snapshots.some(({ snapshotId }) => snapshotId === snapshot.snapshotId)) {
        refuse(`snapshot ${snapshot.snapshotId} exists already`)
      }
      if (snapshot.sequenceNumber <= metadata.lastSequenceNumber && snapshot.parentSnapshotId !== null) {
        refuse(
          `its sequence number ${snapshot.sequenceNumber} is not above the table's last one, ${metadata.lastSequenceNumber}`,
        )
      }
      if (!metadata.schemas.some((schema) => schema.schemaId === snapshot.schemaId)) {
        refuse(`there is no schema ${snapshot.schemaId}`)
      }
      const nextRowId = metadata.nextRowId ?? 0n
      if (metadata.formatVersion === 3) {
        const { addedRows, firstRowId } = snapshot
        if (firstRowId === undefined || addedRows === undefined)
          return refuse("it lacks first-row-id or added-rows (v3)")
        if (firstRowId < nextRowId) refuse(`its first-row-id ${firstRowId} is below the table's next, ${nextRowId}`)
        set({ nextRowId: firstRowId + addedRows })
      }
      return set({
        lastUpdatedMs: Math.max(metadata.lastUpdatedMs, snapshot.timestampMs),
        snapshots: [...metadata.snapshots, snapshot],
        ...(snapshot.sequenceNumber > metadata.lastSequenceNumber
          ? { lastSequenceNumber: snapshot.sequenceNumber }
          : {}),
      })
    }
    case "set-snapshot-ref": {
      const { action: _, refName, ...ref } = update
      const snapshot = metadata.snapshots.find(({ snapshotId }) => snapshotId === ref.snapshotId)
      if (snapshot === undefined) return refuse(`there is no snapshot ${ref.snapshotId}`)
      if (refName === "main" && ref.type !== "branch") refuse("main is a branch")
      set({ refs: { ...metadata.refs, [refName]: { ...metadata.refs[refName], ...ref } } })
      if (refName !== "main" || metadata.currentSnapshotId === ref.snapshotId) return
      return set({
        currentSnapshotId: ref.snapshotId,
        snapshotLog: [
          ...metadata.snapshotLog,
          { snapshotId: ref.snapshotId, timestampMs: Math.max(context.nowMs, snapshot.timestampMs) },
        ],
      })
    }
    case "remove-snapshots": {
      const gone = new Set(update.snapshotIds)
      if (metadata.currentSnapshotId !== null && gone.has(metadata.currentSnapshotId)) {
        refuse(`snapshot ${metadata.currentSnapshotId} is the current one`)
      }
      const kept = metadata.snapshotLog
      // History before a removed snapshot would have a hole: the spec lets it begin behind it.
      const lastGone = kept.findLastIndex(({ snapshotId }) => gone.has(snapshotId))
      return set({
        snapshots: metadata.snapshots.filter(({ snapshotId }) => !gone.has(snapshotId)),
        snapshotLog: kept.slice(lastGone + 1),
        refs: Object.fromEntries(Object.entries(metadata.refs).filter(([, ref]) => !gone.has(ref.snapshotId))),
        ...withoutStatistics(metadata, gone),
      })
    }
    case "remove-snapshot-ref": {
      if (update.refName === "main") {
        return set({ currentSnapshotId: null, snapshotLog: [], refs: without(metadata.refs, ["main"]) })
      }
      return set({ refs: without(metadata.refs, [update.refName]) })
    }
    case "set-location":
      return set({ location: update.location.replace(/\/+$/, "") })
    case "set-properties":
      return set({ properties: { ...metadata.properties, ...update.updates } })
    case "remove-properties":
      return set({ properties: without(metadata.properties, update.removals) })
    case "set-statistics":
      return set({ statistics: [...others(metadata.statistics, snapshotOf(update.statistics)), update.statistics] })
    case "remove-statistics":
      return set({ statistics: others(metadata.statistics, update.snapshotId) })
    case "set-partition-statistics":
      return set({
        partitionStatistics: [
          ...others(metadata.partitionStatistics, snapshotOf(update.partitionStatistics)),
          update.partitionStatistics,
        ],
      })
    case "remove-partition-statistics":
      return set({ partitionStatistics: others(metadata.partitionStatistics, update.snapshotId) })
    case "remove-partition-specs": {
      if (update.specIds.includes(metadata.defaultSpecId)) refuse("the default partition spec stays")
      return set({ partitionSpecs: metadata.partitionSpecs.filter(({ specId }) => !update.specIds.includes(specId)) })
    }
    case "remove-schemas": {
      if (update.schemaIds.includes(metadata.currentSchemaId)) refuse("the current schema stays")
      const reader = metadata.snapshots.find(({ schemaId }) => update.schemaIds.includes(schemaId))
      if (reader !== undefined) refuse(`snapshot ${reader.snapshotId} is read with schema ${reader.schemaId}`)
      return set({ schemas: metadata.schemas.filter(({ schemaId }) => !update.schemaIds.includes(schemaId)) })
    }
    default:
      return refuse("it is not known here")
  }
}

const without = <A>(record: Readonly<Record<string, A>>, keys: ReadonlyArray<string>): Readonly<Record<string, A>> =>
  Object.fromEntries(Object.entries(record).filter(([key]) => !keys.includes(key)))

const snapshotOf = (statistics: unknown): bigint | null => {
  const id = (statistics as { readonly "snapshot-id"?: number | bigint } | null)?.["snapshot-id"]
  return id === undefined ? null : BigInt(id)
}
const others = (list: ReadonlyArray<unknown> | undefined, snapshotId: bigint | null): ReadonlyArray<unknown> =>
  (list ?? []).filter((each) => snapshotOf(each) !== snapshotId)
const withoutStatistics = (metadata: TableMetadata, gone: ReadonlySet<bigint>) => {
  const kept = (list: ReadonlyArray<unknown> | undefined) =>
    list?.filter((each) => {
      const id = snapshotOf(each)
      return id === null || !gone.has(id)
    })
  const [statistics, partitionStatistics] = [kept(metadata.statistics), kept(metadata.partitionStatistics)]
  return {
    ...(statistics === undefined ? {} : { statistics }),
    ...(partitionStatistics === undefined ? {} : { partitionStatistics }),
  }
}
