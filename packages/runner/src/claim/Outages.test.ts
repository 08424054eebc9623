import { assert, layer } from "@effect/vitest"
import { decodeCheckpoint, type RunId } from "@rat/domain"
import { Duration, Effect, Exit, Layer, Scope } from "effect"
import { RunnerRole } from "../RunnerRole.ts"
import { TestControl, type TestPipeline } from "./TestControl.ts"
import { type Step, steps, TestFaults } from "./TestFaults.ts"
import { rowsOf } from "./TestRows.ts"
import { testGround, testRunner } from "./TestRunner.ts"

const appending = (name: string, settings = ""): TestPipeline => ({
  name,
  files: {
    "pipeline.sql": `-- @merge_strategy: append_only\n${settings}select i from range(10) t(i)`,
    "tests/quality/fine.sql": "select * from {{ this }} where i < 0",
  },
})
const lease = Duration.millis(300)
/** Several times the length of a lease. */
const outage = 700

layer(testRunner({ settings: { slots: 2 }, lease }), { excludeTestServices: true })("A run", (it) => {
  const interrupted = (name: string, step: Step, away: (isAway: boolean) => Effect.Effect<void>) =>
    Effect.gen(function* () {
      const control = yield* TestControl
      const faults = yield* TestFaults
      // It comes back by itself; the step goes on at once and meets the outage.
      const begin = Effect.andThen(away(true), Effect.forkDetach(Effect.delay(away(false), outage)))
      faults.once(step, Effect.asVoid(begin))
      const [took, end] = yield* Effect.timed(control.run(appending(`${name}_${step.toLowerCase()}`))).pipe(
        Effect.ensuring(away(false)),
      )
      assert.strictEqual(end._tag, "Succeeded", JSON.stringify(end))
      assert.strictEqual(control.attempts(end.runId), 1)
      assert.deepStrictEqual(yield* rowsOf(`bronze.${name}_${step.toLowerCase()}`, "count(*)"), [["10"]])
      return { runId: end.runId, took: Duration.toMillis(took) }
    })

  for (const step of steps) {
    it.effect(`waits for an object store that is away at ${step}, and says so`, () =>
      Effect.gen(function* () {
        const control = yield* TestControl
        const faults = yield* TestFaults
        const { runId } = yield* interrupted("store", step, (now) => Effect.sync(() => faults.away("store", now)))
        const lines = control.logs(runId).map(({ message }) => message)
        const waits = lines.filter((line) => line.includes("The run waits for it."))
        assert.isAtMost(waits.length, 2)
        if (["putFile", "makeSnapshot"].includes(step)) assert.match(waits[0]!, /object store could not be used/)
      }),
    )

    it.effect(`waits for a database that is away at ${step} for longer than its lease`, () =>
      Effect.gen(function* () {
        const control = yield* TestControl
        const faults = yield* TestFaults
        yield* interrupted("database", step, (now) =>
          Effect.sync(() => {
            faults.away("catalog", now)
            control.away(now)
          }),
        )
      }),
    )
  }

  it.effect("that waits for longer than it may take fails, and tells why in a way that control repeats it", () =>
    Effect.gen(function* () {
      const control = yield* TestControl
      const faults = yield* TestFaults
      faults.once(
        "putFile",
        Effect.sync(() => faults.away("store", true)),
      )
      const end = yield* control.run(appending("toolong", "-- @timeout_seconds: 1\n"))
      faults.away("store", false)
      assert.ok(end._tag === "Failed")
      assert.deepStrictEqual([end.failure.code, end.failure.retryable], ["store.unavailable", true])
    }),
  )

  it.effect("whose publish was done but not answered ends once, and well", () =>
    Effect.gen(function* () {
      const control = yield* TestControl
      const runId = yield* control.submit(appending("unanswered"))
      control.afterPublish(
        runId,
        Effect.andThen(
          Effect.sync(() => control.away(true)),
          Effect.forkDetach(
            Effect.delay(
              Effect.sync(() => control.away(false)),
              outage,
            ),
          ),
        ).pipe(Effect.andThen(Effect.die(new Error("the connection is gone")))),
      )
      assert.strictEqual((yield* control.end(runId))._tag, "Succeeded")
      yield* Effect.sleep(2 * outage)
      assert.strictEqual(control.attempts(runId), 1)
      assert.deepStrictEqual(yield* rowsOf("bronze.unanswered", "count(*)"), [["10"]])
    }),
  )
})

layer(testGround({ settings: { slots: 2, drainSeconds: 0 } }), { excludeTestServices: true })(
  "A node that stops",
  (it) => {
    /** A node of its own, until its scope closes. */
    const node = Effect.gen(function* () {
      const scope = yield* Scope.make()
      yield* Layer.buildWithScope(Layer.fresh(RunnerRole.layer), scope)
      return Scope.close(scope, Exit.void)
    })

    it.effect("hands its runs over with what they have done, and another node goes on at once", () =>
      Effect.gen(function* () {
        const control = yield* TestControl
        const faults = yield* TestFaults
        const stop = yield* node
        let isThere = false
        faults.once(
          "committed",
          Effect.andThen(
            Effect.sync(() => {
              isThere = true
            }),
            Effect.never,
          ),
        )
        const runId: RunId = yield* control.submit(appending("handed"))
        while (!isThere) yield* Effect.sleep(5)
        const [took] = yield* Effect.timed(stop)
        assert.isBelow(Duration.toMillis(took), 3_000)
        assert.strictEqual(control.calls.at(-1), "Release")
        assert.isNotNull(decodeCheckpoint(control.checkpoint(runId))?.written)
        assert.strictEqual(control.logs(runId).at(-1)?.message, "The node stops: the run goes on elsewhere")

        const stopOther = yield* node
        const end = yield* control.end(runId)
        assert.ok(end._tag === "Succeeded", JSON.stringify(end))
        assert.deepStrictEqual(
          end.outcome.phases.map(({ name }) => name),
          ["branch", "resolve", "test"],
        )
        assert.deepStrictEqual(yield* rowsOf("bronze.handed", "count(*)"), [["10"]])
        yield* stopOther
      }),
    )
  },
)
