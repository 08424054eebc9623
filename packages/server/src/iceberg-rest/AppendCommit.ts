import type { MetadataUpdate, Snapshot } from "@rat/lakehouse"
import type { Unmet } from "./Requirement.ts"

/** A commit that does nothing but add rows to `main` of the table. */
export interface AppendCommit {
  readonly snapshot: Snapshot
  /** What the commit says besides: properties. */
  readonly others: ReadonlyArray<MetadataUpdate>
}

const alongside = new Set(["set-properties", "remove-properties"])

/**
 * The one append that a commit consists of; null for everything else. Only an append means the same whatever happened to
 * the table meanwhile.
 */
export const appendOf = (updates: ReadonlyArray<MetadataUpdate>): AppendCommit | null => {
  const added = updates.filter((update) => update.action === "add-snapshot")
  const refs = updates.filter((update) => update.action === "set-snapshot-ref")
  const others = updates.filter(({ action }) => action !== "add-snapshot" && action !== "set-snapshot-ref")
  const [snapshot] = added
  const [ref] = refs
  return added.length === 1 &&
    refs.length === 1 &&
    snapshot?.snapshot.summary.operation === "append" &&
    ref?.refName === "main" &&
    ref.type === "branch" &&
    ref.snapshotId === snapshot.snapshot.snapshotId &&
    others.every(({ action }) => alongside.has(action))
    ? { snapshot: snapshot.snapshot, others }
    : null
}

/** Whether nothing but the age of the client's view stands against a commit. */
export const isOnlyStale = (unmet: ReadonlyArray<Unmet>): boolean =>
  unmet.every(({ requirement }) => requirement.type === "assert-ref-snapshot-id" && requirement.ref === "main")
