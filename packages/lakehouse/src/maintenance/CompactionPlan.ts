import type { DataFile, DeleteFile } from "../iceberg/DataFile.ts"
import type { TableMetadata } from "../iceberg/TableMetadata.ts"
import { type AppliedDeletes, applyDeletes, partitionKey } from "../scan/DeleteIndex.ts"

export interface CompactionSettings {
  readonly targetFileBytes: number
  /** Files of one partition that are too small before they are put together. */
  readonly minInputFiles: number
  /** Delete files that concern one data file from which on it is rewritten. */
  readonly deleteFileThreshold: number
  /** Share of a data file's rows that are deleted from which on it is rewritten; 0 to 1. */
  readonly deleteRatio: number
  /** Whether all files that are not in the table's sort order are rewritten in it. */
  readonly sort: boolean
  /** Most bytes of input of one group, which is one commit and is on the slot's disk as a whole. */
  readonly maxGroupBytes: number
}

export const defaultCompaction: CompactionSettings = {
  targetFileBytes: 256 * 2 ** 20,
  minInputFiles: 5,
  deleteFileThreshold: 4,
  deleteRatio: 0.1,
  sort: false,
  maxGroupBytes: 10 * 2 ** 30,
}

/** Files that are rewritten together: of one partition under one spec. */
export interface CompactionGroup {
  readonly specId: number
  readonly files: ReadonlyArray<DataFile>
  /** Deletes that concern the files; with the files they go, unless they concern others too. */
  readonly deletes: ReadonlyArray<DeleteFile>
  readonly sizeBytes: number
}

/** Smaller and larger than these shares of the target a file is worth rewriting. */
const smallest = 0.75
const largest = 1.8
/** Files on one group's list: what one statement and one commit hold. */
const maxGroupFiles = 2_000

const deleteFilesOf = (applied: AppliedDeletes): ReadonlyArray<DeleteFile> => [
  ...applied.positions,
  ...(applied.vector === null ? [] : [applied.vector]),
  ...applied.equality,
]

/** Rows that deletes of this file alone take away; shared files do not say how many concern it. */
const knownDeleted = (applied: AppliedDeletes): number =>
  applied.vector !== null
    ? applied.vector.recordCount
    : applied.positions
        .filter((file) => file.referencedDataFile !== undefined)
        .reduce((rows, file) => rows + file.recordCount, 0)

/** First fit, the largest first: groups close to the limit, none above it but for single files. */
const pack = (files: ReadonlyArray<DataFile>, limitBytes: number): ReadonlyArray<ReadonlyArray<DataFile>> => {
  const bins: Array<{ files: Array<DataFile>; bytes: number }> = []
  let open = 0
  const sorted = files.toSorted((left, right) => right.fileSizeBytes - left.fileSizeBytes || order(left, right))
  for (const file of sorted) {
    const fits = (bin: (typeof bins)[number]) =>
      bin.bytes + file.fileSizeBytes <= limitBytes && bin.files.length < maxGroupFiles
    const index = bins.findIndex((bin, at) => at >= open && fits(bin))
    if (index === -1) bins.push({ files: [file], bytes: file.fileSizeBytes })
    else {
      bins[index]!.files.push(file)
      bins[index]!.bytes += file.fileSizeBytes
    }
    while (open < bins.length && bins[open]!.files.length >= maxGroupFiles) open++
  }
  return bins.map((bin) => bin.files)
}

const order = (left: DataFile, right: DataFile) => (left.filePath < right.filePath ? -1 : 1)

/**
 * Which files of a snapshot are worth rewriting, in groups. A file is when it is too small or too large for the target, when
 * deletes weigh on it, when it has an old partition spec, or (`sort`) when it is not in the table's order. Small files alone
 * are only rewritten when enough of them come together. Sizes are those of the files, before deletes.
 */
export const planCompaction = (
  metadata: Pick<TableMetadata, "partitionSpecs" | "defaultSpecId" | "defaultSortOrderId">,
  data: ReadonlyArray<DataFile>,
  deletes: ReadonlyArray<DeleteFile>,
  settings: CompactionSettings,
): ReadonlyArray<CompactionGroup> => {
  const applied = applyDeletes(metadata.partitionSpecs, data, deletes)
  const { targetFileBytes } = settings
  const isSorted = metadata.defaultSortOrderId !== 0

  const mustGo = (file: DataFile): boolean => {
    const concerning = applied.get(file)
    if (file.specId !== metadata.defaultSpecId) return true
    if (settings.sort && isSorted && file.sortOrderId !== metadata.defaultSortOrderId) return true
    if (concerning === undefined) return false
    return (
      deleteFilesOf(concerning).length >= settings.deleteFileThreshold ||
      knownDeleted(concerning) >= Math.max(1, settings.deleteRatio * file.recordCount)
    )
  }
  const isOff = (file: DataFile) =>
    file.fileSizeBytes < targetFileBytes * smallest || file.fileSizeBytes > targetFileBytes * largest

  const groups: Array<CompactionGroup> = []
  const candidates = data.filter((file) => mustGo(file) || isOff(file))
  for (const [, files] of Map.groupBy(candidates, partitionKey)) {
    for (const bin of pack(files, settings.maxGroupBytes)) {
      const sizeBytes = bin.reduce((sum, file) => sum + file.fileSizeBytes, 0)
      const isWorthIt =
        bin.some((file) => mustGo(file) || file.fileSizeBytes > targetFileBytes * largest) ||
        bin.length >= settings.minInputFiles ||
        (bin.length > 1 && sizeBytes >= targetFileBytes)
      if (!isWorthIt) continue
      const concerning = new Set(bin.flatMap((file) => deleteFilesOf(applied.get(file) ?? nothing)))
      groups.push({
        specId: bin[0]!.specId,
        files: bin.toSorted((left, right) => compareSequence(left, right) || order(left, right)),
        deletes: [...concerning],
        sizeBytes,
      })
    }
  }
  return groups
}

const nothing: AppliedDeletes = { positions: [], vector: null, equality: [] }

/** Older rows first: what was written together stays together. */
const compareSequence = (left: DataFile, right: DataFile): number => {
  const [a, b] = [left.sequenceNumber ?? 0n, right.sequenceNumber ?? 0n]
  return a < b ? -1 : a > b ? 1 : 0
}
