import { assert, layer } from "@effect/vitest"
import {
  mainRef,
  NamespaceName,
  outcomeWithoutTable,
  PipelineCreate,
  PipelineName,
  RefName,
  RunOutcome,
  runBranch,
  TableKey,
} from "@rat/domain"
import { Catalog, Pg, PostgresCatalog } from "@rat/lakehouse"
import { Context, Effect, Exit, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { NamespaceRepository } from "../namespace/NamespaceRepository.ts"
import { PipelineRepository } from "../pipeline/PipelineRepository.ts"
import { RunRepository } from "./RunRepository.ts"
import { testRuns } from "./TestRuns.ts"

/** Where the process dies next, once. */
class Crash extends Context.Service<Crash, { at: "before the merge" | "after the merge" | "never" }>()("test/Crash") {}

/** A catalog that never joins our transaction, on sessions of its own, in whose calls the process may die. */
const elsewhere = Layer.effect(
  Catalog,
  Effect.gen(function* () {
    const crash = yield* Crash
    const own = yield* Catalog
    const dieAt = (point: typeof crash.at) =>
      Effect.suspend(() => {
        if (crash.at !== point) return Effect.void
        crash.at = "never"
        return Effect.die(new Error(point))
      })
    return Catalog.of({
      ...own,
      joinsTransactions: false,
      merge: (branch, options) =>
        dieAt("before the merge").pipe(
          Effect.andThen(own.merge(branch, options)),
          Effect.tap(() => dieAt("after the merge")),
        ),
    })
  }),
).pipe(Layer.provide(PostgresCatalog.layer), Layer.provide(Layer.fresh(Pg.layer)))

const testLayer = RunRepository.layer.pipe(
  Layer.provideMerge(Layer.mergeAll(PipelineRepository.layer, NamespaceRepository.layer, elsewhere)),
  Layer.provideMerge(Layer.sync(Crash, () => ({ at: "never" as const }))),
  Layer.provideMerge(testRuns({ maxPendingPerPipeline: 3, maxPendingPerNamespace: 8, maxLogLines: 6 })),
)

const pointer = (metadataLocation: string) => ({ metadataLocation, snapshotId: "1", rowCount: 1, sizeBytes: 1 })
const by = { message: "m", author: "t", runId: null }

let made = 0
/** A claimed run whose branch holds a new version of its table. */
const runWithBranch = Effect.gen(function* () {
  const runs = yield* RunRepository
  const catalog = yield* Catalog
  const namespace = NamespaceName.make(`saga-${made++}`)
  yield* (yield* NamespaceRepository).create(namespace, "")
  const pipeline = yield* (yield* PipelineRepository).create(
    new PipelineCreate({ namespace, layer: "silver", name: PipelineName.make("orders") }),
  )
  const { id } = yield* runs.submit({
    kind: "pipeline",
    namespace,
    pipelineId: pipeline.id,
    trigger: "manual",
    idempotencyKey: null,
    traceparent: null,
  })
  const [claimed] = yield* runs.claim("node-a", 1)
  assert.strictEqual(claimed?.lease.runId, id)
  const branch = RefName.make(runBranch(id))
  const key = new TableKey({ namespace, layer: "silver", name: pipeline.name })
  yield* catalog.createBranch(branch, { from: mainRef, runId: id })
  yield* catalog.commit(branch, { ...by, runId: id, changes: [{ key, expected: null, next: pointer("mine") }] })
  const outcome = new RunOutcome({ ...outcomeWithoutTable([]), branch, rowsWritten: 3, snapshotId: "1" })
  return { id, key, branch, lease: claimed!.lease, outcome }
})

const loseLease = (id: string) =>
  Effect.flatMap(
    SqlClient.SqlClient,
    (sql) => sql`update run set lease_expires_at = now() - interval '1 second' where id = ${id}`,
  )

const published = (id: string, key: TableKey) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const catalog = yield* Catalog
    const events = yield* sql<{ type: string }>`
      select type from outbox
      where type in ('table.published', 'run.succeeded', 'run_completed')
        and (payload->>'run_id' = ${id} or key = ${id})
      order by id`
    return {
      status: (yield* (yield* RunRepository).find(id as never)).status,
      location: (yield* catalog.table(mainRef, key))?.metadataLocation ?? null,
      commits: (yield* catalog.history(mainRef, { limit: 10, table: key })).length,
      published: events.filter(({ type }) => type === "table.published").length,
    }
  })
const once = { status: "success" as const, location: "mine", commits: 1, published: 1 }

layer(testLayer, { excludeTestServices: true })("A publish with a catalog outside of Postgres", (it) => {
  it.effect("happens once, also when it is repeated", () =>
    Effect.gen(function* () {
      const runs = yield* RunRepository
      const { id, key, lease, outcome } = yield* runWithBranch
      yield* runs.succeed(lease, outcome)
      yield* runs.succeed(lease, outcome)
      assert.deepStrictEqual(yield* published(id, key), once)
    }),
  )

  for (const point of ["before the merge", "after the merge"] as const) {
    it.effect(`whose process dies ${point} is finished by another, once, and nobody else takes the run meanwhile`, () =>
      Effect.gen(function* () {
        const runs = yield* RunRepository
        const crash = yield* Crash
        const { id, key, lease, outcome } = yield* runWithBranch
        crash.at = point
        assert.isTrue(Exit.isFailure(yield* Effect.exit(runs.succeed(lease, outcome))))
        assert.strictEqual(yield* runs.resumePublishes(), 0)
        yield* loseLease(id)
        assert.strictEqual(yield* runs.expireLeases(), 0)
        assert.strictEqual((yield* Effect.flip(runs.cancel(id)))._tag, "RunFinished")
        assert.deepStrictEqual(yield* runs.claim("node-b", 4), [])
        // Two nodes find it at the same time.
        yield* Effect.all([runs.resumePublishes(), runs.resumePublishes()], { concurrency: 2 })
        assert.deepStrictEqual(yield* published(id, key), once)
        assert.strictEqual(yield* runs.resumePublishes(), 0)
        // The old process wakes up and repeats its call.
        yield* runs.succeed(lease, outcome)
        assert.deepStrictEqual(yield* published(id, key), once)
      }),
    )
  }

  it.effect("that is refused when it is resumed leaves the run to its next attempt", () =>
    Effect.gen(function* () {
      const runs = yield* RunRepository
      const catalog = yield* Catalog
      const crash = yield* Crash
      const { id, key, lease, outcome } = yield* runWithBranch
      crash.at = "before the merge"
      yield* Effect.exit(runs.succeed(lease, outcome))
      yield* catalog.commit(mainRef, { ...by, changes: [{ key, expected: null, next: pointer("theirs") }] })
      yield* loseLease(id)
      yield* runs.resumePublishes()
      assert.strictEqual(yield* runs.expireLeases(), 1)
      const state = yield* published(id, key)
      assert.deepStrictEqual(state, { status: "pending" as const, location: "theirs", commits: 1, published: 0 })
    }),
  )
})
