import { assert, layer } from "@effect/vitest"
import type { Event } from "@rat/domain"
import { TestPostgres } from "@rat/lakehouse"
import { Deferred, Duration, Effect, Exit, Fiber, Layer, Scope, Stream } from "effect"
import { SqlClient } from "effect/sql"
import { migrations } from "../sql/migrations.ts"
import { EventLog } from "./EventLog.ts"
import { Outbox } from "./Outbox.ts"

const event = (key: string, n: number, type: Event["type"] = "run.queued") => ({
  key,
  type,
  namespace: "ns",
  payload: { n },
})
const append = (...events: ReadonlyArray<ReturnType<typeof event>>) =>
  Effect.flatMap(Outbox, (outbox) => outbox.append(events))
const numbers = (events: ReadonlyArray<Event>) => events.map(({ payload }) => (payload as { n: number }).n)

/** The first `count` events of a subscription that is live before this returns. */
const collect = (
  count: number,
  filter: { readonly key?: string; readonly after?: bigint; readonly types?: ReadonlyArray<Event["type"]> },
) =>
  Effect.gen(function* () {
    const log = yield* EventLog
    const after = filter.after ?? (yield* log.position)
    return yield* log.subscribe({ ...filter, after }).pipe(Stream.take(count), Stream.runCollect, Effect.forkChild)
  })

/** A node of its own: its own relay, hub and listener on the same database. */
const secondNode = Layer.fresh(EventLog.layer)

layer(EventLog.layer.pipe(Layer.provideMerge(TestPostgres.layer(migrations, { maxConnections: 25 }))), {
  excludeTestServices: true,
})("EventLog", (it) => {
  it.effect("a committed event arrives, with the next offset; the other columns are as appended", () =>
    Effect.gen(function* () {
      const log = yield* EventLog
      const before = yield* log.position
      const fiber = yield* collect(2, { key: "a" })
      yield* append(event("a", 1), event("other", 0), event("a", 2, "run.running"))
      const events = yield* Fiber.join(fiber)
      assert.deepStrictEqual(numbers(events), [1, 2])
      assert.deepInclude(events[1], { offset: before + 3n, key: "a", type: "run.running", namespace: "ns" })
      assert.deepStrictEqual(yield* log.read(before, 10, { key: "a" }), events)
    }),
  )

  it.effect("a transaction that is rolled back emits nothing, and leaves no gap in the offsets", () =>
    Effect.gen(function* () {
      const log = yield* EventLog
      const sql = yield* SqlClient.SqlClient
      const before = yield* log.position
      const fiber = yield* collect(1, { key: "b" })
      yield* append(event("b", 1)).pipe(Effect.andThen(Effect.fail("no")), sql.withTransaction, Effect.flip)
      yield* append(event("b", 2)).pipe(sql.withTransaction)
      const [only] = yield* Fiber.join(fiber)
      assert.deepStrictEqual([numbers([only!]), only!.offset], [[2], before + 1n])
    }),
  )

  it.effect("a subscriber reads what it missed from the log and goes on live, without a gap or a double", () =>
    Effect.gen(function* () {
      const log = yield* EventLog
      const before = yield* log.position
      const total = 3000
      const writer = yield* Effect.forEach(
        Array.from({ length: total / 10 }, (_, n) => n * 10),
        (n) => append(...Array.from({ length: 10 }, (_, i) => event("c", n + i))),
        { concurrency: 1 },
      ).pipe(Effect.forkChild)
      yield* Effect.sleep("50 millis")
      const early = yield* collect(total, { key: "c", after: before })
      // Slower than the writer by far: its queue overflows.
      const slow = yield* log.subscribe({ after: before }).pipe(
        Stream.filter((one) => one.key === "c"),
        Stream.tap(({ payload }) => ((payload as { n: number }).n === 100 ? Effect.sleep("1 second") : Effect.void)),
        Stream.take(total),
        Stream.runCollect,
        Effect.forkChild,
      )
      yield* Fiber.join(writer)
      const expected = Array.from({ length: total }, (_, n) => n)
      assert.deepStrictEqual(numbers(yield* Fiber.join(early)), expected)
      assert.deepStrictEqual(numbers(yield* Fiber.join(slow)), expected)
    }),
  )

  it.effect(
    "events of one key come in the order of the changes, with many writers on several connections and two nodes",
    () =>
      // Shows F-19
      Effect.gen(function* () {
        const log = yield* EventLog
        const sql = yield* SqlClient.SqlClient
        yield* sql`create table counter (key text primary key, n integer not null)`
        const keys = ["k0", "k1", "k2"]
        yield* Effect.forEach(keys, (key) => sql`insert into counter values (${key}, 0)`)
        const before = yield* log.position
        const each = 60
        const other = yield* Layer.build(secondNode)
        const change = (key: string) =>
          Effect.gen(function* () {
            const [row] = yield* sql<{ n: number }>`update counter set n = n + 1 where key = ${key} returning n`
            // Commits in another order than the outbox ids of other keys.
            yield* Effect.sleep(Duration.millis((row!.n * 7) % 5))
            yield* append(event(key, row!.n))
          }).pipe(sql.withTransaction)
        yield* Effect.forEach(
          Array.from({ length: each * keys.length }, (_, n) => n),
          (n) => (n % 2 === 0 ? change(keys[n % 3]!) : change(keys[n % 3]!).pipe(Effect.provide(other))),
          { concurrency: 12 },
        )
        for (const key of keys) {
          const events = yield* Fiber.join(yield* collect(each, { key, after: before }))
          assert.deepStrictEqual(
            numbers(events),
            Array.from({ length: each }, (_, n) => n + 1),
          )
        }
        const all = yield* log.read(before, 1000)
        assert.deepStrictEqual(
          all.map(({ offset }) => offset),
          all.map((_, n) => before + BigInt(n + 1)),
        )
      }).pipe(Effect.scoped),
  )

  it.effect("an event that was appended on another node arrives here without polling", () =>
    Effect.gen(function* () {
      const other = yield* Layer.build(secondNode)
      const fiber = yield* collect(1, { key: "d" })
      yield* append(event("d", 7)).pipe(Effect.provide(other))
      const [duration, events] = yield* Effect.timed(Fiber.join(fiber))
      assert.deepStrictEqual(numbers(events), [7])
      assert.isBelow(Duration.toMillis(duration), 1000)
    }).pipe(Effect.scoped),
  )

  it.effect("after its sessions were terminated, events of other nodes and consumers arrive again", () =>
    Effect.gen(function* () {
      const log = yield* EventLog
      const sql = yield* SqlClient.SqlClient
      const seen: Array<number> = []
      const all = yield* Deferred.make<void>()
      yield* log.consume(
        "survivor",
        (one) =>
          Effect.suspend(() => {
            seen.push(...numbers([one]))
            return seen.includes(4) ? Deferred.succeed(all, undefined) : Effect.void
          }),
        { key: "e", startAt: "oldest" },
      )
      const other = yield* Layer.build(secondNode)
      const fiber = yield* collect(4, { key: "e" })
      for (const n of [1, 2]) yield* append(event("e", n)).pipe(Effect.provide(other))
      yield* Effect.sleep("100 millis")
      yield* Effect.ignore(sql`
        select pg_terminate_backend(pid)
        from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid()`)
      for (const n of [3, 4]) {
        yield* append(event("e", n)).pipe(Effect.provide(other), Effect.retry({ times: 20 }))
      }
      assert.deepStrictEqual(numbers(yield* Fiber.join(fiber)), [1, 2, 3, 4])
      yield* Deferred.await(all)
      assert.deepStrictEqual([...new Set(seen)], [1, 2, 3, 4])
    }).pipe(Effect.scoped),
  )

  it.effect("a consumer that is killed and started again, on any node, sees every event in order", () =>
    // Shows F-19
    Effect.gen(function* () {
      const log = yield* EventLog
      const other = yield* Layer.build(secondNode)
      const handled: Array<number> = []
      const start = (target: EventLog["Service"], dieAt: number) =>
        Effect.gen(function* () {
          const reached = yield* Deferred.make<void>()
          const scope = yield* Scope.make()
          yield* target
            .consume(
              "killed",
              (one) =>
                Effect.suspend(() => {
                  const [n] = numbers([one])
                  if (n === dieAt) return Deferred.succeed(reached, undefined).pipe(Effect.andThen(Effect.never))
                  handled.push(n!)
                  return Effect.void
                }),
              { key: "f", startAt: "oldest" },
            )
            .pipe(Scope.provide(scope))
          return { reached: Deferred.await(reached), kill: Scope.close(scope, Exit.void) }
        })
      const first = yield* start(log, 5)
      for (let n = 1; n <= 10; n++) yield* append(event("f", n))
      yield* first.reached
      // Stands by until the first one's session is gone.
      const second = yield* start(yield* EventLog.pipe(Effect.provide(other)), 12)
      for (let n = 11; n <= 20; n++) yield* append(event("f", n))
      assert.deepStrictEqual(handled, [1, 2, 3, 4])
      yield* first.kill
      yield* second.reached
      yield* second.kill
      const third = yield* start(log, 20)
      yield* third.reached
      assert.deepStrictEqual(
        [...new Set(handled)],
        Array.from({ length: 19 }, (_, n) => n + 1),
      )
      yield* third.kill
    }).pipe(Effect.scoped),
  )

  it.effect("a failing handler is tried again before any later event", () =>
    Effect.gen(function* () {
      const log = yield* EventLog
      const calls: Array<number> = []
      const done = yield* Deferred.make<void>()
      yield* log.consume(
        "stubborn",
        (one) =>
          Effect.gen(function* () {
            const [n] = numbers([one])
            calls.push(n!)
            if (n === 1 && calls.length < 3) return yield* Effect.fail("not yet")
            if (n === 2) yield* Deferred.succeed(done, undefined)
          }),
        { key: "g", startAt: "oldest" },
      )
      yield* append(event("g", 1), event("g", 2))
      yield* Deferred.await(done)
      assert.deepStrictEqual(calls, [1, 1, 1, 2])
    }).pipe(Effect.scoped),
  )

  it.effect("old events are pruned, and those who ask for them continue with the oldest there is", () =>
    Effect.gen(function* () {
      const log = yield* EventLog
      const sql = yield* SqlClient.SqlClient
      yield* Fiber.join(
        yield* Effect.tap(collect(3, { key: "h" }), () => append(event("h", 1), event("h", 2), event("h", 3))),
      )
      const [first] = yield* log.read(0n, 1, { key: "h" })
      yield* sql`update event set at = now() - interval '8 days' where "offset" <= ${first!.offset + 1n}`
      const [none] = yield* sql<{ n: bigint }>`select event_prune(now() - interval '9 days', 1000000) as n`
      assert.strictEqual(none!.n, 0n)
      yield* sql`select event_prune(now() - interval '7 days', 1000000)`
      assert.deepStrictEqual(numbers(yield* log.read(0n, 10)), [3])
      // Pruning the whole log does not reset its numbers.
      yield* sql`delete from event`
      const fiber = yield* collect(1, { key: "h" })
      yield* append(event("h", 4))
      assert.strictEqual((yield* Fiber.join(fiber))[0]?.offset, first!.offset + 3n)
    }),
  )
})
