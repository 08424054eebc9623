import { type ContentFile, type DataFile, fileKey } from "./DataFile.ts"
import type { ManifestEntry } from "./Manifest.ts"
import { hasLiveFiles, type ManifestFile } from "./ManifestList.ts"
import { mergeGroups } from "./ManifestMerge.ts"
import { partitionKey } from "./PartitionSpec.ts"
import type { SnapshotChange } from "./TableChange.ts"
import type { TableMetadata } from "./TableMetadata.ts"

/** Entries of the base's manifests that `manifestsToRead` named, inherited values filled in, by path. */
export type ReadEntries = ReadonlyMap<string, ReadonlyArray<ManifestEntry>>

export const isLive = (entry: ManifestEntry): boolean => entry.status !== "deleted"

const isNothing = (removed: ReadonlySet<string> | "all") => removed !== "all" && removed.size === 0
const isVector = (file: ContentFile) => file.content !== "data" && file.format === "puffin"

/**
 * The manifests of the base that have to be read to plan a change: none for an append, all when something goes (which of them
 * hold it is only known from them), and small ones whose time to be merged has come.
 */
export const manifestsToRead = (
  change: SnapshotChange,
  lines: ReadonlyArray<ManifestFile>,
  properties: TableMetadata["properties"],
): ReadonlyArray<ManifestFile> => {
  const live = lines.filter(hasLiveFiles)
  const needsData = !isNothing(change.removed)
  // Deletes that concern nothing any more are found among all of them; a data file has one deletion vector.
  const needsDeletes = needsData || !isNothing(change.removedDeletes) || change.addedDeletes.some(isVector)
  const needed = new Set(live.filter((line) => (line.content === "data" ? needsData : needsDeletes)))
  for (const group of mergeGroups(live, properties)) for (const line of group) needed.add(line)
  return [...needed]
}

/** Which manifests stay as they are, which are written anew because files of them go, and what goes. */
export interface SplitEntries {
  readonly kept: ReadonlyArray<ManifestFile>
  /** Live entries of the manifests that do not stay, those that go marked as deleted. */
  readonly rewritten: ReadonlyArray<ReadonlyArray<ManifestEntry>>
  readonly removed: ReadonlyArray<ContentFile>
}

/** Why a change does not fit the files of its base. */
export interface Misfit {
  readonly misfit: string
}

export const splitEntries = (
  change: SnapshotChange,
  snapshotId: bigint,
  manifests: ReadonlyArray<ManifestFile>,
  read: ReadEntries,
): SplitEntries | Misfit => {
  const live = manifests.filter(hasLiveFiles)
  const liveOf = (line: ManifestFile) => (read.get(line.path) ?? []).filter(isLive)
  if (isNothing(change.removed) && isNothing(change.removedDeletes) && !change.addedDeletes.some(isVector)) {
    return { kept: live, rewritten: [], removed: [] }
  }
  const goes = (keys: ReadonlySet<string> | "all", file: ContentFile) => keys === "all" || keys.has(fileKey(file))
  const files = live.flatMap((line) => liveOf(line).map((entry) => entry.file))
  const data = files.filter((file) => file.content === "data" && !goes(change.removed, file))
  // Rewritten files keep an old sequence number: equality deletes that came after it still concern them.
  const rewrites =
    change.operation === "replace" ? change.added.filter((file) => file.sequenceNumber !== undefined) : []
  const isDangling = isNothing(change.removed) ? () => false : danglingTest([...data, ...rewrites] as Array<DataFile>)
  const isGone = (file: ContentFile) =>
    file.content === "data" ? goes(change.removed, file) : goes(change.removedDeletes, file) || isDangling(file)
  const removed = files.filter(isGone)
  const gone = new Set(removed.map(fileKey))
  for (const keys of [change.removed, change.removedDeletes]) {
    if (keys === "all") continue
    for (const key of keys) {
      if (!gone.has(key)) return { misfit: `the change removes ${key}, which its current snapshot does not list` }
    }
  }
  const vectors = new Set(change.addedDeletes.filter(isVector).map((file) => file.referencedDataFile))
  const second = files.find(
    (file) => file.content !== "data" && isVector(file) && vectors.has(file.referencedDataFile) && !isGone(file),
  )
  if (second?.content === "position-deletes") {
    return {
      misfit: `the change adds a deletion vector for ${second.referencedDataFile}, which has one already that the change does not remove`,
    }
  }
  const holds = (line: ManifestFile) => liveOf(line).some((entry) => isGone(entry.file))
  return {
    kept: live.filter((line) => !holds(line)),
    rewritten: live
      .filter(holds)
      .map((line) =>
        liveOf(line).map(
          (entry): ManifestEntry =>
            isGone(entry.file) ? { ...entry, status: "deleted", snapshotId } : { ...entry, status: "existing" },
        ),
      ),
    removed,
  }
}

/**
 * Deletes that can concern none of the data files that stay (Iceberg spec, "Scan Planning"). New files are newer than every old
 * delete, so they are not among `data`.
 */
const danglingTest = (data: ReadonlyArray<DataFile>) => {
  const paths = new Set(data.map(({ filePath }) => filePath))
  /** Lowest sequence number of a live file, by partition. */
  const oldest = new Map<string, bigint>()
  let oldestOfAll: bigint | undefined
  for (const file of data) {
    const key = partitionKey(file.specId, file.partition)
    const sequence = file.sequenceNumber ?? 0n
    const before = oldest.get(key)
    if (before === undefined || sequence < before) oldest.set(key, sequence)
    if (oldestOfAll === undefined || sequence < oldestOfAll) oldestOfAll = sequence
  }
  return (file: ContentFile): boolean => {
    if (file.content === "data") return false
    const path = file.referencedDataFile ?? onlyPath(file)
    if (path !== undefined && !paths.has(path)) return true
    const isGlobal = file.content === "equality-deletes" && file.partition.length === 0
    // Writers may put deletes of one file under another spec than the file's: the path decides.
    if (path !== undefined && !isGlobal) return false
    const first = isGlobal ? oldestOfAll : oldest.get(partitionKey(file.specId, file.partition))
    if (first === undefined) return true
    const sequence = file.sequenceNumber ?? 0n
    return file.content === "equality-deletes" ? first >= sequence : first > sequence
  }
}

/** Field id of `file_path` in position delete files (Iceberg spec, "Reserved Field IDs"). */
const filePathId = 2_147_483_546

/** Position deletes of a single file say so by equal bounds, which are then whole paths. */
const onlyPath = (file: ContentFile): string | undefined => {
  if (file.content !== "position-deletes") return undefined
  const [lower, upper] = [file.lowerBounds.get(filePathId), file.upperBounds.get(filePathId)]
  return lower !== undefined && upper !== undefined && Buffer.compare(lower, upper) === 0
    ? Buffer.from(lower).toString("utf8")
    : undefined
}
