import { Effect, Metric, type Scope } from "effect"
import { observed } from "../telemetry/Observed.ts"
import type { SlotPool } from "./SlotPool.ts"

const slots = Metric.gauge("rat_slots", {
  description: "Slot processes by pool and state; busy are also those that start",
})
const waiting = Metric.gauge("rat_slot_waiting", { description: "Callers that wait for a slot" })
const replaced = Metric.counter("rat_slot_replaced_total", {
  description: "Slot processes that were replaced: died, were killed, or had served long enough",
  incremental: true,
})

/** Shows the state of a pool while the scope lasts. */
export const observeSlots = Effect.fnUntraced(function* (
  name: string,
  pool: SlotPool,
): Effect.fn.Return<void, never, Scope.Scope> {
  const read = () => Effect.runSync(pool.stats)
  const labels = { pool: name }
  const ofState = (state: string) => Metric.withAttributes(slots, { ...labels, state })
  yield* observed(ofState("free"), () => ({ value: read().free }))
  yield* observed(ofState("busy"), () => {
    const { size, free } = read()
    return { value: size - free }
  })
  yield* observed(Metric.withAttributes(waiting, labels), () => ({ value: read().waiting }))
  yield* observed(Metric.withAttributes(replaced, labels), () => ({ count: read().replaced, incremental: true }))
})
