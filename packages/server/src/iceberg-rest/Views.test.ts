import { randomUUID } from "node:crypto"
import { assert, layer } from "@effect/vitest"
import { mainRef, RefName } from "@rat/domain"
import { Catalog } from "@rat/lakehouse"
import { Effect } from "effect"
import { newTestTable, rest, testRest, twoColumns } from "./TestRest.ts"

const silver = "/v1/namespaces/default%1Fsilver"

const branch = Effect.fnUntraced(function* (name: string, kind: "branch" | "tag" = "branch") {
  const catalog = yield* Catalog
  const ref = RefName.make(name)
  yield* kind === "branch" ? catalog.createBranch(ref, { from: mainRef }) : catalog.createTag(ref, { from: mainRef })
  return ref
})

layer(testRest(), { excludeTestServices: true })("Views over Iceberg REST", (it) => {
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
})
