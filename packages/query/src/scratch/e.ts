import { SlotPools } from "@rat/lakehouse"
import { Effect, Stream } from "effect"

const prog = Effect.scoped(
  Effect.gen(function* () {
    const pools = yield* SlotPools
    const pool = yield* pools.make({
      name: "t",
      size: 2,
      maxWaiting: 5,
      entry: new URL("./slot.ts", import.meta.url),
      folder: "/tmp/c/pool",
      memoryLimitBytes: 1e9,
      spillLimitBytes: 1e9,
      threads: 2,
      recycleAfter: 100,
      cancelGraceMs: 500,
    })
    const t0 = performance.now()
    for (let i = 0; i < 10; i++) {
      const t = performance.now()
      const r = yield* Effect.scoped(
        Effect.gen(function* () {
          const s = yield* pool.acquire
          const t1 = performance.now()
          const r = yield* s.call("run", "select 1")
          return [r, (performance.now() - t1).toFixed(2)]
        }),
      )
      console.log(r, (performance.now() - t).toFixed(2))
    }
    console.log(
      yield* Effect.scoped(
        Effect.gen(function* () {
          const s = yield* pool.acquire
          return yield* Stream.runCollect(s.stream<number>("stream", 20))
        }),
      ),
    )
    console.log(
      yield* Effect.scoped(
        Effect.gen(function* () {
          const s = yield* pool.acquire
          return yield* Stream.runCollect(s.stream<number>("stream", 1e9).pipe(Stream.take(3)))
        }),
      ),
    )
    console.log(
      yield* Effect.scoped(
        Effect.gen(function* () {
          const s = yield* pool.acquire
          return yield* s.call("crash", 0).pipe(Effect.flip)
        }),
      ),
    )
    const t3 = performance.now()
    console.log(
      yield* Effect.scoped(
        Effect.gen(function* () {
          const s = yield* pool.acquire
          return yield* s.call("run", "select count(*) from range(100000000000) a").pipe(Effect.timeoutOption(100))
        }),
      ),
      performance.now() - t3,
    )
    console.log(
      yield* Effect.scoped(
        Effect.gen(function* () {
          const s = yield* pool.acquire
          return yield* s.call("run", "select 1; select 2").pipe(Effect.flip)
        }),
      ),
    )
    console.log(
      yield* Effect.scoped(
        Effect.gen(function* () {
          const s = yield* pool.acquire
          return yield* s.call("run", "select\n nope").pipe(Effect.flip)
        }),
      ),
    )
    console.log(yield* pool.stats)
  }),
)
await Effect.runPromise(prog.pipe(Effect.provide(SlotPools.layer)))
