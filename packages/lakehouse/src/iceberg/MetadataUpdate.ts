import type { PartitionSpec, Schema, Snapshot, SnapshotRef, SortOrder } from "./TableMetadata.ts"

/**
 * One change of a table's metadata, as the REST specification names them (`TableUpdate`, `action`). Our own commits are made
 * of the same updates as those that come over the wire, and `applyUpdates` is the only place that carries them out. -1 stands
 * for "the one that was added last in this list".
 */
export type MetadataUpdate =
  | { readonly action: "assign-uuid"; readonly uuid: string }
  | { readonly action: "upgrade-format-version"; readonly formatVersion: number }
  | { readonly action: "add-schema"; readonly schema: Schema; readonly lastColumnId?: number }
  | { readonly action: "set-current-schema"; readonly schemaId: number }
  | { readonly action: "add-spec"; readonly spec: PartitionSpec }
  | { readonly action: "set-default-spec"; readonly specId: number }
  | { readonly action: "add-sort-order"; readonly sortOrder: SortOrder }
  | { readonly action: "set-default-sort-order"; readonly sortOrderId: number }
  | { readonly action: "add-snapshot"; readonly snapshot: Snapshot }
  | ({ readonly action: "set-snapshot-ref"; readonly refName: string } & SnapshotRef)
  | { readonly action: "remove-snapshots"; readonly snapshotIds: ReadonlyArray<bigint> }
  | { readonly action: "remove-snapshot-ref"; readonly refName: string }
  | { readonly action: "set-location"; readonly location: string }
  | { readonly action: "set-properties"; readonly updates: Readonly<Record<string, string>> }
  | { readonly action: "remove-properties"; readonly removals: ReadonlyArray<string> }
  | { readonly action: "set-statistics"; readonly statistics: unknown }
  | { readonly action: "remove-statistics"; readonly snapshotId: bigint }
  | { readonly action: "set-partition-statistics"; readonly partitionStatistics: unknown }
  | { readonly action: "remove-partition-statistics"; readonly snapshotId: bigint }
  | { readonly action: "remove-partition-specs"; readonly specIds: ReadonlyArray<number> }
  | { readonly action: "remove-schemas"; readonly schemaIds: ReadonlyArray<number> }
