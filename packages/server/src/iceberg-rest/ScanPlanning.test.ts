import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { appendCommit, newTestTable, rest, testRest } from "./TestRest.ts"

layer(testRest(), { excludeTestServices: true })("Scan planning over Iceberg REST", (it) => {
  it.effect("plans scans with the filter's pruning, for a snapshot and for what lies between two", () =>
    Effect.gen(function* () {
      const table = yield* newTestTable()
      let metadata = table.metadata
      const ids: Array<bigint> = []
      for (const from of [0, 100, 200]) {
        const commit = yield* appendCommit(metadata, { rows: 10, from })
        ids.push(commit.snapshotId)
        metadata = (yield* rest("POST", table.path, commit)).body.metadata
      }
      const lowest = Effect.fnUntraced(function* (request: object) {
        const { body, status, text } = yield* rest("POST", `${table.path}/plan`, request)
        assert.strictEqual(status, 200, text)
        assert.strictEqual(body.status, "completed")
        const fetched = yield* rest("GET", `${table.path}/plan/${body["plan-id"]}`)
        assert.deepStrictEqual(fetched.body["file-scan-tasks"], body["file-scan-tasks"])
        return body["file-scan-tasks"]
          .map(
            (task: { readonly "data-file": Record<string, { values: ReadonlyArray<number> }> }) =>
              task["data-file"]["lower-bounds"]!.values[0],
          )
          .sort((left: number, right: number) => left - right)
      })
      const eq = (value: number) => ({ type: "eq", term: "id", value })
      assert.deepStrictEqual(yield* lowest({}), [0, 100, 200])
      assert.deepStrictEqual(yield* lowest({ filter: eq(105) }), [100])
      assert.deepStrictEqual(yield* lowest({ filter: { type: "or", left: eq(5), right: eq(205) } }), [0, 200])
      assert.deepStrictEqual(
        yield* lowest({
          filter: { type: "not", child: { type: "lt", left: { type: "reference", name: "id" }, right: 200 } },
        }),
        [200],
      )
      assert.deepStrictEqual(yield* lowest({ filter: { type: "in", term: "id", values: [1, 101] } }), [0, 100])
      assert.deepStrictEqual(yield* lowest({ filter: false }), [])
      assert.deepStrictEqual(yield* lowest({ "snapshot-id": ids[0] }), [0])
      assert.deepStrictEqual(yield* lowest({ "start-snapshot-id": ids[0], "end-snapshot-id": ids[2] }), [100, 200])
      for (const request of [
        { "snapshot-id": 42 },
        { filter: { type: "eq", term: "nothing", value: 1 } },
        { filter: { type: "like", term: "id", value: 1 } },
        { "start-snapshot-id": ids[0] },
        { "start-snapshot-id": ids[2], "end-snapshot-id": ids[0] },
      ]) {
        const refused = yield* rest("POST", `${table.path}/plan`, request)
        assert.deepInclude(refused.body.error, { type: "BadRequestException", code: 400 }, refused.text)
      }
      assert.strictEqual((yield* rest("GET", `${table.path}/plan/abc`)).body.error.type, "NoSuchPlanIdException")
      const other = yield* newTestTable()
      const { body } = yield* rest("POST", `${table.path}/plan`, {})
      const foreign = yield* rest("GET", `${other.path}/plan/${body["plan-id"]}`)
      assert.strictEqual(foreign.body.error.type, "NoSuchPlanIdException")
      const tasks = yield* rest("POST", `${table.path}/tasks`, { "plan-task": "abc" })
      assert.strictEqual(tasks.body.error.type, "NoSuchPlanTaskException")
    }),
  )
})
