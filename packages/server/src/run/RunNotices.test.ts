import type { PgClient } from "@effect/sql-pg"
import { assert, it } from "@effect/vitest"
import type { RunId, RunnerSignal } from "@rat/domain"
import { TestPostgres } from "@rat/lakehouse"
import { Context, Effect, Layer, Queue, Stream } from "effect"
import type { SqlClient } from "effect/sql"
import { RunHub, type RunNews } from "./RunHub.ts"
import { RunNotices } from "./RunNotices.ts"

const runId = "01a2109c-4fca-724a-b1c5-831834c39bc2" as RunId

/** The hub of one node of several on the same Postgres. */
const node = (postgres: Context.Context<PgClient.PgClient | SqlClient.SqlClient>) =>
  Effect.map(
    Layer.build(
      RunNotices.layer.pipe(
        Layer.provideMerge(Layer.fresh(RunHub.layer)),
        Layer.provide(Layer.succeedContext(postgres)),
      ),
    ),
    Context.get(RunHub),
  )

const signalsOf = (hub: RunHub["Service"], name: string) =>
  Effect.gen(function* () {
    const signals = yield* Queue.unbounded<RunnerSignal>()
    yield* hub.signals(name).pipe(
      Stream.runForEach((signal) => Queue.offer(signals, signal)),
      Effect.forkScoped,
    )
    yield* Queue.take(signals)
    return signals
  })

const within = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.orDie(Effect.timeout(effect, "5 seconds"))

it.live("what happens on one node is heard on the others, and not again at home", () =>
  Effect.gen(function* () {
    const postgres = yield* Layer.build(TestPostgres.layer([]))
    const [here, there] = [yield* node(postgres), yield* node(postgres)]
    // Both listen once the first of them hears the other one.
    const probe = yield* there.follow(runId)
    yield* within(
      Effect.repeat(Effect.andThen(here.tell(runId, { _tag: "Reread" }), Effect.sleep("20 millis")), {
        until: () => Effect.map(Queue.size(probe), (size) => size > 0),
      }),
    )

    const mine = yield* signalsOf(here, "node-here")
    const theirs = yield* signalsOf(there, "node-there")
    const news: Queue.Dequeue<RunNews> = yield* there.follow(runId)
    const home = yield* here.follow(runId)

    yield* here.wake
    assert.deepStrictEqual(yield* within(Queue.take(theirs)), { _tag: "Wake" })
    assert.deepStrictEqual(yield* within(Queue.take(mine)), { _tag: "Wake" })

    yield* here.cancel("node-there", runId)
    assert.deepStrictEqual(yield* within(Queue.take(theirs)), { _tag: "Cancel", runId })

    yield* here.tell(runId, { _tag: "Status", status: "running" })
    assert.deepStrictEqual(yield* within(Queue.take(news)), { _tag: "Reread" })

    // More than fits into one notice: still nobody misses anything.
    for (let index = 0; index < 300; index++) {
      const other = `01a2109c-4fca-724a-b1c5-${String(index).padStart(12, "0")}` as RunId
      yield* here.tell(other, { _tag: "Status", status: "running" })
      yield* here.cancel("node-there", other)
    }
    assert.deepStrictEqual(yield* within(Queue.take(news)), { _tag: "Reread" })
    const cancelled = new Set<string>()
    while (cancelled.size < 300) {
      const signal = yield* within(Queue.take(theirs))
      if (signal._tag === "Cancel") cancelled.add(signal.runId)
    }
    assert.deepStrictEqual(yield* Queue.clear(mine), [])
    assert.deepStrictEqual(yield* Queue.clear(home), [{ _tag: "Status", status: "running" }])
  }).pipe(Effect.scoped),
)
