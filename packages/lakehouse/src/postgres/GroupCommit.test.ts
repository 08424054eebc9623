import { assert, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber } from "effect"
import { SqlError } from "effect/sql"
import { makeGroupCommit } from "./GroupCommit.ts"

const sqlError = (reason: "ConnectionError" | "ConstraintError") =>
  new SqlError.SqlError({ reason: new SqlError[reason]({ cause: new Error("x") }) })

it.effect("calls that wait while a statement is on its way go together into the next one, in order", () =>
  Effect.gen(function* () {
    const gate = yield* Deferred.make<void>()
    const groups: Array<ReadonlyArray<number>> = []
    const add = yield* makeGroupCommit<number, number>({
      name: "test",
      maxItems: 3,
      flights: 1,
      run: (items) =>
        Effect.gen(function* () {
          groups.push(items)
          yield* Deferred.await(gate)
          return items.map((item) => Exit.succeed(item * 10))
        }),
    })
    const first = yield* Effect.forkChild(add(1))
    yield* Effect.yieldNow
    const rest = yield* Effect.forkChild(Effect.all([2, 3, 4, 5].map(add), { concurrency: "unbounded" }))
    yield* Effect.yieldNow
    yield* Deferred.succeed(gate, undefined)
    assert.deepStrictEqual([yield* Fiber.join(first), ...(yield* Fiber.join(rest))], [10, 20, 30, 40, 50])
    assert.deepStrictEqual(groups, [[1], [2, 3, 4], [5]])
  }),
)

it.effect("one bad item fails alone", () =>
  Effect.gen(function* () {
    const run = (items: ReadonlyArray<string>) =>
      items.includes("bad") && items.length > 0
        ? Effect.fail(sqlError("ConstraintError"))
        : Effect.succeed(items.map((item) => (item === "refused" ? Exit.fail("no") : Exit.succeed(item))))
    const add = yield* makeGroupCommit<string, string, string>({ name: "test", maxItems: 8, flights: 1, run })
    const answers = yield* Effect.all(
      ["a", "b", "bad", "refused", "c"].map((item) => Effect.result(add(item))),
      { concurrency: "unbounded" },
    )
    assert.deepStrictEqual(
      answers.map((answer) => (answer._tag === "Success" ? answer.success : typeof answer.failure)),
      ["a", "b", "object", "string", "c"],
    )
  }),
)

it.effect("after a lost connection nothing is tried again: what was kept is not known", () =>
  Effect.gen(function* () {
    let statements = 0
    const add = yield* makeGroupCommit<number, number>({
      name: "test",
      maxItems: 8,
      flights: 1,
      run: () =>
        Effect.suspend(() => {
          statements += 1
          return Effect.fail(sqlError("ConnectionError"))
        }),
    })
    const answers = yield* Effect.all(
      [1, 2, 3].map((item) => Effect.flip(add(item))),
      { concurrency: "unbounded" },
    )
    assert.isTrue(answers.every((error) => error.reason._tag === "ConnectionError"))
    assert.isAtMost(statements, 3)
    assert.isTrue((yield* Effect.exit(add(4)))._tag === "Failure")
  }),
)

it.effect("a caller that goes away leaves the others their answers", () =>
  Effect.gen(function* () {
    const gate = yield* Deferred.make<void>()
    const add = yield* makeGroupCommit<number, number>({
      name: "test",
      maxItems: 8,
      flights: 1,
      run: (items) =>
        Effect.as(
          Deferred.await(gate),
          items.map((item) => Exit.succeed(item)),
        ),
    })
    const gone = yield* Effect.forkChild(add(1))
    const stays = yield* Effect.forkChild(add(2))
    yield* Effect.yieldNow
    yield* Fiber.interrupt(gone)
    yield* Deferred.succeed(gate, undefined)
    assert.strictEqual(yield* Fiber.join(stays), 2)
  }),
)
