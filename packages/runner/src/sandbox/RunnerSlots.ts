import { type SlotPool, SlotPools } from "@rat/lakehouse"
import { Context, Effect, Layer } from "effect"
import { RunnerConfig } from "../RunnerConfig.ts"

/** Holders of one slot before its process is replaced, against slow leaks. */
const recycleAfter = 1_000
/** A statement stops within a millisecond of an interrupt; what takes longer is not coming back. */
const cancelGraceMs = 2_000
const maxWaiting = 1_000

/** The node's pool of processes that execute pipelines. */
export class RunnerSlots extends Context.Service<RunnerSlots, SlotPool>()("rat/runner/sandbox/RunnerSlots") {
  static readonly layer = Layer.effect(
    RunnerSlots,
    Effect.gen(function* () {
      const config = yield* RunnerConfig
      const pools = yield* SlotPools
      return yield* pools.make({
        name: "run",
        size: config.slots,
        maxWaiting,
        entry: new URL("./RunnerSlot.ts", import.meta.url),
        folder: config.slotFolder,
        memoryLimitBytes: config.memoryLimitBytes,
        spillLimitBytes: config.spillLimitBytes,
        threads: config.threads,
        recycleAfter,
        cancelGraceMs,
      })
    }),
  )
}
