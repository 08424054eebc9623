import type { SlotPool } from "@rat/lakehouse"
import { Context, Effect, Layer } from "effect"
import { RunnerConfig, runnerLimitSettings } from "../RunnerConfig.ts"
import { onDemandSlot } from "../sandbox/OnDemandSlot.ts"

/** A process of its own for maintenance: tables are looked after without a run waiting for it. */
export class MaintenanceSlots extends Context.Service<MaintenanceSlots, SlotPool>()(
  "rat/runner/maintenance/MaintenanceSlots",
) {
  static readonly layer = Layer.effect(
    MaintenanceSlots,
    Effect.flatMap(RunnerConfig, ({ memoryLimitBytes, threads, limits }) =>
      onDemandSlot({
        name: "maintenance",
        entry: new URL("./MaintenanceSlot.ts", import.meta.url),
        memoryLimitBytes,
        threads,
        // A table of any size takes the time that it takes.
        limits: limits.memoryBytes === undefined ? {} : { memoryBytes: limits.memoryBytes },
        limitSettings: runnerLimitSettings,
      }),
    ),
  )
}
