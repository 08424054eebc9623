import { type Slot, SlotDied, type SlotPool } from "@rat/lakehouse"
import { Effect, Random, Semaphore, Stream } from "effect"

/** Slots in which statements only take time: mostly moments, sometimes half a minute, and sometimes their process dies. */
export const simSlots = (size: number): Effect.Effect<SlotPool> =>
  Effect.map(Semaphore.make(size), (permits) => {
    const slot = {
      id: "simulated",
      pid: 0,
      folder: "/nowhere",
      call: () =>
        Effect.gen(function* () {
          const luck = yield* Random.next
          const longest = luck < 0.7 ? 20 : luck < 0.95 ? 2_000 : 30_000
          yield* Effect.sleep(Math.ceil((yield* Random.next) * longest))
          if ((yield* Random.next) < 0.05) return yield* new SlotDied({ slot: "simulated", how: "SIGKILL" })
          return null
        }),
      stream: () => Stream.empty,
    } as unknown as Slot
    return {
      acquire: Effect.as(
        Effect.acquireRelease(permits.take(1), () => permits.release(1)),
        slot,
      ),
      stats: Effect.succeed({ size, free: size, waiting: 0, replaced: 0, wall: [], problem: null }),
    } as SlotPool
  })
