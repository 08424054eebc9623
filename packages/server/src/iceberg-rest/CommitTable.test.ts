import { randomUUID } from "node:crypto"
import { assert, layer } from "@effect/vitest"
import { mainRef, TableKey } from "@rat/domain"
import { Catalog, ObjectStore } from "@rat/lakehouse"
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import { appendCommit, newTestTable, rest, testRest, twoColumns } from "./TestRest.ts"

const silver = "/v1/namespaces/default%1Fsilver"

layer(testRest(), { excludeTestServices: true })("Commits over Iceberg REST", (it) => {
  it.effect("makes a staged table only with the commit that ends it", () =>
    Effect.gen(function* () {
      const staged = yield* rest("POST", `${silver}/tables`, {
        name: "staged",
        schema: twoColumns,
        "stage-create": true,
      })
      assert.strictEqual(staged.status, 200)
      assert.isNull(staged.body["metadata-location"])
      assert.strictEqual((yield* rest("HEAD", `${silver}/tables/staged`)).status, 404)
      const { metadata } = staged.body
      const create = {
        requirements: [{ type: "assert-create" }],
        updates: [
          { action: "assign-uuid", uuid: metadata["table-uuid"] },
          { action: "upgrade-format-version", "format-version": 2 },
          { action: "add-schema", schema: metadata.schemas[0], "last-column-id": 2 },
          { action: "set-current-schema", "schema-id": -1 },
          { action: "add-spec", spec: { "spec-id": 0, fields: [] } },
          { action: "set-default-spec", "spec-id": -1 },
          { action: "add-sort-order", "sort-order": { "order-id": 0, fields: [] } },
          { action: "set-default-sort-order", "sort-order-id": -1 },
          { action: "set-location", location: metadata.location },
        ],
      }
      const elsewhere = structuredClone(create)
      elsewhere.updates[8] = { action: "set-location", location: metadata.location.replace("staged", "other") } as never
      assert.strictEqual((yield* rest("POST", `${silver}/tables/staged`, elsewhere)).status, 400)
      const append = yield* appendCommit(metadata, { rows: 3 })
      const made = yield* rest("POST", `${silver}/tables/staged`, {
        requirements: create.requirements,
        updates: [...create.updates, ...append.updates],
      })
      assert.strictEqual(made.status, 200, made.text)
      assert.strictEqual(made.body.metadata["current-snapshot-id"], append.snapshotId)
      const again = yield* rest("POST", `${silver}/tables/staged`, create)
      assert.deepInclude(again.body.error, { type: "CommitFailedException", code: 409 })
    }),
  )

  it.effect("a commit appears in history and events like a publish", () =>
    Effect.gen(function* () {
      const catalog = yield* Catalog
      const sql = yield* SqlClient.SqlClient
      const table = yield* newTestTable()
      const { snapshotId, ...commit } = yield* appendCommit(table.metadata, { rows: 5 })
      const made = yield* rest("POST", table.path, commit, { "user-agent": "Engine/1.0" })
      assert.strictEqual(made.status, 200, made.text)
      const key = new TableKey({ namespace: "default", layer: "silver", name: table.name } as never)
      const [newest] = yield* catalog.history(mainRef, { limit: 1, table: key })
      assert.deepInclude(newest, { author: "iceberg-rest (Engine/1.0)", message: `append ${key}`, runId: null })
      const pointer = yield* catalog.table(mainRef, key)
      assert.deepInclude(pointer, { rowCount: 5, sizeBytes: 100, snapshotId: String(snapshotId) })
      const [event] = yield* sql<{ readonly payload: unknown }>`
        select payload from outbox where key = ${key.toString()} order by id desc limit 1`
      assert.deepInclude(event!.payload, {
        table: key.toString(),
        rows_written: 5,
        snapshot_id: String(snapshotId),
        commit_id: newest!.id.toString(),
      })
    }),
  )

  it.effect("a stale append is put onto what is there; a stale overwrite is refused and changes nothing", () =>
    Effect.gen(function* () {
      const table = yield* newTestTable()
      const [first, second, overwrite] = yield* Effect.all([
        appendCommit(table.metadata, { rows: 1 }),
        appendCommit(table.metadata, { rows: 10 }),
        appendCommit(table.metadata, { rows: 100, operation: "overwrite" }),
      ])
      assert.strictEqual((yield* rest("POST", table.path, first)).status, 200)
      const rebased = yield* rest("POST", table.path, second)
      assert.strictEqual(rebased.status, 200, rebased.text)
      const current = rebased.body.metadata.snapshots.at(-1)
      assert.deepInclude(current, {
        "snapshot-id": second.snapshotId,
        "parent-snapshot-id": first.snapshotId,
        "sequence-number": 2,
      })
      assert.deepInclude(current.summary, { "total-records": "11", "total-data-files": "2", "added-records": "10" })
      const plan = yield* rest("POST", `${table.path}/plan`, {})
      assert.strictEqual(plan.body["file-scan-tasks"].length, 2)
      const refused = yield* rest("POST", table.path, overwrite)
      assert.deepInclude(refused.body.error, { type: "CommitFailedException", code: 409 })
      assert.deepStrictEqual((yield* rest("GET", table.path)).body, rebased.body)
      const repeated = yield* rest("POST", table.path, second)
      assert.deepStrictEqual(repeated.body, rebased.body, "an append that is there already is not doubled")
    }),
  )

  it.effect("counts rows and bytes itself where a writer leaves the totals out", () =>
    Effect.gen(function* () {
      const catalog = yield* Catalog
      const table = yield* newTestTable()
      const commit = yield* appendCommit(table.metadata, { rows: 6 })
      const [added] = commit.updates as unknown as [{ snapshot: { summary: Record<string, string> } }]
      added.snapshot.summary = { operation: "append" }
      assert.strictEqual((yield* rest("POST", table.path, commit)).status, 200)
      const key = new TableKey({ namespace: "default", layer: "silver", name: table.name } as never)
      assert.deepInclude(yield* catalog.table(mainRef, key), { rowCount: 6, sizeBytes: 100 })
    }),
  )

  it.effect("rows of appends that are put upon a newer version get row ids of their own (v3)", () =>
    Effect.gen(function* () {
      const table = yield* newTestTable({ "format-version": "3" })
      const [first, second] = yield* Effect.all([
        appendCommit(table.metadata, { rows: 3 }),
        appendCommit(table.metadata, { rows: 4 }),
      ])
      yield* rest("POST", table.path, first)
      const rebased = yield* rest("POST", table.path, second)
      assert.strictEqual(rebased.status, 200, rebased.text)
      const { metadata } = rebased.body
      assert.deepInclude(metadata.snapshots.at(-1), { "first-row-id": 3, "added-rows": 4 })
      assert.strictEqual(metadata["next-row-id"], 7)
      const plan = yield* rest("POST", `${table.path}/plan`, {})
      const ids = plan.body["file-scan-tasks"].map((task: { "data-file": object }) =>
        Reflect.get(task["data-file"], "first-row-id"),
      )
      assert.deepStrictEqual(ids.sort(), [0, 3])
    }),
  )

  it.effect("of many appends at once none is refused and none is lost", () =>
    Effect.gen(function* () {
      const table = yield* newTestTable()
      const commits = yield* Effect.all(Array.from({ length: 24 }, () => appendCommit(table.metadata, { rows: 1 })))
      const answers = yield* Effect.all(
        commits.map((commit) => rest("POST", table.path, commit)),
        { concurrency: "unbounded" },
      )
      assert.deepStrictEqual([...new Set(answers.map(({ status }) => status))], [200])
      const { metadata } = (yield* rest("GET", table.path)).body
      assert.strictEqual(metadata.snapshots.at(-1).summary["total-records"], "24")
      const ids = new Set(metadata.snapshots.map((each: { readonly "snapshot-id": bigint }) => each["snapshot-id"]))
      assert.isTrue(commits.every(({ snapshotId }) => ids.has(snapshotId)))
    }),
  )

  it.effect("checks every requirement, and refuses unknown ones and unknown updates", () =>
    Effect.gen(function* () {
      const { metadata, path } = yield* newTestTable()
      const good = [
        { type: "assert-table-uuid", uuid: metadata["table-uuid"] },
        { type: "assert-ref-snapshot-id", ref: "main", "snapshot-id": null },
        { type: "assert-last-assigned-field-id", "last-assigned-field-id": 2 },
        { type: "assert-current-schema-id", "current-schema-id": 0 },
        { type: "assert-last-assigned-partition-id", "last-assigned-partition-id": 999 },
        { type: "assert-default-spec-id", "default-spec-id": 0 },
        { type: "assert-default-sort-order-id", "default-sort-order-id": 0 },
      ]
      assert.strictEqual((yield* rest("POST", path, { requirements: good, updates: [] })).status, 200)
      const bad = [
        { type: "assert-create" },
        { type: "assert-table-uuid", uuid: randomUUID() },
        { type: "assert-ref-snapshot-id", ref: "main", "snapshot-id": 5 },
        { type: "assert-last-assigned-field-id", "last-assigned-field-id": 3 },
        { type: "assert-current-schema-id", "current-schema-id": 1 },
        { type: "assert-last-assigned-partition-id", "last-assigned-partition-id": 1000 },
        { type: "assert-default-spec-id", "default-spec-id": 1 },
        { type: "assert-default-sort-order-id", "default-sort-order-id": 1 },
      ]
      for (const requirement of bad) {
        const refused = yield* rest("POST", path, { requirements: [requirement], updates: [] })
        assert.deepInclude(refused.body.error, { type: "CommitFailedException", code: 409 }, requirement.type)
      }
      for (const commit of [
        { requirements: [{ type: "assert-nothing" }], updates: [] },
        { requirements: [], updates: [{ action: "drop-everything" }] },
        { requirements: [], updates: [{ action: "add-encryption-key", "encryption-key": {} }] },
        { requirements: [], updates: [null] },
      ]) {
        const refused = yield* rest("POST", path, commit)
        assert.deepInclude(refused.body.error, { type: "BadRequestException", code: 400 })
      }
    }),
  )

  it.effect("refuses by name what would break others: locations, properties, files of elsewhere", () =>
    Effect.gen(function* () {
      const store = yield* ObjectStore
      const { metadata, path } = yield* newTestTable()
      const refused = Effect.fnUntraced(function* (updates: ReadonlyArray<unknown>, told: RegExp) {
        const answer = yield* rest("POST", path, { requirements: [], updates })
        assert.strictEqual(answer.status, 400, answer.text)
        assert.match(answer.body.error.message, told)
      })
      const set = (name: string, value: string) => [{ action: "set-properties", updates: { [name]: value } }]
      yield* refused(set("gc.enabled", "true"), /"gc.enabled"/)
      yield* refused(set("write.data.path", "file:///etc"), /"write.data.path"/)
      yield* refused(set("write.data.path", `${metadata.location}/../other`), /"write.data.path"/)
      yield* refused(set("write.metadata.path", store.locationOf("default/silver/other")), /"write.metadata.path"/)
      yield* refused(set("write.metadata.delete-after-commit.enabled", "true"), /delete-after-commit/)
      yield* refused(set("write.format.default", "orc"), /"write.format.default"/)
      yield* refused(set("write.location-provider.impl", "com.example.Run"), /location-provider/)
      yield* refused(set("rat.anything", "x"), /"rat.anything"/)
      yield* refused([{ action: "remove-properties", removals: ["gc.enabled"] }], /"gc.enabled"/)
      yield* refused([{ action: "set-location", location: "file:///tmp/elsewhere" }], /location/)
      const list = (yield* appendCommit(metadata, { rows: 1 })).updates
      const moved = structuredClone(list) as ReadonlyArray<{ snapshot?: Record<string, string> }>
      for (const place of [
        "file:///etc/passwd",
        store.locationOf("default/silver/other/snap.avro"),
        `${metadata.location}/../x/s.avro`,
      ]) {
        moved[0]!.snapshot!["manifest-list"] = place
        yield* refused(moved, /manifest lists/)
      }
      moved[0]!.snapshot!["manifest-list"] = `${metadata.location}/metadata/missing.avro`
      yield* refused(moved, /does not exist/)
      for (const file of ["file:///etc/passwd", store.locationOf("default/silver/other/data/x.parquet")]) {
        yield* refused((yield* appendCommit(metadata, { rows: 1, path: file })).updates, /does not lie below/)
      }
      yield* refused(
        [{ action: "set-statistics", statistics: { "snapshot-id": 1, "statistics-path": "file:///etc/passwd" } }],
        /statistics/,
      )
      const created = yield* rest("POST", `${silver}/tables`, {
        name: "away",
        schema: twoColumns,
        location: "file:///tmp/x",
      })
      assert.strictEqual(created.status, 400)
      assert.deepStrictEqual((yield* rest("GET", path)).body.metadata, metadata, "nothing of it changed the table")
    }),
  )

  it.effect("evolves schema, partition spec and sort order, and keeps what it refuses out", () =>
    Effect.gen(function* () {
      const { path } = yield* newTestTable()
      const evolved = yield* rest("POST", path, {
        requirements: [{ type: "assert-current-schema-id", "current-schema-id": 0 }],
        updates: [
          {
            action: "add-schema",
            schema: {
              ...twoColumns,
              fields: [...twoColumns.fields, { id: 3, name: "day", required: false, type: "date" }],
            },
          },
          { action: "set-current-schema", "schema-id": -1 },
          { action: "add-spec", spec: { fields: [{ "source-id": 3, name: "day_month", transform: "month" }] } },
          { action: "set-default-spec", "spec-id": -1 },
          {
            action: "add-sort-order",
            "sort-order": {
              "order-id": 1,
              fields: [{ transform: "identity", "source-id": 1, direction: "asc", "null-order": "nulls-first" }],
            },
          },
          { action: "set-default-sort-order", "sort-order-id": -1 },
          { action: "set-properties", updates: { owner: "me" } },
        ],
      })
      assert.strictEqual(evolved.status, 200, evolved.text)
      const { metadata } = evolved.body
      assert.strictEqual(metadata["current-schema-id"], 1)
      assert.strictEqual(metadata["last-column-id"], 3)
      assert.strictEqual(metadata["partition-specs"].at(-1).fields[0]["field-id"], 1000)
      assert.strictEqual(metadata["default-sort-order-id"], 1)
      assert.strictEqual(metadata.properties.owner, "me")
      const changedType = yield* rest("POST", path, {
        requirements: [],
        updates: [
          {
            action: "add-schema",
            schema: { type: "struct", fields: [{ id: 1, name: "id", required: false, type: "string" }] },
          },
        ],
      })
      assert.strictEqual(changedType.status, 400)
    }),
  )

  it.effect("commits several tables together or not at all", () =>
    Effect.gen(function* () {
      const [left, right] = [yield* newTestTable(), yield* newTestTable()]
      const change = (
        table: typeof left,
        updates: ReadonlyArray<object>,
        requirements: ReadonlyArray<object> = [],
      ) => ({
        identifier: { namespace: ["default", "silver"], name: table.name },
        requirements,
        updates,
      })
      const set = [{ action: "set-properties", updates: { owner: "both" } }]
      const done = yield* rest("POST", "/v1/transactions/commit", {
        "table-changes": [change(left, set), change(right, set)],
      })
      assert.strictEqual(done.status, 204, done.text)
      assert.strictEqual((yield* rest("GET", right.path)).body.metadata.properties.owner, "both")
      const stale = [{ type: "assert-default-spec-id", "default-spec-id": 7 }]
      const other = [{ action: "set-properties", updates: { owner: "left" } }]
      const refused = yield* rest("POST", "/v1/transactions/commit", {
        "table-changes": [change(left, other), change(right, other, stale)],
      })
      assert.deepInclude(refused.body.error, { type: "CommitFailedException", code: 409 })
      assert.strictEqual((yield* rest("GET", left.path)).body.metadata.properties.owner, "both")
      const twice = yield* rest("POST", "/v1/transactions/commit", {
        "table-changes": [change(left, set), change(left, set)],
      })
      assert.strictEqual(twice.status, 400)
    }),
  )
})
