import { assert, layer } from "@effect/vitest"
import { DiffRequest, RefName, TableKey } from "@rat/domain"
import { Catalog } from "@rat/lakehouse"
import { Clock, DateTime, Effect, Fiber } from "effect"
import { publish, rows, TestQuery } from "./TestQuery.ts"

const key = (name: string) => new TableKey({ namespace: "default", layer: "silver", name } as never)

const snapshotOf = Effect.fnUntraced(function* (name: string, ref = "main") {
  const catalog = yield* Catalog
  return (yield* catalog.table(RefName.make(ref), key(name)))!.snapshotId!
})

const diff = Effect.fnUntraced(function* (
  name: string,
  options: Partial<ConstructorParameters<typeof DiffRequest>[0]> & Pick<DiffRequest, "a" | "b">,
) {
  const { client } = yield* TestQuery
  return yield* client.Diff(new DiffRequest({ table: key(name), key: null, limit: 10, ...options }))
})

layer(TestQuery.layer({ slots: 1 }), { excludeTestServices: true, timeout: "1 minute" })("Diff of a table", (it) => {
  it.effect("tells added, removed and changed rows by key, NULL keys and doubled keys one by one", () =>
    Effect.gen(function* () {
      yield* publish(
        "default.silver.keyed",
        "select * from (values (1, 'a'), (2, 'b'), (3, 'c'), (null, 'n'), (7, 'x'), (7, 'y')) t(id, \"the value\")",
      )
      const first = yield* snapshotOf("keyed")
      yield* publish(
        "default.silver.keyed",
        "select * from (values (1, 'a'), (2, 'B'), (4, 'd'), (null, 'm'), (7, 'x'), (7, 'y'), (7, 'y')) t(id, \"the value\")",
      )
      const answer = yield* diff("keyed", { a: { snapshot_id: first }, b: {}, key: ["id"] })
      assert.deepStrictEqual([answer.rows_added, answer.rows_removed, answer.rows_changed], [2, 1, 2])
      const changed = answer.sample.filter(({ kind }) => kind === "changed")
      assert.deepStrictEqual(
        changed.map(({ after, before }) => [before, after]),
        [
          [
            { id: 2, "the value": "b" },
            { id: 2, "the value": "B" },
          ],
          [
            { id: null, "the value": "n" },
            { id: null, "the value": "m" },
          ],
        ],
      )
      assert.deepStrictEqual(answer.sample.find(({ kind }) => kind === "removed")!.before, { id: 3, "the value": "c" })
      const whole = yield* diff("keyed", { a: { snapshot_id: first }, b: {}, limit: 1 })
      assert.deepStrictEqual([whole.rows_added, whole.rows_removed, whole.rows_changed], [4, 3, 0])
      assert.strictEqual(whole.sample.length, 2)
      const back = yield* diff("keyed", { a: {}, b: { snapshot_id: first }, key: ["id"] })
      assert.deepStrictEqual([back.rows_added, back.rows_removed, back.rows_changed], [1, 2, 2])
    }),
  )

  it.effect("reads only files that one side has and the other has not", () =>
    Effect.gen(function* () {
      const name = "default.silver.grown"
      yield* publish(name, "select i as id from range(1000) t(i)")
      const first = yield* snapshotOf("grown")
      yield* publish(name, "select i as id from range(1000, 1010) t(i)", "main", "append")
      const answer = yield* diff("grown", { a: { snapshot_id: first }, b: {} })
      assert.deepStrictEqual([answer.rows_added, answer.files_read, answer.files_same], [10, 1, 1])
      const same = yield* diff("grown", { a: {}, b: {} })
      assert.deepStrictEqual([same.rows_added, same.rows_removed, same.files_read, same.files_same], [0, 0, 0, 2])
    }),
  )

  it.effect("compares branches, and the columns that both sides have", () =>
    Effect.gen(function* () {
      const catalog = yield* Catalog
      const name = "default.silver.branched"
      yield* publish(name, "select 1 as id, 'a' as name")
      const branch = RefName.make("work")
      yield* catalog.createBranch(branch, { from: RefName.make("main") })
      yield* publish(name, "select 1 as id, 'a' as name, 5 as more union all select 2, 'b', 6", "work")
      const answer = yield* diff("branched", { a: {}, b: { ref: branch }, key: ["id"] })
      assert.deepStrictEqual(answer.columns_added, ["more"])
      assert.deepStrictEqual([answer.rows_added, answer.rows_removed, answer.rows_changed], [1, 0, 0])
    }),
  )

  it.effect("refuses a key, snapshot, table or ref that is not there, by name", () =>
    Effect.gen(function* () {
      yield* publish("default.silver.there", "select 1 as id")
      const message = (effect: ReturnType<typeof diff>) => Effect.map(Effect.flip(effect), (error) => error.message)
      assert.match(yield* message(diff("there", { a: {}, b: {}, key: ["nope"] })), /"nope".*They have id/)
      assert.match(
        yield* message(diff("there", { a: { snapshot_id: "12" }, b: {} })),
        /On main, table .*there has no snapshot 12; it may have expired. Its newest are/,
      )
      assert.match(
        yield* message(diff("there", { a: { snapshot_id: "first" }, b: {} })),
        /"first" is not the id of a snap/,
      )
      const at = DateTime.makeUnsafe("2001-02-03T04:05:06Z")
      assert.match(
        yield* message(diff("there", { a: { at }, b: {} })),
        /no snapshot of 2001-02-03 .*Its first one is of/,
      )
      assert.match(yield* message(diff("there", { a: { at, snapshot_id: "1" }, b: {} })), /not both/)
      assert.match(yield* message(diff("there", { a: {}, b: {}, key: ["idd"] })), /Did you mean "id"/)
      assert.match(yield* message(diff("gone", { a: {}, b: {} })), /gone" does not exist/)
      assert.match(yield* message(diff("there", { a: { ref: RefName.make("nope") }, b: {} })), /"nope" does not exist/)
    }),
  )

  it.effect("a side may be a time; keys are named as SQL names columns; an empty key compares whole rows", () =>
    Effect.gen(function* () {
      const name = "default.silver.timed"
      yield* publish(name, "select 1 as id, 'a' as v")
      yield* Effect.sleep(5)
      const at = DateTime.makeUnsafe(yield* Clock.currentTimeMillis)
      yield* Effect.sleep(5)
      yield* publish(name, "select 1 as id, 'b' as v")
      const keyed = yield* diff("timed", { a: { at }, b: {}, key: ["ID", "id"] })
      assert.deepStrictEqual([keyed.key, keyed.rows_changed, keyed.rows_added], [["id"], 1, 0])
      const whole = yield* diff("timed", { a: { at }, b: {}, key: [] })
      assert.deepStrictEqual([whole.rows_changed, whole.rows_added, whole.rows_removed], [0, 1, 1])
      const counted = yield* diff("timed", { a: { at }, b: {}, key: ["id"], limit: 0 })
      assert.deepStrictEqual([counted.rows_changed, counted.sample], [1, []])
    }),
  )

  it.effect("a table that only one ref has is added or removed with all its rows and columns", () =>
    Effect.gen(function* () {
      const catalog = yield* Catalog
      const ref = RefName.make("fresh")
      yield* catalog.createBranch(ref, { from: RefName.make("main") })
      yield* publish("default.silver.made", "select i as id, 'v' || i as v from range(5) t(i)", "fresh")
      const made = yield* diff("made", { a: {}, b: { ref }, key: ["id"], limit: 2 })
      assert.deepStrictEqual([made.a_snapshot_id, made.columns_added], [null, ["id", "v"]])
      assert.deepStrictEqual([made.rows_added, made.rows_removed, made.rows_changed], [5, 0, 0])
      assert.deepStrictEqual(
        made.sample.map(({ after }) => after),
        [
          { id: 0, v: "v0" },
          { id: 1, v: "v1" },
        ],
      )
      const back = yield* diff("made", { a: { ref }, b: {} })
      assert.deepStrictEqual([back.rows_added, back.rows_removed, back.columns_removed], [0, 5, ["id", "v"]])
    }),
  )

  it.effect("nested values, names with quotes and values of every kind come in the sample as in a query's answer", () =>
    Effect.gen(function* () {
      const name = "default.silver.kinds"
      const of = (n: number) =>
        `select ${n} as "a ""b'", {'x': [${n}, null], 'y': map{'k': ${n}.5}} as s, 12345678901234567890.5::decimal(38,1) as d, 'nan'::double as f, date '2026-01-02' as day, '\\x01'::blob as bytes, 9007199254740993 as big`
      yield* publish(name, of(1))
      const first = yield* snapshotOf("kinds")
      yield* publish(name, of(2))
      const { sample } = yield* diff("kinds", { a: { snapshot_id: first }, b: {}, key: ["f", "s"] })
      assert.deepStrictEqual(
        sample.map(({ kind }) => kind),
        ["added", "removed"],
      )
      const [shown] = (yield* rows({ sql: "from silver.kinds", format: "objects" })) as ReadonlyArray<object>
      assert.deepStrictEqual(sample[0]!.after as object, shown)
    }),
  )

  it.effect("a diff that nobody waits for any more, or that takes too long, frees its slot at once", () =>
    Effect.gen(function* () {
      const name = "default.silver.slow"
      const of = (salt: string) => `select i as id, md5('${salt}' || i) as v from range(1000000) t(i)`
      yield* publish(name, of("a"))
      const first = yield* snapshotOf("slow")
      yield* publish(name, of("b"))
      const slow = { a: { snapshot_id: first }, b: {}, key: ["id", "v"] }
      const failure = yield* Effect.flip(diff("slow", { ...slow, timeoutMs: 150 }))
      assert.strictEqual(failure._tag, "QueryTimedOut")
      const answer = yield* Effect.timeout(rows({ sql: "select 1 as one" }), "5 seconds")
      assert.deepStrictEqual(answer, [[1]])
      const running = yield* Effect.forkChild(diff("slow", slow))
      yield* Effect.sleep(300)
      yield* Fiber.interrupt(running)
      assert.deepStrictEqual(yield* Effect.timeout(rows({ sql: "select 1 as one" }), "5 seconds"), [[1]])
      const whole = yield* diff("slow", { ...slow, key: ["id"], limit: 1 })
      assert.deepStrictEqual([whole.rows_changed, whole.rows_added, whole.rows_removed], [1_000_000, 0, 0])
    }),
  )
})
