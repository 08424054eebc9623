import type { DataFile, DeleteFile } from "./DataFile.ts"
import type { MetadataUpdate } from "./MetadataUpdate.ts"
import type { TableMetadata } from "./TableMetadata.ts"

/** A table version as the catalog points to it. */
export interface TableVersion {
  readonly metadataLocation: string
  readonly metadata: TableMetadata
}

/** What a commit does to a table. Both parts are optional, so it may be a pure change of metadata. */
export interface TableChange {
  /** Null creates the table in `location`; then `updates` must add a schema (spec and sort order are optional). */
  readonly base: TableVersion | null
  readonly location: string
  /**
   * Names the files of the commit, and goes into the summary as `rat.run-id`. Repeating a commit (same id, base and change)
   * answers with what is there already; the same id with another change makes other files and touches none of the old.
   */
  readonly runId: string
  /** Carried out before the snapshot is added. */
  readonly updates: ReadonlyArray<MetadataUpdate>
  readonly snapshot: SnapshotChange | null
}

/** A new snapshot on `main` of the table's own refs: what it adds to its parent's files and what it takes away. */
export interface SnapshotChange {
  /** Iceberg's word in the summary. */
  readonly operation: "append" | "overwrite" | "delete" | "replace"
  readonly added: ReadonlyArray<DataFile>
  readonly addedDeletes: ReadonlyArray<DeleteFile>
  /** Data files (by `fileKey`) that are gone, or all of them. A key that the parent does not have is a `TableCorrupt`. */
  readonly removed: ReadonlySet<string> | "all"
  /** The same for delete files. Deletes that can concern no live file any more are dropped without being asked. */
  readonly removedDeletes: ReadonlySet<string> | "all"
  /** More keys of the summary. */
  readonly summary?: Readonly<Record<string, string>>
}
