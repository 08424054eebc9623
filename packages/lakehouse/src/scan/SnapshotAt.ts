import type { TableMetadata } from "../iceberg/TableMetadata.ts"

/** Which state of a table is meant. */
export type TableVersionName =
  | { readonly kind: "snapshot"; readonly snapshotId: bigint }
  /** A branch or tag of the table's own. */
  | { readonly kind: "ref"; readonly name: string }
  /** What was current then. */
  | { readonly kind: "timestamp"; readonly ms: number }

const shownSnapshots = 5

const timeText = (ms: number): string => `${new Date(ms).toISOString().slice(0, 23).replace("T", " ")}Z`

/** The snapshot of a version, or in `problem` why there is none and what there is (a clause, without the table's name). */
export const snapshotAt = (
  metadata: TableMetadata,
  version: TableVersionName,
): { readonly snapshotId: bigint } | { readonly problem: string } => {
  const { refs, snapshotLog, snapshots } = metadata
  const known = new Set(snapshots.map(({ snapshotId }) => snapshotId))
  if (version.kind === "snapshot") {
    if (known.has(version.snapshotId)) return { snapshotId: version.snapshotId }
    const newest = snapshots
      .toSorted((left, right) => right.timestampMs - left.timestampMs)
      .slice(0, shownSnapshots)
      .map(({ snapshotId, timestampMs }) => `${snapshotId} (${timeText(timestampMs)})`)
    const there = newest.length === 0 ? "It has none." : `Its newest are ${newest.join(", ")}.`
    return { problem: `has no snapshot ${version.snapshotId}; it may have expired. ${there}` }
  }
  if (version.kind === "ref") {
    const ref = refs[version.name]
    if (ref !== undefined) return { snapshotId: ref.snapshotId }
    return { problem: `has no branch or tag "${version.name}"` }
  }
  const at = snapshotLog.filter(({ timestampMs }) => timestampMs <= version.ms).at(-1)
  if (at !== undefined && known.has(at.snapshotId)) return { snapshotId: at.snapshotId }
  const first = snapshotLog.find(({ snapshotId }) => known.has(snapshotId))
  const there = first === undefined ? "It has no snapshots." : `Its first one is of ${timeText(first.timestampMs)}.`
  return {
    problem:
      at === undefined
        ? `has no snapshot of ${timeText(version.ms)} or before. ${there}`
        : `had snapshot ${at.snapshotId} at ${timeText(version.ms)}, which has expired. ${there}`,
  }
}
