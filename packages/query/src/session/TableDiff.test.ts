import { assert, layer } from "@effect/vitest"
import { DiffRequest, RefName, TableKey } from "@rat/domain"
import { Catalog } from "@rat/lakehouse"
import { Effect } from "effect"
import { publish, TestQuery } from "./TestQuery.ts"

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
      assert.match(yield* message(diff("there", { a: { snapshot_id: "12" }, b: {} })), /no snapshot 12 on main/)
      assert.match(yield* message(diff("gone", { a: {}, b: {} })), /gone" does not exist/)
      assert.match(yield* message(diff("there", { a: { ref: RefName.make("nope") }, b: {} })), /"nope" does not exist/)
    }),
  )
})
