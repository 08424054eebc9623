import { type SlotPoolOptions, SlotPools } from "@rat/lakehouse"
import { Effect } from "effect"
import { RunnerConfig } from "../RunnerConfig.ts"
import { inputFolder } from "./SlotFolders.ts"

/** As for runs: a statement stops within a millisecond of an interrupt. */
const cancelGraceMs = 2_000
const maxWaiting = 100
/** A process that nobody has asked for in this time ends. */
const idleMs = 5 * 60_000

/** One process beside those of runs, for work that must not wait for them. It starts when the first such work comes. */
export const onDemandSlot = Effect.fnUntraced(function* (
  own: Pick<
    SlotPoolOptions,
    "name" | "entry" | "memoryLimitBytes" | "threads" | "limits" | "limitSettings" | "maxWaitMs"
  >,
) {
  const config = yield* RunnerConfig
  const pools = yield* SlotPools
  return yield* pools.make({
    size: 1,
    maxWaiting,
    folder: config.slotFolder,
    spillLimitBytes: config.spillLimitBytes,
    cancelGraceMs,
    idleMs,
    standingFolders: [inputFolder],
    ...config.recycling,
    spares: 0,
    ...own,
  })
})
