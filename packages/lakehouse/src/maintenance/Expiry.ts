import { Clock, Effect } from "effect"
import { IcebergTable } from "../iceberg/IcebergTable.ts"
import type { MetadataUpdate } from "../iceberg/MetadataUpdate.ts"
import type { TableMetadata } from "../iceberg/TableMetadata.ts"
import { type ExpirySettings, planExpiry, planUnusedDefinitions } from "./SnapshotExpiry.ts"
import type { TableHead } from "./TableHead.ts"

const maxTries = 10
const readsAtOnce = 8

/** Schemas and partition specs that the files of the remaining snapshots were written with; null: it cannot be told. */
const usedDefinitions = Effect.fnUntraced(function* (metadata: TableMetadata, gone: ReadonlySet<bigint>) {
  const tables = yield* IcebergTable
  const remaining = metadata.snapshots.filter(({ snapshotId }) => !gone.has(snapshotId))
  const lines = (yield* Effect.forEach(remaining, ({ snapshotId }) => tables.manifests(metadata, snapshotId), {
    concurrency: readsAtOnce,
  })).flat()
  const distinct = [...new Map(lines.map((line) => [line.path, line])).values()]
  const specIds = new Set(distinct.map((line) => line.partitionSpecId))
  const schemaIds = new Set<number>()
  if (metadata.schemas.length > 1) {
    const entries = yield* Effect.forEach(
      distinct.filter((line) => line.content === "data"),
      (line) => tables.readManifest(metadata, line),
      { concurrency: readsAtOnce },
    )
    for (const { file } of entries.flat()) {
      // Files of others are read by any schema that their columns may be of.
      if (file.content !== "data" || file.schemaId === undefined) return null
      schemaIds.add(file.schemaId)
    }
  }
  return { schemaIds, specIds }
})

/** What would be taken out of the table's metadata now. */
export const planExpiryOf = Effect.fn("Expiry.planExpiryOf")(function* (
  metadata: TableMetadata,
  settings: Omit<ExpirySettings, "nowMs">,
) {
  const plan = planExpiry(metadata, { ...settings, nowMs: yield* Clock.currentTimeMillis })
  let unused: ReadonlyArray<MetadataUpdate> = []
  if (metadata.schemas.length > 1 || metadata.partitionSpecs.length > 1) {
    const used = yield* usedDefinitions(metadata, new Set(plan.snapshotIds))
    if (used !== null) {
      const gone = new Set(plan.snapshotIds)
      const rest = { ...metadata, snapshots: metadata.snapshots.filter(({ snapshotId }) => !gone.has(snapshotId)) }
      unused = planUnusedDefinitions(rest, used)
    }
  }
  return { ...plan, updates: [...plan.updates, ...unused] }
})

/**
 * Drops old snapshots, refs, schemas and partition specs from the metadata of a table's newest version. No file is touched: older
 * versions and branches of the catalog may need them; what nothing needs any more goes by `OrphanSweep`. Answers with how many
 * snapshots went and whether anything was committed.
 */
export const expireSnapshots = Effect.fn("Expiry.expireSnapshots")(function* <HE>(options: {
  readonly head: TableHead<HE>
  readonly id: string
  readonly settings: Omit<ExpirySettings, "nowMs">
}) {
  const tables = yield* IcebergTable
  for (let attempt = 0; attempt < maxTries; attempt++) {
    const location = yield* options.head.current
    if (location === null) return { snapshots: 0, changed: false, skipped: false }
    const metadata = yield* tables.load(location)
    const plan = yield* planExpiryOf(metadata, options.settings)
    if (plan.updates.length === 0) return { snapshots: 0, changed: false, skipped: false }
    const made = yield* tables.commit({
      base: { metadataLocation: location, metadata },
      location: metadata.location,
      runId: `${options.id}-x`,
      updates: plan.updates,
      snapshot: null,
    })
    if (yield* options.head.move(location, made, "Expiry of snapshots")) {
      return { snapshots: plan.snapshotIds.length, changed: true, skipped: false }
    }
  }
  return { snapshots: 0, changed: false, skipped: true }
})
