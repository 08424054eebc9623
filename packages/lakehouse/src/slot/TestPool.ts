import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect, type Scope } from "effect"
import { type Slot, type SlotPool, type SlotPoolOptions, SlotPools } from "./SlotPool.ts"

/** A pool in a folder of its own, for one test: one slot without an engine, and no limits. Test support only. */
export const withPool = <A, E>(
  options: Partial<SlotPoolOptions>,
  use: (pool: SlotPool, folder: string) => Effect.Effect<A, E, Scope.Scope>,
) =>
  Effect.gen(function* () {
    const folder = yield* Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(join(tmpdir(), "rat-pool-"))),
      (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true })),
    )
    const pools = yield* SlotPools
    const pool = yield* pools.make({
      name: "test",
      size: 1,
      maxWaiting: 10,
      entry: new URL("./TestSlot.ts", import.meta.url),
      folder,
      memoryLimitBytes: 1e8,
      spillLimitBytes: 1e8,
      threads: 1,
      recycleAfter: 1_000_000,
      cancelGraceMs: 300,
      ...options,
    })
    return yield* use(pool, folder)
  }).pipe(Effect.scoped, Effect.provide(SlotPools.layer))

export const held = <A, E, R>(pool: SlotPool, use: (slot: Slot) => Effect.Effect<A, E, R>) =>
  Effect.scoped(Effect.flatMap(pool.acquire, use))

/** As this process sees it; behind the wall a slot knows another one. */
export const pidOf = (slot: Slot) => Effect.as(slot.call("echo", null), slot.pid as number)

export const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

export const until = (condition: () => boolean) =>
  Effect.gen(function* () {
    while (!condition()) yield* Effect.sleep(5)
  }).pipe(Effect.timeout("10 seconds"))
