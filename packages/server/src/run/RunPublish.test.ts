import { assert, layer } from "@effect/vitest"
import {
  mainRef,
  NamespaceName,
  outcomeWithoutTable,
  PipelineCreate,
  PipelineName,
  RunOutcome,
  TableKey,
} from "@rat/domain"
import { Catalog } from "@rat/lakehouse"
import { Effect, Exit, Fiber, Layer, Random } from "effect"
import { SqlClient } from "effect/sql"
import { PipelineRepository } from "../pipeline/PipelineRepository.ts"
import { outlastOutage } from "../sql/SqlRetry.ts"
import { RunRepository } from "./RunRepository.ts"
import { onBranch, pointer, testRuns } from "./TestRuns.ts"

const namespace = NamespaceName.make("default")

/** Runs of as many pipelines, each with a version of its own table on its own branch. */
const runsReady = Effect.fnUntraced(function* (prefix: string, count: number) {
  const pipelines = yield* PipelineRepository
  return yield* Effect.forEach(
    Array.from({ length: count }, (_, index) => `${prefix}_${index}`),
    (text) =>
      Effect.gen(function* () {
        const name = PipelineName.make(text)
        const pipeline = yield* pipelines.create(new PipelineCreate({ namespace, layer: "silver", name }))
        const key = new TableKey({ namespace, layer: "silver", name })
        const { claimed, branch } = yield* onBranch(namespace, pipeline.id, key, null, `${text}/v1`)
        const outcome = new RunOutcome({ ...outcomeWithoutTable([]), branch, rowsWritten: 1 })
        return { key, lease: claimed.lease, outcome, location: `${text}/v1` }
      }),
  )
})

type Ready = Effect.Success<ReturnType<typeof runsReady>>[number]

const succeed = ({ lease, outcome }: Ready) => Effect.flatMap(RunRepository, (runs) => runs.succeed(lease, outcome))

/** What there is of a run after all: its status, what main has, and how often it was committed and told of. */
const traceOf = Effect.fnUntraced(function* ({ key, lease }: Ready) {
  const sql = yield* SqlClient.SqlClient
  const catalog = yield* Catalog
  const [row] = yield* sql<{ status: string; commits: number; published: number; ended: number }>`
    select
      (select status from run where id = ${lease.runId}) as status,
      (
        select count(*)::integer
        from catalog_commit c
        join catalog_ref r on r.id = c.ref_id and r.name = 'main'
        where c.run_id = ${lease.runId}
      ) as commits,
      (select count(*)::integer from outbox where key = ${String(key)} and type = 'table.published') as published,
      (select count(*)::integer from outbox where key = ${lease.runId} and type = 'run.succeeded') as ended`
  return { ...row, main: (yield* catalog.table(mainRef, key))?.metadataLocation ?? null }
})

const once = (ready: Ready) => ({ status: "succeeded", commits: 1, published: 1, ended: 1, main: ready.location })

/** Ends all other sessions of the pool, whatever they are doing. */
const endSessions = Effect.flatMap(
  SqlClient.SqlClient,
  (sql) => sql`
    select pg_terminate_backend(pid)
    from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid()`,
)

layer(
  RunRepository.layer.pipe(
    Layer.provideMerge(PipelineRepository.layer),
    Layer.provideMerge(testRuns({ leaseSeconds: 60, maxPendingPerNamespace: 1000 })),
  ),
  { excludeTestServices: true },
)("Runs that publish at the same time", (it) => {
  it.effect("share transactions, and each moves its own table once", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const ready = yield* runsReady("shared", 40)
      yield* Effect.forEach(ready, succeed, { concurrency: "unbounded" })
      for (const run of ready) assert.deepStrictEqual(yield* traceOf(run), once(run))
      // A row's xmin is the transaction that wrote it.
      const [{ transactions } = { transactions: 0 }] = yield* sql<{ transactions: number }>`
        select count(distinct xmin::text)::integer as transactions from run where status = 'succeeded'`
      assert.isAtMost(transactions, 8)
    }),
  )

  it.effect("are refused one by one: a conflict, a lost lease and a repeated call trouble nobody else", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const catalog = yield* Catalog
      const ready = yield* runsReady("mixed", 30)
      const [behind, lost] = [ready.slice(0, 5), ready.slice(5, 10)]
      for (const { key } of behind) {
        yield* catalog.commit(mainRef, {
          message: "m",
          author: "t",
          runId: null,
          changes: [{ key, expected: null, next: pointer("theirs") }],
        })
      }
      for (const { lease } of lost) yield* sql`update run set fencing_token = 99 where id = ${lease.runId}`
      const exits = yield* Effect.forEach([...ready, ready[29]!], (run) => Effect.result(succeed(run)), {
        concurrency: "unbounded",
      })
      const answers = exits.map((exit) => (exit._tag === "Success" ? "done" : exit.failure._tag))
      assert.deepStrictEqual(
        answers.slice(0, 5),
        Array.from({ length: 5 }, () => "PublishConflict"),
      )
      assert.deepStrictEqual(
        answers.slice(5, 10),
        Array.from({ length: 5 }, () => "LeaseLost"),
      )
      assert.deepStrictEqual(new Set(answers.slice(10)), new Set(["done"]))
      for (const run of ready.slice(10)) assert.deepStrictEqual(yield* traceOf(run), once(run))
      for (const run of ready.slice(0, 10)) {
        assert.deepInclude(yield* traceOf(run), { status: "running", commits: 0, published: 0, ended: 0 })
      }
    }),
  )

  it.effect("lose and double nothing when the session of their transaction is ended in the middle", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const ready = yield* runsReady("ended", 12)
      // Somebody else holds the last run, so that the others are locked and the transaction waits for that one.
      const last = ready.map(({ lease }) => lease.runId).sort()[11]!
      const holding = yield* sql`select from run where id = ${last} for update`.pipe(
        Effect.andThen(Effect.never),
        sql.withTransaction,
        Effect.forkChild,
      )
      const publishing = yield* Effect.forEach(ready, (run) => outlastOutage(succeed(run)), {
        concurrency: "unbounded",
      }).pipe(Effect.forkChild)
      for (;;) {
        const waiting =
          yield* sql`select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`
        if (waiting.length > 0) break
        yield* Effect.sleep("5 millis")
      }
      const held = ready.find(({ lease }) => lease.runId === last)!
      assert.deepInclude(yield* traceOf(held), { status: "running", commits: 0 })
      assert.isAtLeast((yield* endSessions).length, 2)
      yield* Effect.exit(Fiber.interrupt(holding))
      yield* Fiber.join(publishing)
      for (const run of ready) assert.deepStrictEqual(yield* traceOf(run), once(run))
    }),
  )

  it.effect(
    "lose and double nothing while all sessions are ended again and again",
    () =>
      Effect.gen(function* () {
        const ready = yield* runsReady("storm", 60)
        let killed = 0
        const storm = Effect.gen(function* () {
          yield* Effect.sleep(yield* Random.nextIntBetween(20, 90))
          const ended = yield* Effect.exit(endSessions)
          if (Exit.isSuccess(ended)) killed += ended.value.length
        }).pipe(Effect.repeat({ times: 30 }))
        const [exits] = yield* Effect.all(
          [
            Effect.forEach(
              ready,
              (run, index) => Effect.exit(Effect.andThen(Effect.sleep(index * 25), outlastOutage(succeed(run)))),
              { concurrency: "unbounded" },
            ),
            storm,
          ],
          { concurrency: 2 },
        )
        for (const exit of exits) assert.isTrue(Exit.isSuccess(exit), String(exit))
        assert.isAtLeast(killed, 1)
        // Sessions that the pool has not found dead yet may be among the first that are used.
        for (const run of ready) assert.deepStrictEqual(yield* outlastOutage(traceOf(run)), once(run))
      }),
    30_000,
  )
})
