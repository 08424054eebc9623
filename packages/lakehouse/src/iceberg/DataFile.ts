import type { SingleValue } from "./SingleValue.ts"

/**
 * What a manifest says of a file, whatever the file holds (Iceberg spec, "Manifests", `data_file`). Bounds are in the
 * spec's single-value binary serialization ("Appendix D"), keyed by field id.
 */
export interface FileFacts {
  /** Absolute location. */
  readonly filePath: string
  /** The partition spec that the file was written under. */
  readonly specId: number
  /** Partition values in the order of the spec's fields; empty for an unpartitioned spec. */
  readonly partition: ReadonlyArray<SingleValue | null>
  readonly recordCount: number
  readonly fileSizeBytes: number
  readonly columnSizes: ReadonlyMap<number, number>
  readonly valueCounts: ReadonlyMap<number, number>
  readonly nullValueCounts: ReadonlyMap<number, number>
  readonly nanValueCounts: ReadonlyMap<number, number>
  readonly lowerBounds: ReadonlyMap<number, Uint8Array>
  readonly upperBounds: ReadonlyMap<number, Uint8Array>
  /** Where a reader may begin (row groups), in bytes from the start; of other writers, carried over. */
  readonly splitOffsets?: ReadonlyArray<number>
  readonly sortOrderId?: number
  /**
   * Data sequence number; absent for a file that no snapshot holds yet. A commit gives its files its own, but a `replace` keeps
   * one that is there: rewritten rows stay subject to equality deletes that came after them.
   */
  readonly sequenceNumber?: bigint
}

/** A Parquet file of rows. */
export interface DataFile extends FileFacts {
  readonly content: "data"
  /**
   * The schema whose columns, and no others, the file holds; absent when that is not known (foreign writers). -1 in a commit:
   * the one that is current after its updates.
   */
  readonly schemaId?: number
  /** v3 row lineage: `_row_id` of the file's first row; absent before v3 and while no snapshot holds the file. */
  readonly firstRowId?: bigint
}

/** A file of deleted rows: position deletes (Parquet, v2), a deletion vector (a blob in a Puffin file, v3) or equality deletes. */
export interface DeleteFile extends FileFacts {
  readonly content: "position-deletes" | "equality-deletes"
  readonly format: "parquet" | "puffin"
  /** Field ids of the columns that equality deletes compare. */
  readonly equalityIds?: ReadonlyArray<number>
  /** The only data file that it concerns; always there for deletion vectors. */
  readonly referencedDataFile?: string
  /** Place of a deletion vector's blob in the Puffin file. */
  readonly contentOffset?: number
  readonly contentSizeBytes?: number
}

/** Any file that a manifest lists. */
export type ContentFile = DataFile | DeleteFile

/** Two deletion vectors may share a Puffin file: what tells the entries of a table apart. */
export const fileKey = (file: ContentFile): string =>
  file.content !== "data" && file.contentOffset !== undefined ? `${file.filePath}#${file.contentOffset}` : file.filePath
