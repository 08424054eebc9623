import { readdirSync } from "node:fs"
import { getPriority } from "node:os"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { longNiceness, slotNiceness } from "./SlotNiceness.ts"
import { held, pidOf, until, withPool } from "./TestPool.ts"

const niceness = (pid: number) => [
  ...new Set(readdirSync(`/proc/${pid}/task`).map((task) => getPriority(Number(task)))),
]

describe.runIf(process.platform === "linux")("The niceness of slots", () => {
  it.live("threads of a slot go behind the server, and behind its neighbours while an operation takes long", () =>
    withPool({}, (pool) =>
      held(pool, (slot) =>
        Effect.gen(function* () {
          const pid = yield* pidOf(slot)
          assert.deepStrictEqual(niceness(pid), [slotNiceness])
          const long = yield* Effect.forkChild(slot.call("sleep", 600))
          yield* until(() => niceness(pid).includes(longNiceness))
          // The main thread hears of a cancel.
          assert.deepStrictEqual(niceness(pid).toSorted(), [longNiceness, slotNiceness].toSorted())
          assert.strictEqual(getPriority(pid), slotNiceness)
          yield* Fiber.join(long)
          // As root; others get a fresh process instead.
          if (process.getuid?.() === 0) assert.deepStrictEqual(niceness(pid), [slotNiceness])
          yield* slot.call("echo", "short")
          assert.notInclude(niceness(pid), 0)
        }),
      ),
    ),
  )
})
