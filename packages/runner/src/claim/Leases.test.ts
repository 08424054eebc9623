import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, layer } from "@effect/vitest"
import type { RunId } from "@rat/domain"
import { catalogMigrations, FileStore, PostgresCatalog, TestPostgres } from "@rat/lakehouse"
import { Duration, Effect, Fiber, Layer } from "effect"
import { makeLeases } from "./Leases.ts"
import { RunControl } from "./RunControl.ts"
import { TestControl, testControl } from "./TestControl.ts"

const store = Layer.unwrap(
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(join(tmpdir(), "rat-leases-"))),
      (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true })),
    ),
    (root) => FileStore.layer({ root }),
  ),
)

const control = testControl(Duration.millis(300)).pipe(
  Layer.provide([PostgresCatalog.layer.pipe(Layer.provide(TestPostgres.layer(catalogMigrations))), store]),
)

layer(control, { excludeTestServices: true })("The leases of a node", (it) => {
  it.effect("are kept when an older lease of the same run and attempt, which was given back, is put away late", () =>
    Effect.gen(function* () {
      const test = yield* TestControl
      const control = yield* RunControl
      const lost: Array<RunId> = []
      const leases = yield* makeLeases({ control, lost: (runId) => Effect.sync(() => lost.push(runId)) })
      yield* test.submit({ name: "noop", files: {} }, { kind: "noop" })
      const claim = Effect.map(control.Claim({ node: "test", limit: 1 }), ([claimed]) => claimed!.lease)

      const older = yield* claim
      yield* leases.hold(older)
      yield* control.Release({ lease: older })
      const newer = yield* claim
      assert.strictEqual(newer.attempt, older.attempt)
      yield* leases.hold(newer)
      leases.release(older)

      yield* Effect.forkScoped(leases.keep)
      yield* Effect.sleep(500)
      assert.isAtLeast(test.calls.filter((call) => call === "Renew").length, 2)
      assert.deepStrictEqual(lost, [])
    }),
  )

  it.effect("stay while control is away, and whoever needs one to be good waits until control says whether it is", () =>
    Effect.gen(function* () {
      const test = yield* TestControl
      const control = yield* RunControl
      const lost: Array<RunId> = []
      const leases = yield* makeLeases({ control, lost: (runId) => Effect.sync(() => lost.push(runId)) })
      const claim = Effect.gen(function* () {
        yield* test.submit({ name: "noop", files: {} }, { kind: "noop" })
        const [claimed] = yield* control.Claim({ node: "test", limit: 1 })
        yield* leases.hold(claimed!.lease)
        return claimed!.lease
      })
      const [kept, stolen] = [yield* claim, yield* claim]
      yield* Effect.forkScoped(leases.keep)
      yield* leases.confirm(kept)

      test.away(true)
      yield* test.steal(stolen.runId)
      // Three times the length of a lease.
      yield* Effect.sleep(900)
      assert.deepStrictEqual(lost, [])
      const waiting = yield* Effect.forkChild(
        Effect.all([leases.confirm(kept), leases.confirm(stolen)].map(Effect.result), { concurrency: "unbounded" }),
      )
      yield* Effect.sleep(300)
      assert.isUndefined(waiting.pollUnsafe())
      test.away(false)
      const answers = yield* Fiber.join(waiting)
      assert.deepStrictEqual(
        answers.map(({ _tag }) => _tag),
        ["Success", "Failure"],
      )
      assert.deepStrictEqual(lost, [stolen.runId])
    }),
  )
})
