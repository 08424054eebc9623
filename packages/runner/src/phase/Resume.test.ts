import { assert, layer } from "@effect/vitest"
import { decodeCheckpoint, inputsOfCheckpoint, mainRef, type RunId } from "@rat/domain"
import { Catalog } from "@rat/lakehouse"
import { Effect } from "effect"
import { TestControl, type TestEnd, type TestPipeline } from "../claim/TestControl.ts"
import { type Step, steps, TestFaults } from "../claim/TestFaults.ts"
import { rowsOf } from "../claim/TestRows.ts"
import { testRunner } from "../claim/TestRunner.ts"

const succeeded = (end: TestEnd) => {
  assert.ok(end._tag === "Succeeded", JSON.stringify(end))
  return end.outcome
}

/** Appends what its landing zone holds, and says which watermark it was rendered with. */
const loading = (name: string): TestPipeline => ({
  name,
  files: {
    "pipeline.sql": `-- @merge_strategy: append_only
-- @watermark_column: id
select id, '{{ watermark_value }}' as seen from read_csv('{{ landing_zone('${name}') }}') where id > 0`,
    "tests/quality/fine.sql": "select * from {{ this }} where id < 0",
  },
})

const all = ["branch", "resolve", "execute", "write", "commit", "test"]
/** What is left to do for the attempt that follows one that ended here and whose reports had arrived. */
const left: { readonly [S in Step]: ReadonlyArray<string> } = {
  createBranch: all,
  branchHeld: all,
  readTable: all,
  putFile: all,
  fileStored: all,
  makeSnapshot: ["branch", "resolve", "commit", "test"],
  snapshotMade: ["branch", "resolve", "commit", "test"],
  lateCommit: ["branch", "resolve", "commit", "test"],
  commit: ["branch", "resolve", "commit", "test"],
  // The commit is found on the branch, whatever control has heard.
  committed: ["branch", "resolve", "test"],
}
const isResolved = (step: Step) => steps.indexOf(step) > steps.indexOf("readTable")

/** Longer than lines and checkpoints wait for company. */
const reported = Effect.sleep(300)

layer(testRunner({ settings: { slots: 2, qualityTimeoutSeconds: 30 } }), { excludeTestServices: true })(
  "An attempt that follows one that was killed",
  (it) => {
    /** Commits of a run on main. */
    const commitsOf = (runId: RunId) =>
      Effect.gen(function* () {
        const catalog = yield* Catalog
        const history = yield* catalog.history(mainRef, { limit: 500 })
        return history.filter((commit) => commit.runId === runId).length
      })

    /** A first run of its own, so that there is a watermark; then one that `fail` interferes with. */
    const begun = (pipeline: TestPipeline) =>
      Effect.gen(function* () {
        const control = yield* TestControl
        yield* control.upload(pipeline.name, "a.csv", "id\n1\n")
        succeeded(yield* control.run(pipeline))
        yield* control.upload(pipeline.name, "b.csv", "id\n2\n3\n")
      })

    /** Ends what is going on without a word, as a kill would: another attempt takes over. */
    const killed = (runId: () => RunId) =>
      Effect.suspend(() => Effect.flatMap(TestControl, (control) => control.expire(runId())))

    const outcomeOf = (step: Step, isReported: boolean) =>
      Effect.gen(function* () {
        const control = yield* TestControl
        const faults = yield* TestFaults
        const pipeline = loading(`${isReported ? "late" : "early"}_${step.toLowerCase()}`)
        yield* begun(pipeline)
        let runId: RunId | undefined
        const kill = Effect.gen(function* () {
          if (isReported) yield* reported
          // What comes in now is for the next run.
          yield* control.upload(pipeline.name, "c.csv", "id\n4\n")
          yield* control.expire(runId!)
          if (step !== "lateCommit") yield* Effect.never
        })
        faults.once(step, kill)
        runId = yield* control.submit(pipeline)
        const outcome = succeeded(yield* control.end(runId))
        assert.strictEqual(control.attempts(runId), 2)
        assert.strictEqual(yield* commitsOf(runId), 1)
        return { runId, outcome, rows: yield* rowsOf(`bronze.${pipeline.name}`, "id, seen") }
      })

    for (const step of steps) {
      it.effect(`at ${step}, and reported before, does what is left, with the same inputs`, () =>
        Effect.gen(function* () {
          const { outcome, rows } = yield* outcomeOf(step, true)
          const phases = outcome.phases.map(({ name }) => name)
          // A commit that is on its way arrives before the next attempt takes the branch, or is refused.
          if (step === "lateCommit" && !phases.includes("commit")) assert.deepStrictEqual(phases, left.committed)
          else assert.deepStrictEqual(phases, left[step])
          // `readTable` and those before it come before the zone is listed.
          const files = isResolved(step) ? ["a.csv", "b.csv"] : ["a.csv", "b.csv", "c.csv"]
          assert.deepStrictEqual(outcome.landingFileIds, files)
          const ids = files.flatMap((name) => (name === "a.csv" ? [1] : name === "b.csv" ? [2, 3] : [4]))
          assert.strictEqual(outcome.rowsWritten, ids.length)
          assert.deepStrictEqual(rows, [
            ["1", "1"],
            ["1", "none"],
            ...ids.filter((id) => id > 1).map((id) => [String(id), "1"]),
          ])
        }),
      )

      it.effect(`at ${step}, and reported nothing, publishes the rows of the files that it says it read, once`, () =>
        Effect.gen(function* () {
          const { outcome, rows } = yield* outcomeOf(step, false)
          const ids = outcome.landingFileIds.flatMap((name) =>
            name === "a.csv" ? [1] : name === "b.csv" ? [2, 3] : [4],
          )
          assert.includeMembers(ids, [1, 2, 3])
          assert.strictEqual(outcome.rowsWritten, ids.length)
          assert.deepStrictEqual(rows, [
            ["1", "1"],
            ["1", "none"],
            ...ids.filter((id) => id > 1).map((id) => [String(id), "1"]),
          ])
        }),
      )
    }

    it.effect("right before its end only publishes, without a slot", () =>
      Effect.gen(function* () {
        const control = yield* TestControl
        const pipeline = loading("publishing")
        yield* begun(pipeline)
        const runId = yield* control.submit(pipeline)
        control.beforePublish(
          runId,
          Effect.andThen(
            killed(() => runId),
            Effect.never,
          ).pipe(Effect.provideService(TestControl, control)),
        )
        const outcome = succeeded(yield* control.end(runId))
        assert.deepStrictEqual(
          outcome.phases.map(({ name }) => name),
          ["branch", "resolve"],
        )
        assert.deepStrictEqual(
          outcome.quality.map(({ name, status }) => [name, status]),
          [["fine", "passed"]],
        )
        assert.strictEqual(yield* commitsOf(runId), 1)
        assert.deepStrictEqual(yield* rowsOf("bronze.publishing", "count(*)"), [["4"]])
      }),
    )

    it.effect("does it all again when the branch is gone, with the files and the start of the first", () =>
      Effect.gen(function* () {
        const control = yield* TestControl
        const catalog = yield* Catalog
        const pipeline = loading("branchless")
        yield* begun(pipeline)
        const runId = yield* control.submit(pipeline)
        control.beforePublish(
          runId,
          Effect.gen(function* () {
            const { branch } = decodeCheckpoint(control.checkpoint(runId))!
            yield* catalog.deleteRef(branch as typeof mainRef)
            yield* control.upload(pipeline.name, "c.csv", "id\n4\n")
            yield* control.expire(runId)
            return yield* Effect.never
          }).pipe(Effect.orDie),
        )
        const outcome = succeeded(yield* control.end(runId))
        assert.deepStrictEqual(outcome.landingFileIds, ["a.csv", "b.csv"])
        assert.strictEqual(yield* commitsOf(runId), 1)
        assert.deepStrictEqual(yield* rowsOf("bronze.branchless", "count(*)"), [["4"]])
      }),
    )

    it.effect(
      "executes again after a conflict with the files of the first round and the watermark of what main is now",
      () =>
        Effect.gen(function* () {
          const control = yield* TestControl
          const pipeline = loading("conflicting")
          yield* begun(pipeline)
          const runId = yield* control.submit(pipeline)
          const replaced = control.run({
            name: pipeline.name,
            files: { "pipeline.sql": "select 100::bigint as id, 'hand' as seen" },
          })
          const kill = Effect.gen(function* () {
            // In the second round, when that is reported.
            yield* reported
            yield* control.expire(runId)
            yield* Effect.never
          })
          control.beforePublish(
            runId,
            Effect.gen(function* () {
              succeeded(yield* replaced)
              yield* control.upload(pipeline.name, "c.csv", "id\n4\n")
              control.beforePublish(runId, kill)
            }),
          )
          const outcome = succeeded(yield* control.end(runId))
          assert.deepStrictEqual(outcome.landingFileIds, ["a.csv", "b.csv"])
          assert.deepStrictEqual(
            outcome.phases.map(({ name }) => name),
            ["branch", "resolve"],
          )
          assert.strictEqual(yield* commitsOf(runId), 1)
          assert.deepStrictEqual(yield* rowsOf("bronze.conflicting", "id, seen"), [
            ["1", "100"],
            ["2", "100"],
            ["3", "100"],
            ["100", "hand"],
          ])
        }),
    )

    for (const isResumed of [true, false]) {
      it.effect(
        `${isResumed ? "goes on with" : "repeats"} a run that was cancelled after its commit with the same files, on a branch of its own`,
        () =>
          Effect.gen(function* () {
            const control = yield* TestControl
            const faults = yield* TestFaults
            const pipeline = loading(isResumed ? "resumed" : "repeated")
            yield* begun(pipeline)
            let first: RunId | undefined
            faults.once(
              "committed",
              Effect.suspend(() => Effect.andThen(reported, Effect.andThen(control.cancel(first!), Effect.never))),
            )
            first = yield* control.submit(pipeline)
            assert.strictEqual((yield* control.end(first))._tag, "Stopped")
            yield* control.upload(pipeline.name, "c.csv", "id\n4\n")
            const left = control.checkpoint(first)!
            const runId = yield* control.submit(pipeline, { checkpoint: isResumed ? left : inputsOfCheckpoint(left) })
            const outcome = succeeded(yield* control.end(runId))
            assert.deepStrictEqual(
              outcome.phases.map(({ name }) => name),
              isResumed ? ["branch", "resolve", "commit", "test"] : all,
            )
            assert.deepStrictEqual(outcome.landingFileIds, ["a.csv", "b.csv"])
            assert.deepStrictEqual([yield* commitsOf(first), yield* commitsOf(runId)], [0, 1])
            assert.deepStrictEqual(yield* rowsOf(`bronze.${pipeline.name}`, "id, seen"), [
              ["1", "1"],
              ["1", "none"],
              ["2", "1"],
              ["3", "1"],
            ])
          }),
      )
    }

    it.effect("a checkpoint of a version that this node does not know begins anew", () =>
      Effect.sync(() => {
        assert.isNull(decodeCheckpoint({ version: 2, branch: "run-x", steps: [] }))
        assert.isNull(decodeCheckpoint(null))
        assert.isNull(decodeCheckpoint("x"))
      }),
    )
  },
)
