import { type SlotPool, SlotPools } from "@rat/lakehouse"
import { Context, Effect, Layer } from "effect"
import { RunnerConfig, runnerLimitSettings } from "../RunnerConfig.ts"
import { onDemandSlot } from "./OnDemandSlot.ts"
import { inputFolder, resultFolder } from "./SlotFolders.ts"

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
        limits: config.limits,
        limitSettings: runnerLimitSettings,
        ...config.recycling,
        standingFolders: [inputFolder, resultFolder],
        harmlessOps: ["noop"],
        cancelGraceMs,
      })
    }),
  )
}

/** The check of a project executes nothing and needs next to nothing. */
const checkMemoryBytes = 256 * 1_048_576
const checkProcessBytes = 1_024 * 1_048_576
/** Longest check, and longest wait for the ones before it: somebody is looking at the push that waits. */
const checkTimeMs = 20_000
const maxCheckWaitMs = 10_000

/** One more process, which looks at projects: a push must not wait for runs that take hours. */
export class CheckSlots extends Context.Service<CheckSlots, SlotPool>()("rat/runner/sandbox/CheckSlots") {
  static readonly layer = Layer.effect(
    CheckSlots,
    onDemandSlot({
      name: "check",
      entry: new URL("./RunnerSlot.ts", import.meta.url),
      memoryLimitBytes: checkMemoryBytes,
      threads: 1,
      limits: { memoryBytes: checkProcessBytes, timeMs: checkTimeMs },
      maxWaitMs: maxCheckWaitMs,
    }),
  )
}
