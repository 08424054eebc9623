import { Option, Schema } from "effect"
import { QualityResult } from "../quality/QualityTest.ts"
import { RunId } from "./Run.ts"

/**
 * What a run has resolved and done so far: enough for another attempt to go on, on the same branch. The parts come one after the
 * other, and each holds only together with the ones before it. A checkpoint is a hint, not a promise: whoever goes on from it
 * finds out whether the branch and the files are still there, and does again what is not.
 */

/** A landing zone's files as the first attempt listed them: later attempts read exactly these. */
export const ResolvedZone = Schema.Struct({
  zone: Schema.String,
  /** Only quality tests read it: no input of the run's data. */
  isTestOnly: Schema.Boolean,
  files: Schema.Array(
    Schema.Struct({ id: Schema.String, filename: Schema.String, key: Schema.String, size_bytes: Schema.Int }),
  ),
})
export type ResolvedZone = typeof ResolvedZone.Type

export const CheckpointInputs = Schema.Struct({
  /** When the first attempt began to resolve, as ISO 8601: what templates see as the run's start. */
  startedAt: Schema.String,
  /** Main's commit that the branch was made of; null before the first commit of all. */
  baseCommit: Schema.NullOr(Schema.String),
  /** Metadata file of the run's own table that the run builds on; null: the table is new. */
  ownBase: Schema.NullOr(Schema.String),
  /** Largest value of the watermark column in `ownBase`; null: none. Holds for `ownBase` only. */
  watermark: Schema.NullOr(Schema.String),
  zones: Schema.Array(ResolvedZone),
  /** Of all the above and of the rendered code; a commit that carries it was made of the same inputs. */
  digest: Schema.String,
})
export type CheckpointInputs = typeof CheckpointInputs.Type

export const CheckpointCommit = Schema.Struct({
  metadataLocation: Schema.String,
  snapshotId: Schema.NullOr(Schema.String),
  rowsWritten: Schema.Int,
})
export type CheckpointCommit = typeof CheckpointCommit.Type

/** The only version so far. One that a node does not know is no checkpoint for it: the run begins anew. */
export const checkpointVersion = 1

export const Checkpoint = Schema.Struct({
  version: Schema.Literal(checkpointVersion),
  /** The run that made it, and its branch: another run's where somebody resumed or retried that one by hand. */
  runId: RunId,
  branch: Schema.String,
  inputs: CheckpointInputs,
  /** The merge's result, whose files are in the store, as the lakehouse writes it down. Made upon `inputs.ownBase`. */
  written: Schema.NullOr(Schema.Json),
  /** The table as the branch has it. */
  committed: Schema.NullOr(CheckpointCommit),
  /** Results of the quality tests on `committed`; null: they have not all run. */
  quality: Schema.NullOr(Schema.Array(Schema.toCodecJson(QualityResult))),
})
export type Checkpoint = typeof Checkpoint.Type

const decode = Schema.decodeUnknownOption(Checkpoint)

/** Null also for what another version wrote and this one does not understand. */
export const decodeCheckpoint = (json: unknown): Checkpoint | null => Option.getOrNull(decode(json))

/** As it travels and is stored: plain JSON. */
export const encodeCheckpoint: (checkpoint: Checkpoint) => Schema.Json = Schema.encodeSync(Checkpoint)

/** For a run that somebody repeats by hand: the same inputs, but nothing of what was done with them. */
export const inputsOfCheckpoint = (json: Schema.Json): Schema.Json | null => {
  const checkpoint = decodeCheckpoint(json)
  return checkpoint === null ? null : encodeCheckpoint({ ...checkpoint, written: null, committed: null, quality: null })
}
