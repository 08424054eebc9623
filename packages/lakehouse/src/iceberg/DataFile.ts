/**
 * A data file of a table and what the manifest says of it (Iceberg spec, "Manifests", `data_file`).
 * Bounds are in the spec's single-value binary serialization ("Appendix D"), keyed by field id.
 */
export interface DataFile {
  /** Absolute location. */
  readonly filePath: string
  readonly recordCount: number
  readonly fileSizeBytes: number
  readonly columnSizes: ReadonlyMap<number, number>
  readonly valueCounts: ReadonlyMap<number, number>
  readonly nullValueCounts: ReadonlyMap<number, number>
  readonly nanValueCounts: ReadonlyMap<number, number>
  readonly lowerBounds: ReadonlyMap<number, Uint8Array>
  readonly upperBounds: ReadonlyMap<number, Uint8Array>
  /** The schema whose columns, and no others, the file holds; absent when that is not known (foreign writers). */
  readonly schemaId?: number
}
