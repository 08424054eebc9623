/**
 * A table's metadata file in memory (Iceberg spec v2 and v3, "Table Metadata Fields"; v1 is read as v2); names are the spec's in camelCase.
 * Snapshot ids and sequence numbers are bigints: they do not fit a JavaScript number.
 */
export interface TableMetadata {
  readonly formatVersion: 2 | 3
  readonly tableUuid: string
  /** Absolute location of the table's folder, without a trailing slash. */
  readonly location: string
  readonly lastSequenceNumber: bigint
  readonly lastUpdatedMs: number
  readonly lastColumnId: number
  readonly schemas: ReadonlyArray<Schema>
  readonly currentSchemaId: number
  readonly partitionSpecs: ReadonlyArray<PartitionSpec>
  readonly defaultSpecId: number
  readonly lastPartitionId: number
  readonly properties: Readonly<Record<string, string>>
  readonly currentSnapshotId: bigint | null
  readonly snapshots: ReadonlyArray<Snapshot>
  readonly snapshotLog: ReadonlyArray<{ readonly snapshotId: bigint; readonly timestampMs: number }>
  readonly metadataLog: ReadonlyArray<{ readonly metadataFile: string; readonly timestampMs: number }>
  readonly sortOrders: ReadonlyArray<SortOrder>
  readonly defaultSortOrderId: number
  /** Branches and tags inside the file. Ours have `main` only: branches live in the catalog. */
  readonly refs: Readonly<Record<string, SnapshotRef>>
  /** Of other writers; carried over as they are (64-bit numbers as bigint). */
  readonly statistics?: ReadonlyArray<unknown>
  readonly partitionStatistics?: ReadonlyArray<unknown>
  /** v3 row lineage: the `_row_id` that the next row gets. */
  readonly nextRowId?: bigint
  /** v3; carried over as they are. */
  readonly encryptionKeys?: ReadonlyArray<unknown>
  /** Fields of the file that are not known here, by their names in it; carried over as they are. */
  readonly unknownFields?: Readonly<Record<string, unknown>>
}

export interface PartitionSpec {
  readonly specId: number
  readonly fields: ReadonlyArray<{
    readonly sourceId: number
    /** v3, transforms of several columns only; the first one is `sourceId`. */
    readonly sourceIds?: ReadonlyArray<number>
    readonly fieldId: number
    readonly name: string
    /** `identity`, `bucket[16]`, `day`, … */
    readonly transform: string
  }>
}

export interface SortOrder {
  readonly orderId: number
  readonly fields: ReadonlyArray<{
    readonly transform: string
    readonly sourceId: number
    /** v3, transforms of several columns only; the first one is `sourceId`. */
    readonly sourceIds?: ReadonlyArray<number>
    readonly direction: string
    readonly nullOrder: string
  }>
}

export interface SnapshotRef {
  readonly snapshotId: bigint
  readonly type: "branch" | "tag"
  readonly minSnapshotsToKeep?: number
  readonly maxSnapshotAgeMs?: number
  readonly maxRefAgeMs?: number
}

export interface Schema {
  readonly schemaId: number
  readonly fields: ReadonlyArray<Field>
  readonly identifierFieldIds: ReadonlyArray<number>
}

export interface Field {
  readonly id: number
  readonly name: string
  readonly required: boolean
  readonly type: IcebergType
  readonly doc?: string
  /** v3: what rows of files without the column have; JSON single-value ("Appendix D"). */
  readonly initialDefault?: unknown
  /** v3: what writers put where a row says nothing. */
  readonly writeDefault?: unknown
}

/** Primitive types by their spec name (`long`, `decimal(38,0)`, `timestamptz`, …) or a nested type. */
export type IcebergType =
  | string
  | { readonly type: "struct"; readonly fields: ReadonlyArray<Field> }
  | {
      readonly type: "list"
      readonly elementId: number
      readonly elementRequired: boolean
      readonly element: IcebergType
    }
  | {
      readonly type: "map"
      readonly keyId: number
      readonly key: IcebergType
      readonly valueId: number
      readonly valueRequired: boolean
      readonly value: IcebergType
    }

export interface Snapshot {
  readonly snapshotId: bigint
  readonly parentSnapshotId: bigint | null
  readonly sequenceNumber: bigint
  readonly timestampMs: number
  readonly manifestList: string
  /** `operation` and counts; our own keys start with `rat.`, for example `rat.run-id`. */
  readonly summary: Readonly<Record<string, string>>
  readonly schemaId: number
  /** v3 row lineage: the first `_row_id` of rows that the snapshot added, and how many it assigned. */
  readonly firstRowId?: bigint
  readonly addedRows?: bigint
}
