import { Context, type Effect, Schema } from "effect"
import type { ObjectNotFound, StoreUnavailable } from "../store/ObjectStore.ts"
import type { DataFile } from "./DataFile.ts"
import type { TableMetadata, Schema as TableSchema } from "./TableMetadata.ts"

/** A metadata, manifest-list or manifest file that is there but cannot be understood. Names the file and the reason. */
export class TableCorrupt extends Schema.TaggedError<TableCorrupt>()("TableCorrupt", {
  location: Schema.String,
  reason: Schema.String,
}) {
  override get message() {
    return `${this.location} is not a readable Iceberg file: ${this.reason}`
  }
}

type ReadError = ObjectNotFound | StoreUnavailable | TableCorrupt

/** What a commit made. `metadataLocation` is what the catalog must point to. */
export interface TableCommit {
  readonly metadataLocation: string
  readonly metadata: TableMetadata
  readonly snapshotId: bigint
  readonly totalRecords: number
  readonly totalSizeBytes: number
}

/**
 * Reads and writes Iceberg v2 tables in the object store. Writing only adds files: nothing is visible until the
 * catalog points to the new metadata file, so a crash at any step leaves the old table and some orphans.
 */
export class IcebergTable extends Context.Service<
  IcebergTable,
  {
    /** Parsed metadata file; cached by its immutable location. */
    readonly load: (metadataLocation: string) => Effect.Effect<TableMetadata, ReadError>
    /**
     * Adds a snapshot. `base: null` creates the table in `location`. `append` keeps the base's files, `overwrite`
     * replaces them all. `schema` is the schema of the new files (with field ids, see `write/ResultSchema`); it becomes
     * current. `runId` goes into the summary and names the files, so that repeating a run's commit overwrites its own.
     */
    readonly commit: (change: {
      readonly base: { readonly metadataLocation: string; readonly metadata: TableMetadata } | null
      readonly location: string
      readonly operation: "append" | "overwrite"
      readonly schema: TableSchema
      readonly lastColumnId: number
      readonly dataFiles: ReadonlyArray<DataFile>
      readonly runId: string
      readonly properties?: Readonly<Record<string, string>>
    }) => Effect.Effect<TableCommit, ReadError>
    /** Live data files of a snapshot (default: the current one), with their statistics. */
    readonly dataFiles: (
      metadata: TableMetadata,
      snapshotId?: bigint,
    ) => Effect.Effect<ReadonlyArray<DataFile>, ReadError>
  }
>()("rat/lakehouse/iceberg/IcebergTable") {}
