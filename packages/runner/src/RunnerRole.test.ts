import { assert, it } from "@effect/vitest"
import { Effect, Exit, Layer, Scope } from "effect"
import { TestControl } from "./claim/TestControl.ts"
import { slotProcesses } from "./claim/TestFaults.ts"
import { testRunner } from "./claim/TestRunner.ts"

it.live("A node that stops lets its runs end, claims no more, and leaves no process behind", () =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    const context = yield* Layer.buildWithScope(testRunner({ settings: { slots: 1 } }), scope)
    yield* Effect.gen(function* () {
      const control = yield* TestControl
      const slow = {
        name: "slow",
        files: { "pipeline.sql": "select sum(i) as s from range(200000000) t(i)" },
      }
      const running = yield* control.submit(slow)
      while (control.attempts(running) === 0) yield* Effect.sleep(5)
      const waiting = yield* control.submit(slow)
      const [end] = yield* Effect.all([control.end(running), Scope.close(scope, Exit.void)], {
        concurrency: "unbounded",
      })
      assert.strictEqual(end._tag, "Succeeded")
      assert.strictEqual(control.attempts(waiting), 0)
      assert.deepStrictEqual(slotProcesses(), [])
    }).pipe(Effect.provide(context))
  }),
)
