import { RunnerRpc, SlotHealth } from "@rat/domain"
import { Effect, Layer } from "effect"
import { claimRuns } from "./claim/Claimer.ts"
import { maintain } from "./maintenance/Maintain.ts"
import { MaintenanceSlots } from "./maintenance/MaintenanceSlots.ts"
import { Codes } from "./phase/Code.ts"
import { CheckSlots, RunnerSlots } from "./sandbox/RunnerSlots.ts"
import { validate } from "./template/Project.ts"
import { queueingOf } from "./template/Queueing.ts"

/** Answers of the runner role; needs its slots. */
const handlers = RunnerRpc.toLayer({
  Validate: validate,
  Queueing: ({ files }) => Effect.sync(() => files.map(queueingOf)),
  Maintain: maintain,
  Health: () => Effect.flatMap(RunnerSlots, (slots) => Effect.map(slots.stats, (stats) => new SlotHealth(stats))),
})

/**
 * A node that executes runs: claims them from `RunControl`, runs them in slot processes and answers `RunnerRpc`. Asks for
 * the lakehouse's services, `SlotPools`, `RunControl` and `RunnerConfig`.
 */
export const RunnerRole = {
  layer: Layer.merge(Layer.effectDiscard(claimRuns), handlers).pipe(
    Layer.provide(Layer.mergeAll(RunnerSlots.layer, CheckSlots.layer, MaintenanceSlots.layer, Codes.layer)),
  ),
}
