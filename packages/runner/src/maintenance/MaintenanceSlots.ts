import { type SlotPool, SlotPools } from "@rat/lakehouse"
import { Context, Effect, Layer, Scope } from "effect"
import { RunnerConfig } from "../RunnerConfig.ts"
import { inputFolder } from "../sandbox/SlotFolders.ts"

/** As for runs: a statement stops within a millisecond of an interrupt. */
const cancelGraceMs = 2_000
/** Holders of one process before it is replaced, against slow leaks. */
const recycleAfter = 100
const maxWaiting = 100

/**
 * A process of its own for maintenance: tables are looked after without a run waiting for it. Started when the first table comes.
 */
export class MaintenanceSlots extends Context.Service<MaintenanceSlots, { readonly pool: Effect.Effect<SlotPool> }>()(
  "rat/runner/maintenance/MaintenanceSlots",
) {
  static readonly layer = Layer.effect(
    MaintenanceSlots,
    Effect.gen(function* () {
      const config = yield* RunnerConfig
      const pools = yield* SlotPools
      const scope = yield* Effect.scope
      const pool = yield* Effect.cached(
        pools
          .make({
            name: "maintenance",
            size: 1,
            maxWaiting,
            entry: new URL("./MaintenanceSlot.ts", import.meta.url),
            folder: config.slotFolder,
            memoryLimitBytes: config.memoryLimitBytes,
            spillLimitBytes: config.spillLimitBytes,
            threads: config.threads,
            standingFolders: [inputFolder],
            recycleAfter,
            cancelGraceMs,
          })
          .pipe(Scope.provide(scope)),
      )
      return MaintenanceSlots.of({ pool })
    }),
  )
}
