import { existsSync, readdirSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Scope } from "effect"
import type { SlotPool } from "./SlotPool.ts"
import { held, isAlive, pidOf, until, withPool } from "./TestPool.ts"

/** Numbers of the processes that there are, or were a moment ago. */
const numbers = (folder: string): ReadonlyArray<number> =>
  readdirSync(join(folder, readdirSync(folder)[0]!))
    .map(Number)
    .filter((number) => number > 0)
    .sort()

/** Holds a slot of the pool until `close`. */
const hold = Effect.fnUntraced(function* (pool: SlotPool) {
  const scope = yield* Scope.make()
  const slot = yield* Scope.provide(pool.acquire, scope)
  return { slot, close: Scope.close(scope, Exit.void) }
})

describe("Recycling", () => {
  it.live("a spare takes the place of a process that died, so that nobody waits for the next one's start", () =>
    withPool({ spares: 1 }, (pool, folder) =>
      Effect.gen(function* () {
        const { slot, close } = yield* hold(pool)
        yield* until(() => numbers(folder).length === 2)
        // It serves those that come later, not more of them at once.
        assert.deepInclude(yield* pool.stats, { size: 1, free: 0 })
        assert.isTrue(yield* Effect.map(Effect.timeoutOption(held(pool, pidOf), 300), ({ _tag }) => _tag === "None"))
        process.kill(slot.pid!, "SIGKILL")
        yield* Effect.ignore(slot.call("echo", null))
        yield* close
        // The third one is being started; the second was there already.
        assert.strictEqual(yield* held(pool, ({ id }) => Effect.succeed(id)), "test/2")
        yield* until(() => numbers(folder).join() === "2,3")
      }),
    ),
  )

  it.live("a process that holds on to memory is replaced by one that is ready before it goes", () =>
    withPool({ recycleGrowthBytes: 60 * 2 ** 20 }, (pool) =>
      Effect.gen(function* () {
        const keep = (megabytes: number) =>
          held(pool, (slot) => Effect.andThen(slot.call("keep", megabytes), pidOf(slot)))
        const first = yield* keep(10)
        assert.strictEqual(yield* keep(10), first)
        assert.strictEqual(yield* keep(80), first)
        // Until its successor is there it goes on serving: nobody waits.
        yield* until(() => !isAlive(first))
        assert.notStrictEqual(yield* held(pool, pidOf), first)
        assert.deepInclude(yield* pool.stats, { replaced: 1, problem: null })
      }),
    ),
  )

  it.live("a process is replaced when it has grown old, also one that nobody uses", () =>
    withPool({ recycleAfterMs: 1_500 }, (pool) =>
      Effect.gen(function* () {
        const first = yield* held(pool, pidOf)
        yield* until(() => !isAlive(first))
        assert.notStrictEqual(yield* held(pool, pidOf), first)
      }),
    ),
  )

  it.live("a process in which something unexpected happened serves nobody else", () =>
    withPool({}, (pool) =>
      Effect.gen(function* () {
        const first = yield* held(pool, (slot) => Effect.andThen(Effect.flip(slot.call("defect", null)), pidOf(slot)))
        assert.notStrictEqual(yield* held(pool, pidOf), first)
        yield* until(() => !isAlive(first))
        // What a holder did wrong is no reason.
        const second = yield* held(pool, (slot) => Effect.andThen(Effect.flip(slot.call("fail", null)), pidOf(slot)))
        assert.strictEqual(yield* held(pool, pidOf), second)
      }),
    ),
  )

  it.live("a pool on demand has no process before its first holder and none a while after its last", () =>
    withPool({ idleMs: 300 }, (pool, folder) =>
      Effect.gen(function* () {
        yield* Effect.sleep(400)
        assert.deepStrictEqual(numbers(folder), [])
        const first = yield* held(pool, pidOf)
        assert.strictEqual(yield* held(pool, pidOf), first)
        yield* until(() => !isAlive(first))
        yield* until(() => numbers(folder).length === 0)
        assert.notStrictEqual(yield* held(pool, pidOf), first)
      }),
    ),
  )

  it.live("who has waited for as long as the pool allows is told that it is busy, and the next one is not", () =>
    withPool({ maxWaitMs: 200 }, (pool) =>
      Effect.gen(function* () {
        yield* Effect.retry(held(pool, pidOf), { times: 50 }) // it has started
        const { close } = yield* hold(pool)
        assert.strictEqual((yield* Effect.flip(held(pool, pidOf)))._tag, "SlotsBusy")
        assert.deepInclude(yield* pool.stats, { waiting: 0 })
        yield* close
        assert.isTrue(isAlive(yield* held(pool, pidOf)))
      }),
    ),
  )

  it.live("the folder of a pool that was closed is gone", () =>
    Effect.gen(function* () {
      const left = yield* withPool({}, (pool, folder) =>
        Effect.as(held(pool, pidOf), join(folder, readdirSync(folder)[0]!)),
      )
      assert.isFalse(existsSync(left))
    }),
  )
})
