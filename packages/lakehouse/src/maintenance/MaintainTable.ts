import {
  type MaintenancePolicy,
  type MaintenancePolicyPart,
  mainRef,
  maintenancePolicyOf,
  OperationReport,
  type TableKey,
  type TableOperation,
  TableReport,
  TableSize,
  tableOperations,
} from "@rat/domain"
import { Clock, Effect } from "effect"
import { Catalog } from "../catalog/Catalog.ts"
import { IcebergTable } from "../iceberg/IcebergTable.ts"
import { hasLiveFiles } from "../iceberg/ManifestList.ts"
import { totalsOf } from "../iceberg/SnapshotSummary.ts"
import type { TableMetadata } from "../iceberg/TableMetadata.ts"
import type { Engine } from "../write/Engine.ts"
import { compact, planTable } from "./Compaction.ts"
import { type CompactionSettings, defaultCompaction } from "./CompactionPlan.ts"
import { expireSnapshots, planExpiryOf } from "./Expiry.ts"
import { planManifests, rewriteManifests } from "./ManifestRewrite.ts"
import { pipelinePolicy } from "./PipelinePolicy.ts"
import { catalogHead } from "./TableHead.ts"

const hourMs = 3_600_000

const compactionOf = (policy: MaintenancePolicy, maxGroupBytes: number): CompactionSettings => ({
  targetFileBytes: policy.target_file_bytes,
  minInputFiles: policy.min_input_files,
  deleteFileThreshold: policy.delete_file_threshold,
  deleteRatio: policy.delete_ratio,
  sort: policy.sort,
  maxGroupBytes: Math.max(policy.target_file_bytes, maxGroupBytes),
})

const expiryOf = (policy: MaintenancePolicy) => ({
  maxAgeMs: policy.snapshot_max_age_hours * hourMs,
  minSnapshots: policy.min_snapshots,
})

/** The live files of a table's newest version. */
const measure = Effect.fnUntraced(function* (metadata: TableMetadata) {
  const tables = yield* IcebergTable
  const lines = yield* tables.manifests(metadata)
  const { data, deletes } = yield* tables.files(metadata)
  const totals = totalsOf([...data, ...deletes])
  return new TableSize({
    data_files: totals.dataFiles,
    delete_files: totals.deleteFiles,
    rows: totals.records,
    size_bytes: totals.sizeBytes,
    manifests: lines.filter(hasLiveFiles).length,
    snapshots: metadata.snapshots.length,
  })
})

const nothingDone = {
  groups: 0,
  skipped: 0,
  files_before: 0,
  files_after: 0,
  bytes_before: 0,
  bytes_after: 0,
  snapshots_removed: 0,
  notes: [] as ReadonlyArray<string>,
}
const othersWereFaster = "Other writers changed these files meanwhile; the next run takes them."

export interface Maintain<EE, ER> {
  /** Names the files that are written. */
  readonly id: string
  readonly key: TableKey
  readonly operations: ReadonlyArray<TableOperation>
  readonly defaults: MaintenancePolicy
  readonly overrides: MaintenancePolicyPart | null
  readonly isManual: boolean
  readonly dryRun: boolean
  /** Most bytes of files that one statement reads. */
  readonly maxGroupBytes?: number
  /** Acquired for each group of files that is rewritten. */
  readonly engine: Effect.Effect<Engine["Service"], EE, ER>
}

/** Looks after one table of main. Answers null when there is no such table. */
export const maintainTable = Effect.fn("MaintainTable.maintainTable")(function* <EE, ER>(wish: Maintain<EE, ER>) {
  const catalog = yield* Catalog
  const tables = yield* IcebergTable
  const { id, key } = wish
  const head = catalogHead(catalog, mainRef, key, id)
  const location = yield* head.current
  if (location === null) return null
  const metadata = yield* tables.load(location)
  const policy = maintenancePolicyOf(wish.defaults, pipelinePolicy(metadata), wish.overrides)
  const before = yield* measure(metadata)
  const compaction = compactionOf(policy, wish.maxGroupBytes ?? defaultCompaction.maxGroupBytes)
  const expiry = expiryOf(policy)
  const isOff = !wish.isManual && !policy.enabled
  const operations = isOff ? [] : tableOperations.filter((operation) => wish.operations.includes(operation))

  const perform = Effect.fnUntraced(function* (operation: TableOperation) {
    switch (operation) {
      case "compact": {
        const done = yield* compact({ head, id, settings: compaction, engine: wish.engine })
        return new OperationReport({
          ...nothingDone,
          operation,
          groups: done.groups,
          skipped: done.skipped,
          files_before: done.filesBefore,
          files_after: done.filesAfter,
          bytes_before: done.bytesBefore,
          bytes_after: done.bytesAfter,
          notes: done.skipped > 0 ? [othersWereFaster] : [],
        })
      }
      case "manifests": {
        const done = yield* rewriteManifests({ head, id, minManifests: policy.min_manifests })
        return new OperationReport({
          ...nothingDone,
          operation,
          groups: done.changed ? 1 : 0,
          skipped: done.skipped ? 1 : 0,
          files_before: done.before,
          files_after: done.after,
          notes: done.skipped ? [othersWereFaster] : [],
        })
      }
      case "expire": {
        const done = yield* expireSnapshots({ head, id, settings: expiry })
        return new OperationReport({
          ...nothingDone,
          operation,
          groups: done.changed ? 1 : 0,
          skipped: done.skipped ? 1 : 0,
          snapshots_removed: done.snapshots,
          notes: done.skipped ? [othersWereFaster] : [],
        })
      }
    }
  })

  const foresee = Effect.fnUntraced(function* (operation: TableOperation) {
    switch (operation) {
      case "compact": {
        const { dangling, groups } = yield* planTable(location, compaction)
        const read = totalsOf([...groups.flatMap((group) => [...group.files, ...group.deletes]), ...dangling])
        return new OperationReport({
          ...nothingDone,
          operation,
          groups: groups.length + (dangling.length > 0 ? 1 : 0),
          files_before: read.dataFiles + read.deleteFiles,
          bytes_before: read.sizeBytes,
        })
      }
      case "manifests": {
        const lines = planManifests(yield* tables.manifests(metadata), metadata.properties, policy.min_manifests)
        return new OperationReport({
          ...nothingDone,
          operation,
          groups: lines.length > 0 ? 1 : 0,
          files_before: lines.length,
          bytes_before: lines.reduce((sum, line) => sum + line.lengthBytes, 0),
        })
      }
      case "expire": {
        const plan = yield* planExpiryOf(metadata, expiry)
        return new OperationReport({
          ...nothingDone,
          operation,
          groups: plan.updates.length > 0 ? 1 : 0,
          snapshots_removed: plan.snapshotIds.length,
        })
      }
    }
  })

  const started = yield* Clock.currentTimeMillis
  const done: Array<OperationReport> = []
  for (const operation of operations) done.push(yield* wish.dryRun ? foresee(operation) : perform(operation))
  const newest = wish.dryRun ? null : yield* head.current
  const after = newest === null ? null : yield* Effect.flatMap(tables.load(newest), measure)
  yield* Effect.logDebug("Looked after a table").pipe(
    Effect.annotateLogs({ table: key.toString(), duration_ms: (yield* Clock.currentTimeMillis) - started }),
  )
  return new TableReport({
    namespace: key.namespace,
    layer: key.layer,
    name: key.name,
    policy,
    before,
    after,
    operations: done,
  })
})
