import {
  type Checkpoint,
  type CheckpointCommit,
  type CheckpointInputs,
  checkpointVersion,
  encodeCheckpoint,
  type QualityResult,
  type RunId,
} from "@rat/domain"
import { type Merged, mergedFromJson, mergedToJson } from "@rat/lakehouse"
import type { RunLog } from "./RunLog.ts"

/** Landing files and written files of one checkpoint. Beyond, the next attempt does it again: a checkpoint must stay cheap. */
const maxLandingFiles = 20_000
const maxWrittenFiles = 1_000

/** Quality tests that took less in all are sooner run again than their results are written down. */
const cheapTestsMs = 100

const landingFiles = (inputs: CheckpointInputs) => inputs.zones.reduce((sum, { files }) => sum + files.length, 0)
const writtenFiles = ({ snapshot }: Merged) =>
  snapshot === null
    ? 0
    : snapshot.added.length +
      snapshot.addedDeletes.length +
      (snapshot.removed === "all" ? 0 : snapshot.removed.size) +
      (snapshot.removedDeletes === "all" ? 0 : snapshot.removedDeletes.size)

/**
 * What a run has done so far, over all its attempts. Each step puts a checkpoint into the next report, which costs nothing until it is
 * sent: a step that is overtaken by the next one within the report's window is never written down.
 */
export interface RunProgress {
  /** The run whose branch and commits these are: another one where somebody resumed or retried that one by hand. */
  readonly origin: { readonly runId: RunId; readonly branch: string }
  /** What the first attempt resolved. Whether the branch is still the one that it saw is the reader's to find out. */
  readonly inputs: () => CheckpointInputs | null
  readonly written: () => Merged | null
  readonly committed: () => CheckpointCommit | null
  readonly quality: () => ReadonlyArray<QualityResult> | null
  readonly resolve: (inputs: CheckpointInputs) => void
  readonly write: (merged: Merged) => void
  readonly commit: (committed: CheckpointCommit) => void
  readonly test: (results: ReadonlyArray<QualityResult>) => void
  /** The branch begins anew: what was done on it is gone, what was listed and when stays. */
  readonly beginAgain: () => void
  /** All is done but the end: forgets a checkpoint that nobody has needed so far and that another attempt would find out by itself. */
  readonly spare: () => void
  /** The newest checkpoint; null before the first. */
  readonly checkpoint: () => ReturnType<typeof encodeCheckpoint> | null
}

export const makeRunProgress = (
  log: RunLog,
  own: { readonly runId: RunId; readonly branch: string },
  kept: Checkpoint | null,
): RunProgress => {
  const origin = kept === null ? own : { runId: kept.runId, branch: kept.branch }
  let inputs = kept?.inputs ?? null
  let written = kept === null || kept.written === null ? null : mergedFromJson(kept.written)
  let committed = kept?.committed ?? null
  let quality = kept?.quality ?? null

  const checkpoint = () =>
    inputs === null || landingFiles(inputs) > maxLandingFiles
      ? null
      : encodeCheckpoint({
          version: checkpointVersion,
          ...origin,
          inputs,
          written: written === null || writtenFiles(written) > maxWrittenFiles ? null : mergedToJson(written),
          committed,
          quality,
        })
  const report = () => log.checkpoint(checkpoint)

  return {
    origin,
    inputs: () => inputs,
    written: () => written,
    committed: () => committed,
    quality: () => quality,
    resolve: (resolved) => {
      // The same inputs again: what was done with them holds.
      if (resolved.digest === inputs?.digest) return
      inputs = resolved
      written = null
      committed = null
      quality = null
      report()
    },
    write: (merged) => {
      written = merged
      report()
    },
    commit: (made) => {
      written = null
      committed = made
      report()
    },
    test: (results) => {
      quality = results
      report()
    },
    beginAgain: () => {
      written = null
      committed = null
      quality = null
    },
    spare: () => {
      const testsMs = (quality ?? []).reduce((sum, { duration_ms }) => sum + duration_ms, 0)
      if (inputs?.zones.length === 0 && testsMs < cheapTestsMs) log.spareCheckpoint()
    },
    checkpoint,
  }
}
