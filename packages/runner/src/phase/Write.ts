import {
  type CopyRow,
  defaultFileSizeBytes,
  Engine,
  merge,
  mergeSentence,
  ObjectStore,
  type Slot,
} from "@rat/lakehouse"
import { Effect } from "effect"
import { slotEngine } from "../maintenance/SlotEngine.ts"
import type { ActiveRun } from "./ActiveRun.ts"
import type { Code } from "./Code.ts"
import type { Executed } from "./Execute.ts"
import { withSlotFiles } from "./Inputs.ts"
import type { Resolved } from "./Resolve.ts"

/**
 * Merges the result into the table and moves the files that this makes to the store. Names hold run and fencing token: an attempt never
 * touches what another one wrote, not even one of the same number that was given back. The slot keeps a link to each file, so that
 * the tests read it without fetching it back.
 */
export const write = Effect.fn("Write.write")(function* (
  run: ActiveRun,
  code: Code,
  executed: Executed,
  resolved: Resolved,
  slot: Slot,
) {
  const store = yield* ObjectStore
  const { runId, fencingToken } = run.claimed.lease
  const { namespace, layer, name } = run.key
  const merged = yield* merge({
    base: resolved.own.base,
    location: store.locationOf(`${namespace}/${layer}/${name}`),
    filePrefix: `${runId}-${fencingToken}.${run.round}`,
    strategy: executed.strategy,
    settings: executed.settings,
    write: executed.plan,
    staged: executed.stats as ReadonlyArray<CopyRow>,
    partitionBy: code.config.partition_by,
    sortBy: code.config.sort_by,
    fileSizeBytes: code.config.target_file_size_bytes ?? defaultFileSizeBytes,
    now: executed.now,
    // A run that lost the race for its table once must not touch more of it than it has to.
    folds: run.round === 0,
  }).pipe(Effect.provideService(Engine, slotEngine(slot, resolved.inputs, yield* Effect.scope)), withSlotFiles(slot))
  run.log.add("info", `Query returned ${merged.rows.staged} rows`)
  run.log.add("info", `Table ${run.key}: ${mergeSentence(merged)}`)
  run.progress.write(merged)
  return merged
})
