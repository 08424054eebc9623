import { assert, layer } from "@effect/vitest"
import { Duration, Effect } from "effect"
import { TestControl, type TestPipeline } from "./TestControl.ts"
import { killSlots, type Step, TestFaults } from "./TestFaults.ts"
import { rowsOf } from "./TestRows.ts"
import { testRunner } from "./TestRunner.ts"

const endless = "select count(*) as c from range(100000000000) t(i)"

/** A pipeline with a test that needs the slot in its last phase. */
const appending = (name: string): TestPipeline => ({
  name,
  files: {
    "pipeline.sql": "-- @merge_strategy: append_only\nselect i from range(10) t(i)",
    "tests/quality/fine.sql": "select * from {{ this }} where i < 0",
  },
})

const steps: ReadonlyArray<Step> = ["createBranch", "readTable", "putFile", "commit", "committed"]

/** Waits until a line of the run's log contains the text. */
const untilLogged = (runId: Parameters<TestControl["Service"]["logs"]>[0], text: string) =>
  Effect.gen(function* () {
    const control = yield* TestControl
    while (!control.logs(runId).some(({ message }) => message.includes(text))) yield* Effect.sleep(5)
  })

layer(testRunner({ settings: { slots: 2, qualityTimeoutSeconds: 30 } }), { excludeTestServices: true })(
  "A runner",
  (it) => {
    /** Time from the cancel to the end; the least of three, as other work on this machine only adds to it. */
    const cancelTime = (pipeline: TestPipeline, line: string) =>
      Effect.gen(function* () {
        const control = yield* TestControl
        const times: Array<number> = []
        for (let round = 0; round < 3; round++) {
          const runId = yield* control.submit(pipeline)
          yield* untilLogged(runId, line)
          yield* Effect.sleep(100)
          const [took, end] = yield* Effect.timed(Effect.andThen(control.cancel(runId), control.end(runId)))
          assert.strictEqual(end._tag, "Stopped")
          assert.strictEqual(control.logs(runId).at(-1)?.message, "Run cancelled by user")
          times.push(Duration.toMillis(took))
        }
        return Math.min(...times)
      })

    it.effect("stops a statement within 200 ms of the cancel, and its slot goes on", () =>
      Effect.gen(function* () {
        const control = yield* TestControl
        const took = yield* cancelTime({ name: "endless", files: { "pipeline.sql": endless } }, "Detected sql pipeline")
        assert.isBelow(took, 200)
        assert.strictEqual((yield* control.run(appending("after_cancel")))._tag, "Succeeded")
      }),
    )

    it.effect("stops a quality test within 200 ms of the cancel", () =>
      Effect.gen(function* () {
        const took = yield* cancelTime(
          { name: "slowtest", files: { "pipeline.sql": "select 1 as a", "tests/quality/slow.sql": endless } },
          "Found 1 quality test",
        )
        assert.isBelow(took, 200)
        assert.isNull(yield* rowsOf("bronze.slowtest", "*"))
      }),
    )

    for (const step of steps) {
      it.effect(`stops a run that is cancelled at ${step}, and publishes nothing of it`, () =>
        Effect.gen(function* () {
          const control = yield* TestControl
          const faults = yield* TestFaults
          let runId: Parameters<typeof control.cancel>[0] | undefined
          faults.once(
            step,
            Effect.suspend(() => Effect.andThen(control.cancel(runId!), Effect.never)),
          )
          runId = yield* control.submit(appending(`cancel_${step.toLowerCase()}`))
          const end = yield* control.end(runId)
          assert.strictEqual(end._tag, "Stopped")
          assert.isNull(yield* rowsOf(`bronze.cancel_${step.toLowerCase()}`, "*"))
        }),
      )

      it.effect(`that takes over from an attempt that stopped at ${step} doubles no row`, () =>
        Effect.gen(function* () {
          const control = yield* TestControl
          const faults = yield* TestFaults
          const pipeline = appending(`again_${step.toLowerCase()}`)
          assert.strictEqual((yield* control.run(pipeline))._tag, "Succeeded")
          let runId: Parameters<typeof control.cancel>[0] | undefined
          faults.once(
            step,
            Effect.suspend(() => Effect.andThen(control.expire(runId!), Effect.never)),
          )
          runId = yield* control.submit(pipeline)
          assert.strictEqual((yield* control.end(runId))._tag, "Succeeded")
          assert.strictEqual(control.attempts(runId), 2)
          assert.deepStrictEqual(yield* rowsOf(`bronze.${pipeline.name}`, "count(*)"), [["20"]])
        }),
      )

      it.effect(`loses nothing but this attempt when its slot is killed at ${step}`, () =>
        Effect.gen(function* () {
          const control = yield* TestControl
          const faults = yield* TestFaults
          const pipeline = appending(`killed_${step.toLowerCase()}`)
          faults.once(step, Effect.andThen(killSlots, Effect.sleep(50)))
          const end = yield* control.run(pipeline)
          if (step === "createBranch" || step === "readTable") {
            // Nothing had been executed: another slot takes over.
            assert.strictEqual(end._tag, "Succeeded", JSON.stringify(end))
          } else {
            assert.ok(end._tag === "Failed")
            assert.strictEqual(end.failure.code, "slot.died")
            assert.isNull(yield* rowsOf(`bronze.${pipeline.name}`, "*"))
            assert.strictEqual((yield* control.run(pipeline))._tag, "Succeeded")
          }
          assert.deepStrictEqual(yield* rowsOf(`bronze.${pipeline.name}`, "count(*)"), [["10"]])
        }),
      )
    }

    it.effect("stops a run whose cancel is there before the run is, and goes on with its slots", () =>
      Effect.gen(function* () {
        const control = yield* TestControl
        // More often than there are slots, so that a slot that is not given back would be missed.
        for (let round = 0; round < 6; round++) {
          const runId = yield* control.submit(appending("early"))
          yield* control.cancel(runId)
          assert.strictEqual((yield* control.end(runId))._tag, "Stopped")
        }
        assert.strictEqual((yield* control.run(appending("after_early")))._tag, "Succeeded")
      }),
    )

    it.effect("survives the kill of a slot that executes a statement", () =>
      Effect.gen(function* () {
        const control = yield* TestControl
        const runId = yield* control.submit({ name: "endless", files: { "pipeline.sql": endless } })
        yield* untilLogged(runId, "Detected sql pipeline")
        yield* Effect.sleep(50)
        yield* killSlots
        const end = yield* control.end(runId)
        assert.ok(end._tag === "Failed")
        assert.strictEqual(end.failure.code, "slot.died")
        assert.strictEqual(end.failure.phase, "execute")
        assert.match(end.failure.error, /ended unexpectedly.*Run it again/)
        assert.strictEqual((yield* control.run(appending("after_kill")))._tag, "Succeeded")
      }),
    )

    it.effect("survives the kill of a slot that executes a quality test", () =>
      Effect.gen(function* () {
        const control = yield* TestControl
        const runId = yield* control.submit({
          name: "killedtest",
          files: { "pipeline.sql": "select 1 as a", "tests/quality/slow.sql": endless },
        })
        yield* untilLogged(runId, "Found 1 quality test")
        yield* Effect.sleep(50)
        yield* killSlots
        const end = yield* control.end(runId)
        assert.ok(end._tag === "Failed")
        assert.deepStrictEqual([end.failure.code, end.failure.phase], ["slot.died", "test"])
        assert.isNull(yield* rowsOf("bronze.killedtest", "*"))
      }),
    )

    it.effect("that lost a run right before its end does not publish it, and the next attempt does so once", () =>
      Effect.gen(function* () {
        const control = yield* TestControl
        const pipeline = appending("late")
        const runId = yield* control.submit(pipeline)
        // Control has the call, but the lease is gone by the time it looks.
        control.beforePublish(runId, control.expire(runId))
        const end = yield* control.end(runId)
        assert.strictEqual(end._tag, "Succeeded")
        assert.deepStrictEqual(yield* rowsOf("bronze.late", "count(*)"), [["10"]])
      }),
    )

    it.effect("replaces the commit of an older attempt that arrives late", () =>
      Effect.gen(function* () {
        const control = yield* TestControl
        const faults = yield* TestFaults
        const pipeline = appending("zombie")
        assert.strictEqual((yield* control.run(pipeline))._tag, "Succeeded")
        let runId: Parameters<typeof control.cancel>[0] | undefined
        // The first attempt does not hear that it is over and commits while the second one is at work.
        faults.once(
          "lateCommit",
          Effect.suspend(() => Effect.andThen(control.expire(runId!), Effect.sleep(20))),
        )
        runId = yield* control.submit(pipeline)
        assert.strictEqual((yield* control.end(runId))._tag, "Succeeded")
        assert.deepStrictEqual(yield* rowsOf("bronze.zombie", "count(*)"), [["20"]])
      }),
    )

    it.effect("claims nothing while there is nothing to do", () =>
      Effect.gen(function* () {
        const control = yield* TestControl
        yield* Effect.sleep(100)
        const before = control.calls.length
        yield* Effect.sleep(500)
        assert.deepStrictEqual(control.calls.slice(before), [])
      }),
    )

    it.effect("gives back what it claimed ahead of a free slot when the slots turn out to be taken for long", () =>
      Effect.gen(function* () {
        const control = yield* TestControl
        const noop = control.submit({ name: "noop", files: {} }, { kind: "noop" })
        // Quick runs: from now on it claims ahead.
        for (const runId of yield* Effect.replicateEffect(noop, 40)) {
          assert.strictEqual((yield* control.end(runId))._tag, "Succeeded")
        }
        const long = yield* Effect.forEach(["long_a", "long_b"], (name) =>
          control.submit({ name, files: { "pipeline.sql": endless } }),
        )
        for (const runId of long) yield* untilLogged(runId, "Detected sql pipeline")
        const behind = yield* Effect.replicateEffect(noop, 3)
        yield* Effect.sleep(800)
        const released = control.calls.filter((call) => call === "Release").length
        assert.isAtLeast(released, 1)
        assert.isAtMost(released, 4)
        // Nothing of them was executed, and nothing is claimed ahead any more.
        yield* Effect.sleep(400)
        assert.strictEqual(control.calls.filter((call) => call === "Release").length, released)
        yield* Effect.forEach(long, control.cancel)
        for (const runId of behind) assert.strictEqual((yield* control.end(runId))._tag, "Succeeded")
      }),
    )

    it.effect("executes more runs than it has slots, each once", () =>
      Effect.gen(function* () {
        const control = yield* TestControl
        const runIds = yield* Effect.forEach(
          Array.from({ length: 12 }, (_, i) => i),
          (i) => control.submit(appending(`many_${i}`)),
        )
        for (const runId of runIds) assert.strictEqual((yield* control.end(runId))._tag, "Succeeded")
        assert.deepStrictEqual(yield* rowsOf("bronze.many_11", "count(*)"), [["10"]])
      }),
    )
  },
)

layer(testRunner({ settings: { slots: 2 }, lease: Duration.millis(300) }), { excludeTestServices: true })(
  "The lease of a run",
  (it) => {
    it.effect("is renewed for as long as the run takes, and not any longer", () =>
      Effect.gen(function* () {
        const control = yield* TestControl
        const runId = yield* control.submit({
          name: "slow",
          files: { "pipeline.sql": "-- @timeout_seconds: 1\nselect count(*) as c from range(100000000000) t(i)" },
        })
        const end = yield* control.end(runId)
        assert.strictEqual(end._tag, "Failed")
        assert.isAtLeast(control.calls.filter((call) => call === "Renew").length, 5)
        yield* Effect.sleep(300)
        const before = control.calls.filter((call) => call === "Renew").length
        yield* Effect.sleep(300)
        assert.strictEqual(control.calls.filter((call) => call === "Renew").length, before)
      }),
    )
  },
)
