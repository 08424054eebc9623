import type { ContentFile } from "./DataFile.ts"
import { partitionKey } from "./PartitionSpec.ts"
import type { Snapshot } from "./TableMetadata.ts"

/** What a set of files adds up to. */
export interface Totals {
  readonly dataFiles: number
  readonly records: number
  readonly deleteFiles: number
  readonly positionDeletes: number
  readonly equalityDeletes: number
  /** Of data and delete files. */
  readonly sizeBytes: number
}

export const noTotals: Totals = {
  dataFiles: 0,
  records: 0,
  deleteFiles: 0,
  positionDeletes: 0,
  equalityDeletes: 0,
  sizeBytes: 0,
}

export const totalsOf = (files: ReadonlyArray<ContentFile>): Totals => {
  const totals = { ...noTotals }
  for (const file of files) {
    // Several deletion vectors share one Puffin file: each accounts for its own bytes.
    totals.sizeBytes += (file.content !== "data" ? file.contentSizeBytes : undefined) ?? file.fileSizeBytes
    if (file.content === "data") {
      totals.dataFiles++
      totals.records += file.recordCount
    } else {
      totals.deleteFiles++
      if (file.content === "position-deletes") totals.positionDeletes += file.recordCount
      else totals.equalityDeletes += file.recordCount
    }
  }
  return totals
}

const combined = (left: Totals, right: Totals, sign: 1 | -1): Totals =>
  Object.fromEntries(
    Object.entries(left).map(([key, value]) => [key, value + sign * right[key as keyof Totals]]),
  ) as unknown as Totals
export const plus = (left: Totals, right: Totals): Totals => combined(left, right, 1)
export const minus = (left: Totals, right: Totals): Totals => combined(left, right, -1)

/** Rows that a reader sees, as far as counts tell: equality deletes are only counted by their conditions. */
export const liveRows = (totals: Totals): number => Math.max(0, totals.records - totals.positionDeletes)

const totalKeys = {
  dataFiles: "total-data-files",
  records: "total-records",
  deleteFiles: "total-delete-files",
  positionDeletes: "total-position-deletes",
  equalityDeletes: "total-equality-deletes",
  sizeBytes: "total-files-size",
} as const

/** Totals from a snapshot's summary; null when its writer left one of the files' numbers out. */
export const totalsOfSummary = (summary: Snapshot["summary"]): Totals | null => {
  const optional = ["deleteFiles", "positionDeletes", "equalityDeletes"]
  const entries = Object.entries(totalKeys).map(
    ([key, name]) => [key, summary[name] === undefined && optional.includes(key) ? 0 : Number(summary[name])] as const,
  )
  return entries.some(([, value]) => Number.isNaN(value)) ? null : (Object.fromEntries(entries) as unknown as Totals)
}

/** Iceberg spec, "Optional Snapshot Summary Fields"; numbers are strings there, zeros are left out except in totals. */
export const summaryOf = (snapshot: {
  readonly operation: string
  readonly added: ReadonlyArray<ContentFile>
  readonly removed: ReadonlyArray<ContentFile>
  readonly totals: Totals
}): Record<string, string> => {
  const numbers = (prefix: readonly [files: string, rows: string], files: ReadonlyArray<ContentFile>) => {
    const of = (test: (file: ContentFile) => boolean) => files.filter(test)
    const totals = totalsOf(files)
    const isVector = (file: ContentFile) => file.content === "position-deletes" && file.format === "puffin"
    return {
      [`${prefix[0]}-data-files`]: totals.dataFiles,
      [`${prefix[0]}-records`]: totals.records,
      [`${prefix[1]}-delete-files`]: totals.deleteFiles,
      [`${prefix[1]}-position-delete-files`]: of((file) => file.content === "position-deletes" && !isVector(file))
        .length,
      [`${prefix[1]}-dvs`]: of(isVector).length,
      [`${prefix[1]}-equality-delete-files`]: of((file) => file.content === "equality-deletes").length,
      [`${prefix[1]}-position-deletes`]: totals.positionDeletes,
      [`${prefix[1]}-equality-deletes`]: totals.equalityDeletes,
      [`${prefix[1]}-files-size`]: totals.sizeBytes,
    }
  }
  const partitions = new Set(
    [...snapshot.added, ...snapshot.removed].map((file) => partitionKey(file.specId, file.partition)),
  )
  const counts: Record<string, number> = {
    ...numbers(["added", "added"], snapshot.added),
    ...numbers(["deleted", "removed"], snapshot.removed),
  }
  return {
    operation: snapshot.operation,
    ...Object.fromEntries(
      Object.entries(counts)
        .filter(([, value]) => value !== 0)
        .map(([key, value]) => [key, String(value)]),
    ),
    "changed-partition-count": String(partitions.size),
    ...Object.fromEntries(
      Object.entries(totalKeys).map(([key, name]) => [name, String(snapshot.totals[key as keyof Totals])]),
    ),
  }
}
