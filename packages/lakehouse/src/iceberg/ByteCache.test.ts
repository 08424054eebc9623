import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber } from "effect"
import * as fc from "fast-check"
import { ByteCache } from "./ByteCache.ts"

const reading = (value: number, bytes: number) => Effect.succeed({ value, bytes })

describe("ByteCache", () => {
  it("never holds more than its bytes and entries, and what was used last stays longest", () => {
    const step = fc.tuple(fc.integer({ min: 0, max: 9 }), fc.integer({ min: 1, max: 60 }))
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const cache = new ByteCache<number, never>({ entries: 4, bytes: 100 })
        /** Key and bytes, the least recently used first. */
        let model: Array<readonly [string, number]> = []
        for (const [key, bytes] of steps) {
          let isRead = false
          const read = Effect.suspend(() => {
            isRead = true
            return reading(key, bytes)
          })
          assert.strictEqual(
            Effect.runSync(
              cache.get(
                `${key}`,
                Effect.suspend(() => read),
              ),
            ),
            key,
          )
          const known = model.find(([name]) => name === `${key}`)
          assert.strictEqual(isRead, known === undefined)
          model = [...model.filter(([name]) => name !== `${key}`), known ?? [`${key}`, bytes]]
          const sum = () => model.reduce((total, [, size]) => total + size, 0)
          while (model.length > 4 || sum() > 100) model.shift()
          assert.strictEqual(cache.bytes, sum())
        }
      }),
    )
  })

  it.effect("what many want at once is read once, also when the first of them gives up", () =>
    Effect.gen(function* () {
      const cache = new ByteCache<number, string>({ entries: 4, bytes: 100 })
      const gate = yield* Deferred.make<void>()
      let reads = 0
      const read = Effect.gen(function* () {
        reads++
        yield* Deferred.await(gate)
        return { value: 7, bytes: 1 }
      })
      const first = yield* Effect.forkChild(cache.get("a", read))
      yield* Effect.yieldNow
      const others = yield* Effect.forEach([1, 2, 3], () => Effect.forkChild(cache.get("a", read)))
      yield* Effect.yieldNow
      yield* Fiber.interrupt(first)
      yield* Deferred.succeed(gate, undefined)
      assert.deepStrictEqual(yield* Effect.forEach(others, Fiber.join), [7, 7, 7])
      assert.strictEqual(reads, 1)
      assert.strictEqual(cache.bytes, 1)
    }),
  )

  it.effect("a failure is told to all who wait, and the next one tries again", () =>
    Effect.gen(function* () {
      const cache = new ByteCache<number, string>({ entries: 4, bytes: 100 })
      const failing = Effect.andThen(Effect.yieldNow, Effect.fail("gone"))
      const outcomes = yield* Effect.all([cache.get("a", failing), cache.get("a", failing)].map(Effect.flip), {
        concurrency: "unbounded",
      })
      assert.deepStrictEqual(outcomes, ["gone", "gone"])
      assert.strictEqual(yield* cache.get("a", reading(3, 101)), 3)
      assert.strictEqual(cache.bytes, 0) // too large to be kept
      assert.strictEqual(yield* cache.get("a", reading(4, 1)), 4)
    }),
  )
})
