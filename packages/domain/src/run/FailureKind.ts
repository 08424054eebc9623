/**
 * What a failed attempt says about the next one.
 * - `final`: it would fail in the same way (SQL, quality, settings, missing inputs, limits).
 * - `transient`: it may not (a slot died, a leftover of an older attempt was in the way). The pipeline's policy decides.
 * - `outage`: something that every run needs was away. Nothing that the pipeline did, so that control waits and tries again
 *   whatever the policy, for as long as `RAT_MAX_OUTAGE_RETRIES` allows.
 */
export type FailureKind = "final" | "transient" | "outage"

/** The one table of codes that are not final. */
const kinds: { readonly [Code in string]: FailureKind } = {
  "store.unavailable": "outage",
  "catalog.unavailable": "outage",
  "control.unavailable": "outage",
  "slot.busy": "outage",
  /** The store answers, but does not do it: it is full, or access was taken away. */
  "store.refused": "transient",
  /** The runner's own disk or memory, not what one run may have of it (`limit.…`). */
  "machine.disk": "transient",
  "slot.died": "transient",
  "runner.files": "transient",
  /** Another attempt, which does not know yet that it lost its lease, or a hand has been at the run's branch. */
  "commit.conflict": "transient",
  "branch.missing": "transient",
  /** Unforeseen: nobody knows, and the policy bounds it. */
  internal: "transient",
}

/** Codes that are not known here are final: a failure that is repeated for nothing costs more than one that is not. */
export const failureKind = (code: string): FailureKind => (Object.hasOwn(kinds, code) ? kinds[code]! : "final")
