import { type SlotPool, SlotPools } from "@rat/lakehouse"
import { Context, Effect, Layer, Scope } from "effect"
import { RunnerConfig, type RunnerSettings } from "../RunnerConfig.ts"
import { inputFolder, resultFolder } from "./SlotFolders.ts"

/** Holders of one slot before its process is replaced, against slow leaks. */
const recycleAfter = 1_000
/** A statement stops within a millisecond of an interrupt; what takes longer is not coming back. */
const cancelGraceMs = 2_000
const maxWaiting = 1_000

/** The check of a project executes nothing and needs next to nothing. */
const checkMemoryBytes = 256 * 1_048_576

const optionsOf = (config: RunnerSettings, name: "run" | "check") => ({
  name,
  maxWaiting,
  entry: new URL("./RunnerSlot.ts", import.meta.url),
  folder: config.slotFolder,
  spillLimitBytes: config.spillLimitBytes,
  standingFolders: [inputFolder, resultFolder],
  harmlessOps: ["noop"],
  recycleAfter,
  cancelGraceMs,
})

/** The node's pool of processes that execute pipelines. */
export class RunnerSlots extends Context.Service<RunnerSlots, SlotPool>()("rat/runner/sandbox/RunnerSlots") {
  static readonly layer = Layer.effect(
    RunnerSlots,
    Effect.gen(function* () {
      const config = yield* RunnerConfig
      const pools = yield* SlotPools
      return yield* pools.make({
        ...optionsOf(config, "run"),
        size: config.slots,
        memoryLimitBytes: config.memoryLimitBytes,
        threads: config.threads,
      })
    }),
  )
}

/**
 * One more process, which looks at projects: a push must not wait for runs that take hours. Started when the first
 * project comes.
 */
export class CheckSlots extends Context.Service<CheckSlots, { readonly pool: Effect.Effect<SlotPool> }>()(
  "rat/runner/sandbox/CheckSlots",
) {
  static readonly layer = Layer.effect(
    CheckSlots,
    Effect.gen(function* () {
      const config = yield* RunnerConfig
      const pools = yield* SlotPools
      const scope = yield* Effect.scope
      const pool = yield* Effect.cached(
        pools
          .make({ ...optionsOf(config, "check"), size: 1, memoryLimitBytes: checkMemoryBytes, threads: 1 })
          .pipe(Scope.provide(scope)),
      )
      return CheckSlots.of({ pool })
    }),
  )
}
