import { randomUUID } from "node:crypto"
import { assert, layer } from "@effect/vitest"
import { mainRef, RefName, TableKey } from "@rat/domain"
import { Catalog, ObjectStore } from "@rat/lakehouse"
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import { type Answer, appendCommit, newTestTable, rest, testRest, twoColumns } from "./TestRest.ts"

const silver = "/v1/namespaces/default%1Fsilver"

const branch = Effect.fnUntraced(function* (name: string, kind: "branch" | "tag" = "branch") {
  const catalog = yield* Catalog
  const ref = RefName.make(name)
  yield* kind === "branch" ? catalog.createBranch(ref, { from: mainRef }) : catalog.createTag(ref, { from: mainRef })
  return ref
})

layer(testRest(), { excludeTestServices: true })("Iceberg REST", (it) => {
  it.effect("tells clients the prefix of a branch, tag or main, and refuses other warehouses", () =>
    Effect.gen(function* () {
      yield* branch("team/feature-1")
      yield* branch("v1.0", "tag")
      const prefixOf = (warehouse: string) =>
        Effect.map(
          rest("GET", `/v1/config?warehouse=${encodeURIComponent(warehouse)}`),
          ({ body }) => body.overrides.prefix,
        )
      assert.strictEqual(yield* prefixOf("team/feature-1"), "team%1Ffeature-1")
      assert.strictEqual(yield* prefixOf("v1.0"), "v1.0")
      assert.strictEqual(yield* prefixOf("main"), "main")
      const plain = yield* rest("GET", "/v1/config")
      assert.deepStrictEqual(plain.body.overrides, {})
      assert.include(plain.body.endpoints, "POST /v1/{prefix}/transactions/commit")
      for (const name of ["nothing", "a b", "../main", "*", "main*", "%", "main\u001f"]) {
        const refused = yield* rest("GET", `/v1/config?warehouse=${encodeURIComponent(name)}`)
        assert.deepInclude(refused.body.error, { type: "NoSuchWarehouseException", code: 404 }, name)
      }
    }),
  )

  it.effect("shows namespaces in two levels whose layers are always there", () =>
    Effect.gen(function* () {
      const made = yield* rest("POST", "/v1/namespaces", {
        namespace: ["shop"],
        properties: { comment: "All of it", a: "1" },
      })
      assert.strictEqual(made.status, 200)
      assert.deepInclude((yield* rest("GET", "/v1/namespaces")).body.namespaces, ["shop"])
      assert.deepStrictEqual((yield* rest("GET", "/v1/namespaces?parent=shop")).body.namespaces, [
        ["shop", "bronze"],
        ["shop", "silver"],
        ["shop", "gold"],
      ])
      assert.deepStrictEqual((yield* rest("GET", "/v1/namespaces/shop")).body.properties, {
        comment: "All of it",
        a: "1",
      })
      const again = yield* rest("POST", "/v1/namespaces", { namespace: ["shop"] })
      assert.deepInclude(again.body.error, { type: "AlreadyExistsException", code: 409 })
      const layerAgain = yield* rest("POST", "/v1/namespaces", { namespace: ["shop", "gold"] })
      assert.strictEqual(layerAgain.status, 409)
      assert.strictEqual((yield* rest("POST", "/v1/namespaces", { namespace: ["shop", "other"] })).status, 400)
      assert.strictEqual((yield* rest("HEAD", "/v1/namespaces/shop%1Fgold")).status, 204)
      assert.strictEqual((yield* rest("HEAD", "/v1/namespaces/shop%1Fother")).status, 404)
      assert.strictEqual((yield* rest("GET", "/v1/namespaces?parent=shop%1Fgold")).body.namespaces.length, 0)
    }),
  )

  it.effect("changes properties of a namespace, and says which were missing", () =>
    Effect.gen(function* () {
      yield* rest("POST", "/v1/namespaces", { namespace: ["props"], properties: { a: "1", b: "2" } })
      const changed = yield* rest("POST", "/v1/namespaces/props/properties", {
        removals: ["a", "z"],
        updates: { c: "3", comment: "now" },
      })
      assert.deepStrictEqual(changed.body, { updated: ["c", "comment"], removed: ["a"], missing: ["z"] })
      assert.deepStrictEqual((yield* rest("GET", "/v1/namespaces/props")).body.properties, {
        b: "2",
        c: "3",
        comment: "now",
      })
      const both = yield* rest("POST", "/v1/namespaces/props/properties", { removals: ["b"], updates: { b: "x" } })
      assert.deepInclude(both.body.error, { type: "UnprocessableEntityException", code: 422 })
    }),
  )

  it.effect("drops a namespace only when it is empty, and never the default one or a layer", () =>
    Effect.gen(function* () {
      yield* rest("POST", "/v1/namespaces", { namespace: ["full"] })
      yield* rest("POST", "/v1/namespaces/full%1Fgold/tables", { name: "t", schema: twoColumns })
      const refused = yield* rest("DELETE", "/v1/namespaces/full")
      assert.deepInclude(refused.body.error, { type: "NamespaceNotEmptyException", code: 409 })
      assert.strictEqual((yield* rest("DELETE", "/v1/namespaces/full%1Fsilver")).status, 403)
      yield* rest("DELETE", "/v1/namespaces/full%1Fgold/tables/t?purgeRequested=true")
      assert.strictEqual((yield* rest("DELETE", "/v1/namespaces/full")).status, 204)
      assert.strictEqual((yield* rest("HEAD", "/v1/namespaces/full")).status, 404)
      assert.strictEqual((yield* rest("DELETE", "/v1/namespaces/default")).status, 403)
    }),
  )

  it.effect("creates, loads, lists and drops a table; dropping with purge removes no file", () =>
    Effect.gen(function* () {
      const table = yield* newTestTable()
      assert.strictEqual(table.metadata.properties["gc.enabled"], "false")
      const loaded = yield* rest("GET", table.path)
      assert.deepStrictEqual(loaded.body.metadata, table.metadata)
      const etag = loaded.headers.get("etag")!
      assert.strictEqual((yield* rest("GET", table.path, undefined, { "if-none-match": etag })).status, 304)
      const some = yield* rest("GET", `${table.path}?snapshots=refs`, undefined, { "if-none-match": etag })
      assert.strictEqual(some.status, 200, "another form of the same version has another tag")
      assert.strictEqual((yield* rest("HEAD", table.path)).status, 204)
      const taken = yield* rest("POST", `${silver}/tables`, { name: table.name, schema: twoColumns })
      assert.deepInclude(taken.body.error, { type: "AlreadyExistsException", code: 409 })
      assert.strictEqual((yield* rest("DELETE", `${table.path}?purgeRequested=true`)).status, 204)
      const gone = yield* rest("GET", table.path)
      assert.deepInclude(gone.body.error, { type: "NoSuchTableException", code: 404 })
      const store = yield* ObjectStore
      yield* store.head(store.keyOf(table["metadata-location"]))
      const nowhere = yield* rest("GET", "/v1/namespaces/nobody%1Fgold/tables/t")
      assert.strictEqual(nowhere.body.error.type, "NoSuchNamespaceException")
    }),
  )

  it.effect("pages through tables without skipping or repeating one", () =>
    Effect.gen(function* () {
      yield* rest("POST", "/v1/namespaces", { namespace: ["pages"] })
      const names = Array.from({ length: 7 }, (_, index) => `p${index}`)
      for (const name of names)
        yield* rest("POST", "/v1/namespaces/pages%1Fbronze/tables", { name, schema: twoColumns })
      const seen: Array<string> = []
      let token: string | null = ""
      do {
        const { body }: Answer = yield* rest(
          "GET",
          `/v1/namespaces/pages%1Fbronze/tables?pageSize=3&pageToken=${encodeURIComponent(token!)}`,
        )
        seen.push(...body.identifiers.map((each: { readonly name: string }) => each.name))
        token = body["next-page-token"]
      } while (token !== null)
      assert.deepStrictEqual(seen, names)
      assert.strictEqual((yield* rest("GET", "/v1/namespaces/pages%1Fbronze/tables")).body.identifiers.length, 7)
      assert.strictEqual((yield* rest("GET", "/v1/namespaces/pages%1Fbronze/tables?pageToken=&pageSize=0")).status, 400)
    }),
  )

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

  it.effect("renames within and across namespaces in one commit", () =>
    Effect.gen(function* () {
      const table = yield* newTestTable()
      const rename = (source: object, destination: object) => rest("POST", "/v1/tables/rename", { source, destination })
      const from = { namespace: ["default", "silver"], name: table.name }
      const to = { namespace: ["default", "gold"], name: "renamed" }
      assert.strictEqual((yield* rename(from, to)).status, 204)
      assert.strictEqual((yield* rest("HEAD", table.path)).status, 404)
      const moved = yield* rest("GET", "/v1/namespaces/default%1Fgold/tables/renamed")
      assert.strictEqual(moved.body["metadata-location"], table["metadata-location"])
      assert.strictEqual((yield* rename(from, to)).body.error.type, "NoSuchTableException")
      const other = yield* newTestTable()
      const taken = yield* rename({ namespace: ["default", "silver"], name: other.name }, to)
      assert.deepInclude(taken.body.error, { type: "AlreadyExistsException", code: 409 })
      const nowhere = yield* rename(to, { namespace: ["nobody", "gold"], name: "x" })
      assert.strictEqual(nowhere.body.error.type, "NoSuchNamespaceException")
      // The old name is free, and a table made under it lies elsewhere.
      const anew = yield* rest("POST", `${silver}/tables`, { name: table.name, schema: twoColumns })
      assert.notStrictEqual(anew.body.metadata.location, table.metadata.location)
    }),
  )

  it.effect("registers metadata of the store only, and takes it out again", () =>
    Effect.gen(function* () {
      const table = yield* newTestTable()
      const location = table["metadata-location"]
      const taken_out = yield* rest("POST", `${table.path}/unregister`)
      assert.strictEqual(taken_out.body["metadata-location"], location)
      const register = (body: object) => rest("POST", `${silver}/register`, body)
      assert.strictEqual((yield* register({ name: "reg", "metadata-location": location })).status, 200)
      assert.strictEqual((yield* register({ name: "reg", "metadata-location": location })).status, 409)
      assert.strictEqual((yield* register({ name: "reg", "metadata-location": location, overwrite: true })).status, 200)
      for (const place of [
        "file:///etc/passwd",
        `${location}x`,
        location.replace("/metadata/", "/metadata/../metadata/"),
        "s3://b/k",
      ]) {
        const refused = yield* register({ name: "reg2", "metadata-location": place })
        assert.deepInclude(refused.body.error, { type: "BadRequestException", code: 400 }, place)
      }
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

  it.effect("a branch sees its own changes, main does not, and a tag is never written", () =>
    Effect.gen(function* () {
      const table = yield* newTestTable()
      const ref = yield* branch("work/one")
      yield* branch("frozen", "tag")
      const onBranch = table.path.replace("/v1/", "/v1/work%1Fone/")
      const { snapshotId, ...commit } = yield* appendCommit(table.metadata, { rows: 2 })
      const made = yield* rest("POST", onBranch, commit)
      assert.strictEqual(made.status, 200, made.text)
      assert.isNull((yield* rest("GET", table.path)).body.metadata["current-snapshot-id"])
      for (const prefix of ["work%1Fone", "work%2Fone", "work%252Fone", "work/one"]) {
        const seen = yield* rest("GET", table.path.replace("/v1/", `/v1/${prefix}/`))
        assert.strictEqual(seen.body.metadata["current-snapshot-id"], snapshotId, prefix)
      }
      const onTag = table.path.replace("/v1/", "/v1/frozen/")
      assert.strictEqual((yield* rest("GET", onTag)).status, 200)
      for (const answer of [
        yield* rest("POST", onTag, commit),
        yield* rest("DELETE", onTag),
        yield* rest("POST", "/v1/frozen/namespaces/default%1Fsilver/tables", { name: "x", schema: twoColumns }),
        yield* rest("POST", "/v1/frozen/namespaces", { namespace: ["x"] }),
      ]) {
        assert.deepInclude(answer.body.error, { type: "ForbiddenException", code: 403 })
      }
      const catalog = yield* Catalog
      yield* catalog.merge(ref, { message: "merge", author: "test", runId: null })
      assert.strictEqual((yield* rest("GET", table.path)).body.metadata["current-snapshot-id"], snapshotId)
      assert.strictEqual((yield* rest("GET", onBranch)).body.error.type, "NoSuchWarehouseException")
    }),
  )

  it.effect("a run's branch is readable, and writable only while the run goes on", () =>
    Effect.gen(function* () {
      const catalog = yield* Catalog
      const sql = yield* SqlClient.SqlClient
      const table = yield* newTestTable()
      const runId = randomUUID()
      yield* catalog.createBranch(RefName.make("run-x"), { from: mainRef, runId })
      const path = table.path.replace("/v1/", "/v1/run-x/")
      const set = { requirements: [], updates: [{ action: "set-properties", updates: { owner: "step" } }] }
      assert.strictEqual((yield* rest("GET", path)).status, 200)
      assert.strictEqual((yield* rest("POST", path, set)).status, 403)
      yield* sql`
        insert into run (id, kind, namespace, status, trigger, started_at, attempt, fencing_token, lease_owner, lease_expires_at)
        values (${runId}, 'noop', 'default', 'running', 'manual', now(), 1, 1, 'test', now() + interval '1 hour')`
      assert.strictEqual((yield* rest("POST", path, set)).status, 200)
    }),
  )

  it.effect("views: created, replaced, renamed, dropped; a name is a table or a view, never both", () =>
    Effect.gen(function* () {
      const version = (sql: string) => ({
        "version-id": 1,
        "timestamp-ms": 1,
        "schema-id": 0,
        summary: { engine: "test" },
        representations: [{ type: "sql", sql, dialect: "spark" }],
        "default-namespace": ["default", "silver"],
      })
      const body = {
        name: "v",
        schema: { ...twoColumns, "schema-id": 0 },
        "view-version": version("select 1"),
        properties: { a: "1" },
      }
      const made = yield* rest("POST", `${silver}/views`, body)
      assert.strictEqual(made.status, 200, made.text)
      assert.strictEqual((yield* rest("POST", `${silver}/views`, body)).status, 409)
      assert.strictEqual((yield* rest("POST", `${silver}/tables`, { name: "v", schema: twoColumns })).status, 409)
      const table = yield* newTestTable()
      assert.strictEqual((yield* rest("POST", `${silver}/views`, { ...body, name: table.name })).status, 409)
      const replaced = yield* rest("POST", `${silver}/views/v`, {
        requirements: [{ type: "assert-view-uuid", uuid: made.body.metadata["view-uuid"] }],
        updates: [
          { action: "add-view-version", "view-version": version("select 2") },
          { action: "set-current-view-version", "view-version-id": -1 },
          { action: "set-properties", updates: { b: "2" } },
        ],
      })
      assert.strictEqual(replaced.status, 200, replaced.text)
      assert.strictEqual(replaced.body.metadata["current-version-id"], 2)
      assert.deepStrictEqual(replaced.body.metadata.properties, { a: "1", b: "2" })
      assert.deepStrictEqual((yield* rest("GET", `${silver}/views/v`)).body, replaced.body)
      const stale = yield* rest("POST", `${silver}/views/v`, {
        requirements: [{ type: "assert-view-uuid", uuid: randomUUID() }],
        updates: [],
      })
      assert.deepInclude(stale.body.error, { type: "CommitFailedException", code: 409 })
      const source = { namespace: ["default", "silver"], name: "v" }
      const destination = { namespace: ["default", "gold"], name: "w" }
      assert.strictEqual((yield* rest("POST", "/v1/views/rename", { source, destination })).status, 204)
      assert.deepStrictEqual((yield* rest("GET", "/v1/namespaces/default%1Fgold/views")).body.identifiers, [
        destination,
      ])
      assert.strictEqual((yield* rest("HEAD", `${silver}/views/v`)).status, 404)
      const registered = yield* rest("POST", `${silver}/register-view`, {
        name: "again",
        "metadata-location": replaced.body["metadata-location"],
      })
      assert.strictEqual(registered.body.metadata["current-version-id"], 2)
      assert.strictEqual((yield* rest("DELETE", "/v1/namespaces/default%1Fgold/views/w")).status, 204)
      assert.strictEqual(
        (yield* rest("GET", "/v1/namespaces/default%1Fgold/views/w")).body.error.type,
        "NoSuchViewException",
      )
      yield* branch("views-branch")
      assert.strictEqual((yield* rest("GET", "/v1/views-branch/namespaces/default%1Fsilver/views/again")).status, 200)
      assert.strictEqual(
        (yield* rest("DELETE", "/v1/views-branch/namespaces/default%1Fsilver/views/again")).status,
        403,
      )
    }),
  )

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

  it.effect("a repeated request with its Idempotency-Key gets the first answer, refusals included", () =>
    Effect.gen(function* () {
      const table = yield* newTestTable()
      const key = { "idempotency-key": randomUUID() }
      const commit = yield* appendCommit(table.metadata, { rows: 1, operation: "overwrite" })
      const first = yield* rest("POST", table.path, commit, key)
      assert.strictEqual(first.status, 200, first.text)
      const second = yield* rest("POST", table.path, commit, key)
      assert.deepStrictEqual([second.status, second.body], [200, first.body])
      const other = yield* rest("POST", table.path, { requirements: [], updates: [] }, key)
      assert.deepInclude(other.body.error, { type: "UnprocessableEntityException", code: 422 })
      const refusedKey = { "idempotency-key": randomUUID() }
      const body = { name: table.name, schema: twoColumns }
      const refused = yield* rest("POST", `${silver}/tables`, body, refusedKey)
      yield* rest("DELETE", table.path)
      const still = yield* rest("POST", `${silver}/tables`, body, refusedKey)
      assert.deepStrictEqual([still.status, still.body], [refused.status, refused.body])
      assert.strictEqual((yield* rest("DELETE", table.path, undefined, { "idempotency-key": "x" })).status, 400)
      const drops = { "idempotency-key": randomUUID() }
      const doomed = yield* newTestTable()
      const together = yield* Effect.all(
        Array.from({ length: 5 }, () => rest("DELETE", doomed.path, undefined, drops)),
        { concurrency: "unbounded" },
      )
      assert.deepStrictEqual(
        together.map(({ status }) => status),
        [204, 204, 204, 204, 204],
      )
    }),
  )

  it.effect("files of a file store are neither vended nor signed for", () =>
    Effect.gen(function* () {
      const table = yield* newTestTable()
      const loaded = yield* rest("GET", table.path, undefined, {
        "x-iceberg-access-delegation": "vended-credentials,remote-signing",
      })
      assert.deepStrictEqual(loaded.body.config, {})
      assert.deepStrictEqual((yield* rest("GET", `${table.path}/credentials`)).body, { "storage-credentials": [] })
      const sign = yield* rest("POST", `${table.path}/sign`, {
        region: "x",
        uri: "http://x/y",
        method: "GET",
        headers: {},
      })
      assert.deepInclude(sign.body.error, { type: "UnsupportedOperationException", code: 406 })
      assert.strictEqual((yield* rest("POST", `${table.path}/metrics`, { "report-type": "scan-report" })).status, 204)
    }),
  )
})

layer(testRest({ RAT_ICEBERG_TOKEN: "fixed-token", RAT_ICEBERG_CREDENTIAL: "client:secret" }), {
  excludeTestServices: true,
})("Iceberg REST with a token and a credential", (it) => {
  const form = (fields: Record<string, string>) => new URLSearchParams(fields).toString()
  const withToken = (token: string) => rest("GET", "/v1/config", undefined, { authorization: `Bearer ${token}` })

  it.effect("is closed to everybody else", () =>
    Effect.gen(function* () {
      for (const headers of [
        {},
        { authorization: "Bearer nonsense" },
        { authorization: "Basic Y2xpZW50OnNlY3JldA==" },
      ]) {
        const refused = yield* rest("GET", "/v1/namespaces", undefined, headers)
        assert.deepInclude(refused.body.error, { type: "NotAuthorizedException", code: 401 })
      }
      assert.strictEqual((yield* withToken("fixed-token")).status, 200)
    }),
  )

  it.effect("gives tokens for the credential, in the body or as basic authorization, and renews them", () =>
    Effect.gen(function* () {
      const given = yield* rest(
        "POST",
        "/v1/oauth/tokens",
        form({ grant_type: "client_credentials", client_id: "client", client_secret: "secret", scope: "catalog" }),
      )
      assert.deepInclude(given.body, { token_type: "bearer", expires_in: 3600 })
      assert.strictEqual((yield* withToken(given.body.access_token)).status, 200)
      const basic = yield* rest("POST", "/v1/oauth/tokens", form({ grant_type: "client_credentials" }), {
        authorization: `Basic ${btoa("client:secret")}`,
      })
      assert.strictEqual(basic.status, 200)
      const renewed = yield* rest(
        "POST",
        "/v1/oauth/tokens",
        form({
          grant_type: "urn:ietf:params:oauth:grant-type:token-exchange",
          subject_token: given.body.access_token,
          subject_token_type: "urn:ietf:params:oauth:token-type:access_token",
        }),
      )
      assert.strictEqual((yield* withToken(renewed.body.access_token)).status, 200)
      const wrong = yield* rest(
        "POST",
        "/v1/oauth/tokens",
        form({ grant_type: "client_credentials", client_id: "client", client_secret: "wrong" }),
      )
      assert.deepStrictEqual([wrong.status, wrong.body.error], [401, "invalid_client"])
      const odd = yield* rest("POST", "/v1/oauth/tokens", form({ grant_type: "password" }))
      assert.deepStrictEqual([odd.status, odd.body.error], [400, "unsupported_grant_type"])
      const [version, , signature] = given.body.access_token.split(".")
      const stretched = yield* withToken(`${version}.${(Date.now() + 10 ** 12).toString(36)}.${signature}`)
      assert.strictEqual(stretched.status, 401)
    }),
  )
})
