import { randomUUID } from "node:crypto"
import type {
  ManifestFile,
  MetadataUpdate,
  Snapshot,
  TableMetadata,
} from "@rat/lakehouse"
import { encodeManifest, encodeManifestList, IcebergTable, ObjectStore, partitionFields, specOf, totalsOfSummary } from "@rat/lakehouse"
import { Effect } from "effect"
import { refuse } from "./RestFailure.ts"
import type { Unmet } from "./Requirement.ts"

/** A commit that does nothing but add rows to `main` of the table. */
export interface AppendCommit {
  readonly snapshot: Snapshot
  /** What the commit says besides: properties. */
  readonly others: ReadonlyArray<MetadataUpdate>
}

const alongside = new Set(["set-properties", "remove-properties"])

/**
 * The one append that a commit consists of; null for everything else. Only an append means the same whatever happened to
 * the table meanwhile.
 */
export const appendOf = (updates: ReadonlyArray<MetadataUpdate>): AppendCommit | null => {
  const added = updates.filter((update) => update.action === "add-snapshot")
  const refs = updates.filter((update) => update.action === "set-snapshot-ref")
  const others = updates.filter(({ action }) => action !== "add-snapshot" && action !== "set-snapshot-ref")
  const [snapshot] = added
  const [ref] = refs
  return added.length === 1 &&
    refs.length === 1 &&
    snapshot?.snapshot.summary.operation === "append" &&
    ref?.refName === "main" &&
    ref.type === "branch" &&
    ref.snapshotId === snapshot.snapshot.snapshotId &&
    others.every(({ action }) => alongside.has(action))
    ? { snapshot: snapshot.snapshot, others }
    : null
}

/** Whether nothing but the age of the client's view stands against a commit. */
export const isOnlyStale = (unmet: ReadonlyArray<Unmet>): boolean =>
  unmet.every(({ requirement }) => requirement.type === "assert-ref-snapshot-id" && requirement.ref === "main")

/** Counts of a summary that speak of the whole table: they have to be made anew on another base. */
const totalNames = [
  ["total-data-files", "added-data-files"],
  ["total-records", "added-records"],
  ["total-files-size", "added-files-size"],
] as const

const rebasedSummary = (summary: Readonly<Record<string, string>>, base: Readonly<Record<string, string>> | null) => {
  const totals = base === null ? null : totalsOfSummary(base)
  const kept = Object.entries(summary).filter(([name]) => !name.startsWith("total-"))
  if (base !== null && totals === null) return Object.fromEntries(kept)
  const carried = Object.entries(base ?? {}).filter(([name]) => name.startsWith("total-"))
  return {
    ...Object.fromEntries(carried),
    ...Object.fromEntries(kept),
    ...Object.fromEntries(
      totalNames.map(([total, added]) => [total, String(Number(base?.[total] ?? 0) + Number(summary[added] ?? 0))]),
    ),
  }
}

/** v3: row ids for the added manifests, from the table's next one on ("Row Lineage", "First Row ID Assignment"). */
const withRowIds = (lines: ReadonlyArray<ManifestFile>, nextRowId: bigint) => {
  let next = nextRowId
  const numbered = lines.map((line): ManifestFile => {
    const firstRowId = next
    next += BigInt(line.addedRows + line.existingRows)
    return { ...line, firstRowId }
  })
  return { numbered, addedRows: next - nextRowId }
}

/**
 * Puts an append onto the table as it is now: the client's own manifests, in a manifest list of ours beside the current ones, under the
 * client's snapshot id. Nothing that the client wrote is written again.
 */
export const makeAppendRebase = Effect.gen(function* () {
  const tables = yield* IcebergTable
  const store = yield* ObjectStore

  const put = (location: string, bytes: Uint8Array) =>
    store.put(store.keyOf(location), bytes).pipe(Effect.catchTag("ObjectExists", Effect.die)) // not asked for

  /** A manifest that merges new files with such of the state before, without the latter: the current manifests have them. */
  const addedOnly = Effect.fnUntraced(function* (metadata: TableMetadata, snapshot: Snapshot, line: ManifestFile) {
    const spec = specOf(metadata, line.partitionSpecId)
    if (spec === undefined) {
      return yield* refuse("BadRequestException", `Manifest ${line.path} is of the partition spec ${line.partitionSpecId}, which the table does not have.`)
    }
    const entries = (yield* tables.readManifest(metadata, line))
      .filter(({ status }) => status === "added")
      .map((entry) => ({ ...entry, snapshotId: snapshot.snapshotId, sequenceNumber: null, fileSequenceNumber: null }))
    const schema = metadata.schemas.find(({ schemaId }) => schemaId === metadata.currentSchemaId)!
    const bytes = encodeManifest({
      schema,
      spec,
      partitionFields: partitionFields(spec, metadata.schemas, metadata.currentSchemaId),
      formatVersion: metadata.formatVersion,
      content: "data",
      entries,
    })
    const path = `${metadata.location}/metadata/${randomUUID()}-m0.avro`
    yield* put(path, bytes)
    return {
      ...line,
      path,
      lengthBytes: bytes.byteLength,
      addedFiles: entries.length,
      addedRows: entries.reduce((sum, { file }) => sum + file.recordCount, 0),
      existingFiles: 0,
      existingRows: 0,
    }
  })

  return Effect.fn("AppendRebase.rebase")(function* (
    metadata: TableMetadata,
    { snapshot, others }: AppendCommit,
    nowMs: number,
  ) {
    const wanted = { ...metadata, snapshots: [{ ...snapshot, schemaId: metadata.currentSchemaId, parentSnapshotId: null }] }
    const lines = yield* tables.manifests(wanted as TableMetadata, snapshot.snapshotId)
    const sequenceNumber = metadata.lastSequenceNumber + 1n
    const added = yield* Effect.forEach(
      lines.filter((line) => line.addedSnapshotId === snapshot.snapshotId),
      (line) =>
        Effect.map(line.existingFiles === 0 ? Effect.succeed(line) : addedOnly(metadata, snapshot, line), (own) => ({
          ...own,
          sequenceNumber,
          minSequenceNumber: sequenceNumber,
        })),
    )
    const current = metadata.snapshots.find(({ snapshotId }) => snapshotId === metadata.currentSnapshotId)
    const currentLines = yield* tables.manifests(metadata)
    const lineage = metadata.formatVersion === 3 ? withRowIds(added, metadata.nextRowId ?? 0n) : null
    const manifests = [...(lineage?.numbered ?? added), ...currentLines]
    const manifestList = `${metadata.location}/metadata/snap-${snapshot.snapshotId}-${sequenceNumber}-${randomUUID()}.avro`
    yield* put(
      manifestList,
      encodeManifestList({
        snapshotId: snapshot.snapshotId,
        parentSnapshotId: metadata.currentSnapshotId,
        sequenceNumber,
        formatVersion: metadata.formatVersion,
        manifests,
      }),
    )
    const updates: ReadonlyArray<MetadataUpdate> = [
      ...others,
      {
        action: "add-snapshot",
        snapshot: {
          snapshotId: snapshot.snapshotId,
          parentSnapshotId: metadata.currentSnapshotId,
          sequenceNumber,
          timestampMs: Math.max(nowMs, metadata.lastUpdatedMs),
          manifestList,
          summary: rebasedSummary(snapshot.summary, current?.summary ?? null),
          schemaId: snapshot.schemaId === -1 ? metadata.currentSchemaId : snapshot.schemaId,
          ...(lineage === null ? {} : { firstRowId: metadata.nextRowId ?? 0n, addedRows: lineage.addedRows }),
        },
      },
      { action: "set-snapshot-ref", refName: "main", snapshotId: snapshot.snapshotId, type: "branch" },
    ]
    return updates
  })
})
