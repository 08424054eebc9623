import { assert, layer } from "@effect/vitest"
import { mainRef, NamespaceName, PipelineName, RefName, type RunId, runBranch, TableKey } from "@rat/domain"
import { Catalog } from "@rat/lakehouse"
import { Duration, Effect } from "effect"
import { SqlClient } from "effect/sql"
import { TestControl, type TestPipeline } from "../claim/TestControl.ts"
import { type Step, steps, TestFaults } from "../claim/TestFaults.ts"
import { rowsOf } from "../claim/TestRows.ts"
import { testRunner } from "../claim/TestRunner.ts"

const appending = (name: string): TestPipeline => ({
  name,
  files: {
    "pipeline.sql": "-- @merge_strategy: append_only\nselect i from range(10) t(i)",
    "tests/quality/fine.sql": "select * from {{ this }} where i < 0",
  },
})
const tableOf = (name: string) =>
  new TableKey({ namespace: NamespaceName.make("default"), layer: "bronze", name: PipelineName.make(name) })

/** Stops this whole process, timers and connections included, as SIGSTOP would. */
const stopped = (ms: number) => Effect.sync(() => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms))

const commitsOf = (runId: RunId) =>
  Effect.gen(function* () {
    const catalog = yield* Catalog
    return (yield* catalog.history(mainRef, { limit: 500 })).filter((commit) => commit.runId === runId).length
  })

layer(testRunner({ settings: { slots: 2 }, lease: Duration.millis(300) }), { excludeTestServices: true })(
  "An attempt that was stopped and goes on after another one took its run",
  (it) => {
    for (const step of [...steps, "publish"] as const) {
      it.effect(`at ${step} changes nothing on the branch of the run, nor on main`, () =>
        Effect.gen(function* () {
          const control = yield* TestControl
          const faults = yield* TestFaults
          const catalog = yield* Catalog
          const pipeline = appending(`zombie_${step.toLowerCase()}`)
          assert.strictEqual((yield* control.run(pipeline))._tag, "Succeeded")
          const key = tableOf(pipeline.name)
          let runId: RunId | undefined
          let seen: string | null | undefined
          const overtaken = Effect.gen(function* () {
            const branch = RefName.make(runBranch(runId!))
            const fence = yield* control.steal(runId!)
            yield* catalog.holdBranch(branch, { from: mainRef, runId: runId!, fence })
            seen = (yield* catalog.table(branch, key))?.metadataLocation
            yield* stopped(400)
            // Its lease would be found gone, and itself interrupted, before the test has done what it came for.
          }).pipe(Effect.orDie, Effect.uninterruptible)
          runId = yield* control.submit(pipeline)
          if (step === "publish") control.beforePublish(runId, overtaken)
          else faults.once(step as Step, overtaken)
          while (seen === undefined) yield* Effect.sleep(5)
          yield* Effect.sleep(250)

          // As the newer attempt saw it: whatever the older one has tried meanwhile.
          const there = yield* catalog.table(RefName.make(runBranch(runId)), key)
          assert.strictEqual(there?.metadataLocation, seen)
          assert.deepStrictEqual(yield* rowsOf(`bronze.${pipeline.name}`, "count(*)"), [["10"]])

          yield* control.expire(runId)
          assert.strictEqual((yield* control.end(runId))._tag, "Succeeded")
          assert.deepStrictEqual(yield* rowsOf(`bronze.${pipeline.name}`, "count(*)"), [["20"]])
          assert.strictEqual(yield* commitsOf(runId), 1)
        }),
      )
    }

    it.effect("does not even ask for the commit when its lease ran out while it was stopped", () =>
      Effect.gen(function* () {
        const control = yield* TestControl
        const faults = yield* TestFaults
        const pipeline = appending("asleep")
        let runId: RunId | undefined
        let commits = 0
        faults.once(
          "commit",
          Effect.sync(() => void commits++),
        )
        faults.once(
          "fileStored",
          Effect.suspend(() => Effect.andThen(control.steal(runId!), stopped(400))),
        )
        runId = yield* control.submit(pipeline)
        while (control.attempts(runId) === 0) yield* Effect.sleep(5)
        yield* Effect.sleep(1_000)
        assert.strictEqual(commits, 0)
        yield* control.expire(runId)
        assert.strictEqual((yield* control.end(runId))._tag, "Succeeded")
        assert.deepStrictEqual(yield* rowsOf("bronze.asleep", "count(*)"), [["10"]])
      }),
    )
  },
)

layer(testRunner({ settings: { slots: 2 } }), { excludeTestServices: true })(
  "An attempt whose connections to Postgres are cut",
  (it) => {
    for (const step of steps) {
      it.effect(`at ${step} goes on with new ones`, () =>
        Effect.gen(function* () {
          const control = yield* TestControl
          const faults = yield* TestFaults
          const sql = yield* SqlClient.SqlClient
          const pipeline = appending(`cut_${step.toLowerCase()}`)
          faults.once(
            step,
            sql`
              select pg_terminate_backend(pid)
              from pg_stat_activity
              where datname = current_database() and pid <> pg_backend_pid()`.pipe(Effect.ignore),
          )
          const end = yield* control.run(pipeline)
          assert.strictEqual(end._tag, "Succeeded", JSON.stringify(end))
          assert.strictEqual(control.attempts(end.runId), 1)
          assert.deepStrictEqual(yield* rowsOf(`bronze.${pipeline.name}`, "count(*)"), [["10"]])
        }),
      )
    }
  },
)
