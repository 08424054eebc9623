import type { MetadataUpdate } from "../iceberg/MetadataUpdate.ts"
import type { Snapshot, SnapshotRef, TableMetadata } from "../iceberg/TableMetadata.ts"

export interface ExpirySettings {
  readonly nowMs: number
  /** Snapshots that are older go, unless something below keeps them. */
  readonly maxAgeMs: number
  /** Newest snapshots of each of the table's own branches that stay whatever their age. */
  readonly minSnapshots: number
}

export interface ExpiryPlan {
  readonly snapshotIds: ReadonlyArray<bigint>
  readonly refs: ReadonlyArray<string>
  /** For `IcebergTable.commit`, without a snapshot; empty when nothing is to go. */
  readonly updates: ReadonlyArray<MetadataUpdate>
}

/** A chain of parents, the newest first, as far as the file knows them. */
const ancestors = (byId: ReadonlyMap<bigint, Snapshot>, head: bigint): ReadonlyArray<Snapshot> => {
  const chain: Array<Snapshot> = []
  const seen = new Set<bigint>()
  for (let id: bigint | null = head; id !== null && !seen.has(id); ) {
    seen.add(id)
    const snapshot = byId.get(id)
    if (snapshot === undefined) break
    chain.push(snapshot)
    id = snapshot.parentSnapshotId
  }
  return chain
}

const positive = (text: string | undefined): number | undefined => {
  const number = Number(text)
  return text !== undefined && Number.isFinite(number) && number > 0 ? number : undefined
}

/**
 * What `expire` takes out of a metadata file (Iceberg spec, "Snapshot Retention Policy"): each ref's own settings, then the
 * table's properties, then ours. Refs other than main go when they are older than their own `max-ref-age-ms`. Snapshots on no
 * ref any more stay while they are young: somebody may be reading or about to roll back. Branches of the catalog have
 * metadata files of their own and are not concerned. Files are not touched; `Reachability` finds what nothing needs any more.
 */
export const planExpiry = (metadata: TableMetadata, settings: ExpirySettings): ExpiryPlan => {
  const { nowMs } = settings
  const byId = new Map(metadata.snapshots.map((snapshot) => [snapshot.snapshotId, snapshot]))
  const { properties } = metadata
  const tableMaxAge = positive(properties["history.expire.max-snapshot-age-ms"]) ?? settings.maxAgeMs
  const tableMinimum = positive(properties["history.expire.min-snapshots-to-keep"]) ?? settings.minSnapshots
  const tableRefAge = positive(properties["history.expire.max-ref-age-ms"])

  const isRefTooOld = (name: string, ref: SnapshotRef) => {
    const maxAge = ref.maxRefAgeMs ?? tableRefAge
    const head = byId.get(ref.snapshotId)
    return name !== "main" && maxAge !== undefined && head !== undefined && nowMs - head.timestampMs > maxAge
  }
  const refs = Object.entries(metadata.refs)
  const gone = refs.filter(([name, ref]) => isRefTooOld(name, ref)).map(([name]) => name)

  const kept = new Set<bigint>()
  const onRefs = new Set<bigint>()
  if (metadata.currentSnapshotId !== null) kept.add(metadata.currentSnapshotId)
  // Files of old writers have no refs: then the current snapshot is main's.
  const branches: ReadonlyArray<readonly [string, SnapshotRef]> =
    metadata.refs.main === undefined && metadata.currentSnapshotId !== null
      ? [...refs, ["main", { snapshotId: metadata.currentSnapshotId, type: "branch" }]]
      : refs
  for (const [name, ref] of branches) {
    if (gone.includes(name)) continue
    kept.add(ref.snapshotId)
    onRefs.add(ref.snapshotId)
    if (ref.type === "tag") continue
    const minimum = ref.minSnapshotsToKeep ?? tableMinimum
    const maxAge = ref.maxSnapshotAgeMs ?? tableMaxAge
    ancestors(byId, ref.snapshotId).forEach((snapshot, index) => {
      onRefs.add(snapshot.snapshotId)
      if (index < minimum || nowMs - snapshot.timestampMs <= maxAge) kept.add(snapshot.snapshotId)
    })
  }
  for (const snapshot of metadata.snapshots) {
    if (!onRefs.has(snapshot.snapshotId) && nowMs - snapshot.timestampMs <= tableMaxAge) kept.add(snapshot.snapshotId)
  }
  const snapshotIds = metadata.snapshots.map(({ snapshotId }) => snapshotId).filter((id) => !kept.has(id))
  const removed = new Set(snapshotIds)

  const withStatistics = (files: ReadonlyArray<unknown> | undefined) =>
    (files ?? []).flatMap((file) => {
      const id = (file as { readonly "snapshot-id"?: bigint | number })["snapshot-id"]
      return id !== undefined && removed.has(BigInt(id)) ? [BigInt(id)] : []
    })
  const updates: ReadonlyArray<MetadataUpdate> = [
    ...gone.map((refName) => ({ action: "remove-snapshot-ref" as const, refName })),
    ...withStatistics(metadata.statistics).map((snapshotId) => ({ action: "remove-statistics" as const, snapshotId })),
    ...withStatistics(metadata.partitionStatistics).map((snapshotId) => ({
      action: "remove-partition-statistics" as const,
      snapshotId,
    })),
    ...(snapshotIds.length === 0 ? [] : [{ action: "remove-snapshots" as const, snapshotIds }]),
  ]
  return { snapshotIds, refs: gone, updates }
}

/**
 * Schemas and partition specs that nothing uses any more. `usedSchemaIds` and `usedSpecIds` are those that live files of the
 * remaining snapshots were written with (`DataFile.schemaId`, manifests' spec): metadata alone does not tell. The highest ids stay
 * in any case: the next one is made from them, and a branch may still come with manifests that name an old one.
 */
export const planUnusedDefinitions = (
  metadata: TableMetadata,
  used: { readonly schemaIds: ReadonlySet<number>; readonly specIds: ReadonlySet<number> },
): ReadonlyArray<MetadataUpdate> => {
  const allSchemas = metadata.schemas.map(({ schemaId }) => schemaId)
  const allSpecs = metadata.partitionSpecs.map(({ specId }) => specId)
  const schemas = new Set([
    ...used.schemaIds,
    metadata.currentSchemaId,
    Math.max(...allSchemas),
    ...metadata.snapshots.map(({ schemaId }) => schemaId),
  ])
  const specs = new Set([...used.specIds, metadata.defaultSpecId, Math.max(...allSpecs)])
  const schemaIds = allSchemas.filter((id) => !schemas.has(id))
  const specIds = allSpecs.filter((id) => !specs.has(id))
  return [
    ...(specIds.length === 0 ? [] : [{ action: "remove-partition-specs" as const, specIds }]),
    ...(schemaIds.length === 0 ? [] : [{ action: "remove-schemas" as const, schemaIds }]),
  ]
}
