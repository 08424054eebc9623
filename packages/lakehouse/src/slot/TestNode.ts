import { Effect, References } from "effect"
import { SlotPools } from "./SlotPool.ts"

/** A node with a pool of two slots, both at work; prints their process ids and waits to be killed. Test support only. */
const program = Effect.gen(function* () {
  const pools = yield* SlotPools
  const pool = yield* pools.make({
    name: "test",
    size: 2,
    maxWaiting: 2,
    entry: new URL("./TestSlot.ts", import.meta.url),
    folder: process.argv[2]!,
    memoryLimitBytes: 1e8,
    spillLimitBytes: 1e8,
    threads: 1,
    recycleAfter: 1000,
    cancelGraceMs: 1000,
  })
  const slots = [yield* pool.acquire, yield* pool.acquire]
  const pids = slots.map((slot) => slot.pid)
  // One waits as most do; one is in code that looks at nothing, its channel included.
  for (const [index, slot] of slots.entries())
    yield* Effect.forkScoped(slot.call(index === 0 ? "sleep" : "block", 60_000), { startImmediately: true })
  yield* Effect.sleep("100 millis")
  console.log(JSON.stringify(pids))
  yield* Effect.never
})

// Nothing but the ids on stdout.
await Effect.runPromise(
  program.pipe(
    Effect.scoped,
    Effect.provide(SlotPools.layer),
    Effect.provideService(References.MinimumLogLevel, "None"),
  ),
)
