import type { ContentFile } from "./DataFile.ts"
import type { ManifestEntry } from "./Manifest.ts"
import type { ManifestFile } from "./ManifestList.ts"
import type { Snapshot, TableMetadata } from "./TableMetadata.ts"

/*
 * v3 row lineage (Iceberg spec, "Row Lineage", "First Row ID Assignment", "First Row ID Inheritance"): a snapshot takes a range of
 * row ids, its manifests take parts of that, and the files in them that have none take theirs in the manifest's order. Rows
 * of a file count up from its first one.
 */

const takesRowIds = ({ file, status }: ManifestEntry): boolean =>
  status !== "deleted" && file.content === "data" && file.firstRowId === undefined

/** Rows of a manifest whose files take their ids from it. */
export const rowsWithoutIds = (entries: ReadonlyArray<ManifestEntry>): number =>
  entries.reduce((sum, entry) => sum + (takesRowIds(entry) ? entry.file.recordCount : 0), 0)

/**
 * Entries as they are read through the manifest list's line: what is missing in them is inherited ("Sequence Number
 * Inheritance" too). Files then carry their data sequence number, and data files of v3 the id of their first row.
 */
export const inheritAll = (entries: ReadonlyArray<ManifestEntry>, line: ManifestFile): ReadonlyArray<ManifestEntry> => {
  let nextRowId = line.firstRowId
  return entries.map((entry) => {
    const sequenceNumber = entry.sequenceNumber ?? line.sequenceNumber
    let file: ContentFile = { ...entry.file, sequenceNumber }
    if (nextRowId !== undefined && takesRowIds(entry) && file.content === "data") {
      file = { ...file, firstRowId: nextRowId }
      nextRowId += BigInt(file.recordCount)
    }
    return {
      status: entry.status,
      snapshotId: entry.snapshotId ?? line.addedSnapshotId,
      sequenceNumber,
      fileSequenceNumber: entry.fileSequenceNumber ?? line.sequenceNumber,
      file,
    }
  })
}

/**
 * The lines of a new snapshot with their row ids, and what the snapshot says of them. `written` tells how many rows of a new
 * manifest take ids from it; of one that the table had before it became v3, all do.
 */
export const assignRowIds = (
  lines: ReadonlyArray<ManifestFile>,
  written: ReadonlyMap<ManifestFile, number>,
  table: TableMetadata,
): { readonly lines: ReadonlyArray<ManifestFile>; readonly snapshot: Pick<Snapshot, "firstRowId" | "addedRows"> } => {
  if (table.formatVersion < 3) return { lines, snapshot: {} }
  const firstRowId = table.nextRowId ?? 0n
  let next = firstRowId
  const assigned = lines.map((line) => {
    if (line.content !== "data" || line.firstRowId !== undefined) return line
    const first = next
    next += BigInt(written.get(line) ?? line.addedRows + line.existingRows)
    return { ...line, firstRowId: first }
  })
  return { lines: assigned, snapshot: { firstRowId, addedRows: next - firstRowId } }
}
