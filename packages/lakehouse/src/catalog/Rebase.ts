import { createHash } from "node:crypto"
import { mainRef, type RefName, type RefNotFound, type TableKey } from "@rat/domain"
import { Clock, Context, Effect, Layer, Result, Schema } from "effect"
import type { SqlError } from "effect/sql"
import { applyUpdates } from "../iceberg/ApplyUpdates.ts"
import { nextVersion } from "../iceberg/CommitName.ts"
import { IcebergTable, type TableCommit } from "../iceberg/IcebergTable.ts"
import { printLosslessJson } from "../iceberg/LosslessJson.ts"
import { encodeManifest, type ManifestEntry } from "../iceberg/Manifest.ts"
import { encodeManifestList, hasLiveFiles, type ManifestFile } from "../iceberg/ManifestList.ts"
import { encodeMetadata } from "../iceberg/MetadataJson.ts"
import type { MetadataUpdate } from "../iceberg/MetadataUpdate.ts"
import { partitionFields, specOf } from "../iceberg/PartitionSpec.ts"
import { assignRowIds } from "../iceberg/RowLineage.ts"
import { liveRows, noTotals, plus, type Totals, totalsOfSummary } from "../iceberg/SnapshotSummary.ts"
import type { TableVersion } from "../iceberg/TableChange.ts"
import { TableCorrupt } from "../iceberg/TableCorrupt.ts"
import type { Snapshot, TableMetadata, Schema as TableSchema } from "../iceberg/TableMetadata.ts"
import { type ObjectNotFound, ObjectStore, type StoreUnavailable } from "../store/ObjectStore.ts"
import { Catalog } from "./Catalog.ts"
import { TableTurns } from "./TableTurns.ts"

/** Two versions of a table that cannot be put one upon the other without somebody's decision. Nothing was written. */
export class RebaseConflict extends Schema.TaggedError<RebaseConflict>()("RebaseConflict", {
  location: Schema.String,
  reason: Schema.String,
}) {
  override get message() {
    return `${this.location}: ${this.reason}.`
  }
}

type Failure = RebaseConflict | ObjectNotFound | StoreUnavailable | TableCorrupt

/**
 * Puts appends upon a newer version of their table (Iceberg spec, "Commit Conflict Resolution and Retry": an append is valid
 * whatever rows others added or rewrote). The manifests that the appends made are listed again in manifest lists of ours; no row
 * and no data file is touched, snapshot ids stay.
 *
 * Everything else is a `RebaseConflict`: rows deleted or replaced on either side since both were one, a schema, partitioning, sort
 * order or format changed on our side while theirs moved, snapshots that are gone.
 */
export class Rebase extends Context.Service<
  Rebase,
  {
    /** `ours` upon `theirs`, both of them successors of one version of the table. */
    readonly appends: (ours: TableVersion, theirs: TableVersion) => Effect.Effect<TableCommit, Failure>
    /**
     * The updates that add one append to a table: a snapshot and `main` on it. `wanted.manifestList` may be of any base; what it
     * added itself is what counts.
     */
    readonly append: (
      table: TableMetadata,
      wanted: Snapshot,
    ) => Effect.Effect<ReadonlyArray<MetadataUpdate>, ObjectNotFound | StoreUnavailable | TableCorrupt>
    /**
     * Puts a branch's changes of tables that moved on main meanwhile upon main's versions of them. Nothing of it is visible before
     * the branch is merged. Answers with why it cannot be, table by table; with nothing when the merge may be tried again.
     */
    readonly branch: (
      branch: RefName,
      moved: ReadonlyArray<TableKey>,
      /** Of the attempt whose branch it is: nothing happens where a newer one has taken it. */
      fence?: bigint,
    ) => Effect.Effect<
      ReadonlyArray<{ readonly table: TableKey; readonly reason: string }>,
      RefNotFound | SqlError.SqlError
    >
    /**
     * Work on tables that several in this process want to move: one at a time, in the order of arrival, so that nobody rebases in
     * vain and nobody starves. Against other processes the catalog decides.
     */
    readonly inTurn: <A, E, R>(tables: ReadonlyArray<string>, effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  }
>()("rat/lakehouse/catalog/Rebase") {
  static readonly layer = Layer.effect(
    Rebase,
    Effect.gen(function* () {
      const tables = yield* IcebergTable
      const store = yield* ObjectStore
      const catalog = yield* Catalog
      const turns = new TableTurns()

      const put = (location: string, bytes: Uint8Array) =>
        store.put(store.keyOf(location), bytes).pipe(Effect.catchTag("ObjectExists", Effect.die)) // not asked for

      /** A manifest that holds new files beside old ones, without the latter: the newer version has its own word on them. */
      const addedOnly = Effect.fnUntraced(function* (table: TableMetadata, wanted: Snapshot, line: ManifestFile) {
        const spec = specOf(table, line.partitionSpecId)
        if (spec === undefined) {
          const reason = `it is of partition spec ${line.partitionSpecId}, which the table does not have`
          return yield* new TableCorrupt({ location: line.path, reason })
        }
        const entries = (yield* tables.readManifest(table, line))
          .filter(({ status }) => status === "added")
          .map(
            ({ file, ...entry }): ManifestEntry => ({
              ...entry,
              snapshotId: wanted.snapshotId,
              sequenceNumber: null,
              fileSequenceNumber: null,
              file: withoutRowId(file),
            }),
          )
        const bytes = encodeManifest({
          schema: table.schemas.find(({ schemaId }) => schemaId === table.currentSchemaId)!,
          spec,
          partitionFields: partitionFields(spec, table.schemas, table.currentSchemaId),
          formatVersion: table.formatVersion,
          content: line.content,
          entries,
        })
        const path = `${table.location}/metadata/${digestOf(line.path, wanted.snapshotId)}-added.avro`
        yield* put(path, bytes)
        return {
          ...line,
          path,
          lengthBytes: bytes.length,
          existingFiles: 0,
          existingRows: 0,
          deletedFiles: 0,
          deletedRows: 0,
        }
      })

      const append = Effect.fn("Rebase.append")(function* (table: TableMetadata, wanted: Snapshot) {
        // Only the list counts: a view of the metadata in which the wanted snapshot stands.
        const lines = yield* tables.manifests({ ...table, snapshots: [wanted] }, wanted.snapshotId)
        const sequenceNumber = table.lastSequenceNumber + 1n
        const added = yield* Effect.forEach(
          lines.filter((line) => line.addedSnapshotId === wanted.snapshotId && line.addedFiles > 0),
          (line) =>
            Effect.map(
              line.existingFiles + line.deletedFiles === 0 ? Effect.succeed(line) : addedOnly(table, wanted, line),
              ({ firstRowId: _, ...own }): ManifestFile => ({
                ...own,
                sequenceNumber,
                minSequenceNumber: sequenceNumber,
              }),
            ),
        )
        const current = table.snapshots.find(({ snapshotId }) => snapshotId === table.currentSnapshotId)
        const before = (yield* tables.manifests(table)).filter(hasLiveFiles)
        const lineage = assignRowIds(added, new Map(), table)
        const manifests = [...lineage.lines, ...before]
        const name = digestOf(current?.manifestList ?? table.location, wanted.snapshotId)
        const manifestList = `${table.location}/metadata/snap-${wanted.snapshotId}-${sequenceNumber}-${name}.avro`
        yield* put(
          manifestList,
          encodeManifestList({
            snapshotId: wanted.snapshotId,
            parentSnapshotId: table.currentSnapshotId,
            sequenceNumber,
            formatVersion: table.formatVersion,
            manifests,
          }),
        )
        const snapshot: Snapshot = {
          snapshotId: wanted.snapshotId,
          parentSnapshotId: table.currentSnapshotId,
          sequenceNumber,
          timestampMs: Math.max(yield* Clock.currentTimeMillis, table.lastUpdatedMs),
          manifestList,
          summary: summaryUpon(wanted.summary, current?.summary ?? null),
          schemaId: wanted.schemaId,
          ...lineage.snapshot,
        }
        return [
          { action: "add-snapshot", snapshot },
          { action: "set-snapshot-ref", refName: "main", snapshotId: wanted.snapshotId, type: "branch" },
        ] satisfies ReadonlyArray<MetadataUpdate> as ReadonlyArray<MetadataUpdate>
      })

      const appends = Effect.fn("Rebase.appends")(function* (ours: TableVersion, theirs: TableVersion) {
        const conflict = (reason: string) => new RebaseConflict({ location: ours.metadata.location, reason })
        const wanted = ownAppends(ours.metadata, theirs.metadata)
        if (typeof wanted === "string") return yield* conflict(wanted)
        let version: TableVersion = theirs
        let totals: Totals = noTotals
        const schemas = schemaUpdates(ours.metadata, theirs.metadata, wanted)
        if (typeof schemas === "string") return yield* conflict(schemas)
        for (const snapshot of wanted) {
          const context = {
            nowMs: yield* Clock.currentTimeMillis,
            location: version.metadata.location,
            uuid: version.metadata.tableUuid,
          }
          const prepared = applyUpdates(version.metadata, snapshot === wanted[0] ? schemas.updates : [], context)
          if (Result.isFailure(prepared)) return yield* conflict(prepared.failure.reason)
          // Upon newer columns of theirs it is a snapshot of those.
          const schemaId = schemas.isOurs ? snapshot.schemaId : theirs.metadata.currentSchemaId
          const updates = yield* append(prepared.success, { ...snapshot, schemaId })
          const name = digestOf(version.metadataLocation, snapshot.snapshotId)
          const metadataLocation = `${version.metadata.location}/metadata/${nextVersion(version.metadataLocation)}-${name}.metadata.json`
          const applied = applyUpdates(
            version.metadata,
            [...(snapshot === wanted[0] ? schemas.updates : []), ...updates],
            { ...context, previousLocation: version.metadataLocation },
          )
          if (Result.isFailure(applied)) return yield* conflict(applied.failure.reason)
          yield* put(metadataLocation, encodeMetadata(applied.success))
          version = { metadataLocation, metadata: applied.success }
          totals = totalsOfSummary(applied.success.snapshots.at(-1)!.summary) ?? noTotals
        }
        return {
          ...version,
          snapshotId: version.metadata.currentSnapshotId,
          totals,
          totalRecords: liveRows(totals),
          totalSizeBytes: totals.sizeBytes,
        } satisfies TableCommit as TableCommit
      })

      const rebaseTable = Effect.fnUntraced(function* (branch: RefName, key: TableKey, fence: bigint | undefined) {
        const [ours, theirs] = yield* Effect.all([catalog.table(branch, key), catalog.table(mainRef, key)])
        if (ours === null || theirs === null) {
          return yield* new RebaseConflict({ location: key.toString(), reason: "the table was dropped on one side" })
        }
        const load = (metadataLocation: string) =>
          Effect.map(tables.load(metadataLocation), (metadata): TableVersion => ({ metadataLocation, metadata }))
        const made = yield* appends(yield* load(ours.metadataLocation), yield* load(theirs.metadataLocation))
        yield* catalog.rebase(branch, {
          key,
          expected: ours.metadataLocation,
          onto: theirs.metadataLocation,
          next: {
            metadataLocation: made.metadataLocation,
            snapshotId: made.snapshotId?.toString() ?? null,
            rowCount: made.totalRecords,
            sizeBytes: made.totalSizeBytes,
          },
          ...(fence === undefined ? {} : { fence }),
        })
      })

      const branch: Rebase["Service"]["branch"] = Effect.fn("Rebase.branch")(function* (name, moved, fence) {
        const reasons: Array<{ readonly table: TableKey; readonly reason: string }> = []
        for (const table of moved) {
          const told = (reason: string) => Effect.sync(() => void reasons.push({ table, reason }))
          yield* rebaseTable(name, table, fence).pipe(
            Effect.catchTags({
              RebaseConflict: ({ reason }) => told(reason),
              TableCorrupt: ({ message }) => told(message),
              ObjectNotFound: ({ message }) => told(message),
              StoreUnavailable: ({ message }) => told(message),
            }),
          )
        }
        return reasons
      })

      return Rebase.of({ append, appends, branch, inTurn: (keys, effect) => turns.holding(keys, effect) })
    }),
  )
}

const withoutRowId = (file: ManifestEntry["file"]): ManifestEntry["file"] => {
  const { sequenceNumber: _, ...rest } = file
  if (rest.content !== "data") return rest
  const { firstRowId: __, ...data } = rest
  return data
}

const digestOf = (location: string, snapshotId: bigint): string =>
  createHash("sha256").update(`${location} ${snapshotId}`).digest("hex").slice(0, 16)

const addedKeys = {
  dataFiles: "added-data-files",
  records: "added-records",
  deleteFiles: "added-delete-files",
  positionDeletes: "added-position-deletes",
  equalityDeletes: "added-equality-deletes",
  sizeBytes: "added-files-size",
} as const

/** A summary whose totals are those of another base plus what the snapshot added. */
const summaryUpon = (summary: Snapshot["summary"], base: Snapshot["summary"] | null): Snapshot["summary"] => {
  const own = Object.fromEntries(Object.entries(summary).filter(([key]) => !key.startsWith("total-")))
  const before = base === null ? noTotals : totalsOfSummary(base)
  if (before === null) return own
  const added = Object.fromEntries(
    Object.entries(addedKeys).map(([key, name]) => [key, Number(summary[name] ?? 0)]),
  ) as unknown as Totals
  const totals = plus(before, added)
  return {
    ...own,
    "total-data-files": String(totals.dataFiles),
    "total-records": String(totals.records),
    "total-delete-files": String(totals.deleteFiles),
    "total-position-deletes": String(totals.positionDeletes),
    "total-equality-deletes": String(totals.equalityDeletes),
    "total-files-size": String(totals.sizeBytes),
  }
}

/** Our snapshots since both versions were one, oldest first; or why they cannot be put upon theirs. */
const ownAppends = (ours: TableMetadata, theirs: TableMetadata): ReadonlyArray<Snapshot> | string => {
  if (ours.tableUuid !== theirs.tableUuid) return "the table was made on both sides"
  if (ours.formatVersion !== theirs.formatVersion) return "its format version changed"
  const known = new Map(theirs.snapshots.map((snapshot) => [snapshot.snapshotId, snapshot]))
  const own: Array<Snapshot> = []
  let at: bigint | null = ours.currentSnapshotId
  while (at !== null && !known.has(at)) {
    const snapshot: Snapshot | undefined = ours.snapshots.find(({ snapshotId }) => snapshotId === at)
    if (snapshot === undefined) return "its history since then is gone"
    own.unshift(snapshot)
    at = snapshot.parentSnapshotId
  }
  if (own.length === 0) return "one side went back to an older snapshot"
  // What both sides had last before they parted is what ours must stand on: going back is a change of its own.
  const both = ours.snapshotLog.findLast((entry) =>
    theirs.snapshotLog.some(
      ({ snapshotId, timestampMs }) => snapshotId === entry.snapshotId && timestampMs === entry.timestampMs,
    ),
  )
  if (both !== undefined && both.snapshotId !== at) return "this side went back to an older snapshot"
  const notAppended = own.find(({ summary }) => summary.operation !== "append")
  if (notAppended !== undefined) return `this side changed rows that were there (${notAppended.summary.operation})`
  // What theirs did since: rows that are added, or only written anew, do not matter to an append.
  let step: bigint | null = theirs.currentSnapshotId
  while (step !== at) {
    const snapshot: Snapshot | undefined = step === null ? undefined : known.get(step)
    if (snapshot === undefined) return "the other side went back to an older snapshot"
    if (snapshot.summary.operation !== "append" && snapshot.summary.operation !== "replace") {
      return `the other side changed rows that were there (${snapshot.summary.operation})`
    }
    step = snapshot.parentSnapshotId
  }
  return layoutConflict(ours, theirs) ?? own
}

const layoutConflict = (ours: TableMetadata, theirs: TableMetadata): string | null => {
  const text = (value: unknown) => printLosslessJson(value)
  const fields = (metadata: TableMetadata) =>
    metadata.schemas.find(({ schemaId }) => schemaId === metadata.currentSchemaId)
  const [own, other] = [fields(ours), fields(theirs)]
  const isNewHere = !theirs.schemas.some((schema) => text(schema.fields) === text(own?.fields))
  const isNewThere = !ours.schemas.some((schema) => text(schema.fields) === text(other?.fields))
  if (isNewHere && isNewThere) {
    const added = (one: typeof own, two: typeof own) =>
      one?.fields.flatMap(({ id, name }) =>
        two?.fields.some((field) => field.id === id && field.name === name) ? [] : [`"${name}"`],
      ) ?? []
    return `columns changed on both sides (here ${added(own, other).join(", ") || "others"}, there ${added(other, own).join(", ") || "others"})`
  }
  const sameSpecs = ours.partitionSpecs.every((spec) =>
    theirs.partitionSpecs.some(
      ({ fields: there, specId }) => specId === spec.specId && text(there) === text(spec.fields),
    ),
  )
  if (!sameSpecs || ours.defaultSpecId !== theirs.defaultSpecId) return "its partitioning changed"
  const sameOrders = ours.sortOrders.every((order) =>
    theirs.sortOrders.some(
      ({ fields: there, orderId }) => orderId === order.orderId && text(there) === text(order.fields),
    ),
  )
  return sameOrders ? null : "its sort order changed"
}

/**
 * Schemas of ours that theirs lacks. Manifests name the schema of their files by its id, so it must be the same upon theirs; text
 * says that it cannot.
 */
const schemaUpdates = (ours: TableMetadata, theirs: TableMetadata, own: ReadonlyArray<Snapshot>) => {
  const text = (fields: TableSchema["fields"]) => printLosslessJson(fields)
  const updates: Array<MetadataUpdate> = []
  let next = Math.max(...theirs.schemas.map(({ schemaId }) => schemaId)) + 1
  const used = new Set([...own.map(({ schemaId }) => schemaId), ours.currentSchemaId])
  for (const schemaId of [...used].sort((left, right) => left - right)) {
    const schema = ours.schemas.find((candidate) => candidate.schemaId === schemaId)
    if (schema === undefined) return `schema ${schemaId} of its files is gone`
    const there = theirs.schemas.find((candidate) => candidate.schemaId === schemaId)
    if (there !== undefined && text(there.fields) === text(schema.fields)) continue
    const isNew = theirs.schemas.every((candidate) => text(candidate.fields) !== text(schema.fields))
    if (there !== undefined || schemaId !== next || !isNew) return "columns changed on both sides"
    updates.push({ action: "add-schema", schema })
    next++
  }
  const current = ours.schemas.find(({ schemaId }) => schemaId === ours.currentSchemaId)!
  const isOurs = theirs.schemas
    .filter(({ schemaId }) => schemaId === theirs.currentSchemaId)
    .every(({ fields }) => ours.schemas.some((schema) => text(schema.fields) === text(fields)))
  if (isOurs && theirs.currentSchemaId !== current.schemaId) {
    updates.push({ action: "set-current-schema", schemaId: current.schemaId })
  }
  return { updates, isOurs }
}
