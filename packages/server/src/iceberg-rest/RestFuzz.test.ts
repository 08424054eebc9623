import { randomUUID } from "node:crypto"
import { assert, layer } from "@effect/vitest"
import { mainRef } from "@rat/domain"
import { Catalog } from "@rat/lakehouse"
import { Effect } from "effect"
import * as fc from "fast-check"
import { newTestTable, rest, testRest, twoColumns } from "./TestRest.ts"

const hostile = [
  "*",
  "a*",
  "%",
  "%2F",
  "%252e",
  "..",
  ".",
  "../../etc/passwd",
  "a/b",
  "a\\b",
  "a.b",
  "",
  " ",
  "\u001f",
  "a\u001fb",
  "\u0000",
  "\n",
  "é",
  "💥",
  "\ud800",
  "'; drop table namespace; --",
  "{}",
  "__proto__",
  "A",
  "1a",
  "-a",
  "a".repeat(129),
  "a".repeat(5000),
  "[a]",
  "a?",
]

const escaped = (text: string) => {
  try {
    return encodeURIComponent(text)
  } catch {
    return encodeURIComponent(text.toWellFormed())
  }
}

const seed = Math.floor(Math.random() * 2 ** 31)

layer(testRest(), { excludeTestServices: true })("hostile requests", (it) => {
  it.effect("names: nothing is made, nothing is found, nothing breaks", () =>
    Effect.gen(function* () {
      const catalog = yield* Catalog
      yield* newTestTable()
      const before = (yield* catalog.tables(mainRef)).length
      for (const name of hostile) {
        const text = escaped(name)
        const view = {
          "version-id": 1,
          "timestamp-ms": 1,
          "schema-id": 0,
          representations: [{ type: "sql", sql: "select 1", dialect: "x" }],
          "default-namespace": [],
        }
        const answers = yield* Effect.all(
          [
            rest("GET", `/v1/namespaces?parent=${text}`),
            rest("GET", `/v1/namespaces/${text}`),
            rest("GET", `/v1/namespaces/${text}/tables`),
            rest("GET", `/v1/namespaces/default%1F${text}/tables`),
            rest("GET", `/v1/namespaces/default%1Fsilver/tables/${text}`),
            rest("HEAD", `/v1/namespaces/default%1Fsilver/tables/${text}`),
            rest("DELETE", `/v1/namespaces/default%1Fsilver/tables/${text}?purgeRequested=true`),
            rest("GET", `/v1/namespaces/default%1Fsilver/views/${text}`),
            rest("GET", `/v1/${text}/namespaces/default%1Fsilver/tables`),
            rest("POST", "/v1/namespaces", { namespace: [name] }),
            rest("POST", "/v1/namespaces", { namespace: ["default", name] }),
            rest("POST", "/v1/namespaces/default%1Fsilver/tables", { name, schema: twoColumns }),
            rest("POST", "/v1/namespaces/default%1Fsilver/tables", { name, schema: twoColumns, "stage-create": true }),
            rest("POST", `/v1/namespaces/default%1Fsilver/tables/${text}`, {
              requirements: [{ type: "assert-create" }],
              updates: [],
            }),
            rest("POST", "/v1/namespaces/default%1Fsilver/views", {
              name,
              schema: twoColumns,
              "view-version": view,
              properties: {},
            }),
            rest("POST", "/v1/namespaces/default%1Fsilver/register", { name, "metadata-location": name }),
            rest("POST", "/v1/tables/rename", {
              source: { namespace: ["default", "silver"], name },
              destination: { namespace: [name], name },
            }),
          ],
          { concurrency: 4 },
        )
        for (const [index, { status, text: told }] of answers.entries()) {
          const isHarmless = status === 200 && index === 0 && name === "" // an empty parent is none
          const isMain = status === 200 && /^(namespaces|tables)?$/.test(name) // no prefix, or the list itself
          const isLoad = status === 200 && [1, 2, 4, 8].includes(index) && name === ""
          assert.isTrue(
            (status >= 400 && status < 500) || isHarmless || isMain || isLoad,
            `${JSON.stringify(name)} #${index}: ${status} ${told}`,
          )
        }
      }
      assert.strictEqual((yield* catalog.tables(mainRef)).length, before)
    }),
  )

  it.effect("bodies: whatever is sent, the answer is no 5xx and has the protocol's error model", () =>
    Effect.gen(function* () {
      const table = yield* newTestTable()
      const paths = [
        "/v1/namespaces",
        "/v1/namespaces/default/properties",
        "/v1/namespaces/default%1Fsilver/tables",
        "/v1/namespaces/default%1Fsilver/register",
        "/v1/namespaces/default%1Fsilver/views",
        "/v1/namespaces/default%1Fsilver/register-view",
        table.path,
        `${table.path}/plan`,
        `${table.path}/tasks`,
        `${table.path}/sign`,
        "/v1/tables/rename",
        "/v1/views/rename",
        "/v1/transactions/commit",
      ]
      const key = fc.constantFrom(
        "name",
        "namespace",
        "schema",
        "type",
        "fields",
        "id",
        "required",
        "properties",
        "updates",
        "requirements",
        "action",
        "snapshot",
        "snapshot-id",
        "spec",
        "sort-order",
        "table-changes",
        "identifier",
        "source",
        "destination",
        "filter",
        "left",
        "right",
        "child",
        "term",
        "value",
        "values",
        "metadata-location",
        "plan-task",
        "uri",
        "method",
        "headers",
        "region",
        "__proto__",
        "view-version",
        "representations",
        "statistics",
        "location",
        "stage-create",
        "removals",
      )
      const leaf = fc.oneof(
        fc.constantFrom(...hostile),
        fc.constantFrom(
          "struct",
          "list",
          "map",
          "long",
          "decimal(99,99)",
          "and",
          "eq",
          "in",
          "not",
          "assert-create",
          "add-schema",
          "add-snapshot",
          "set-snapshot-ref",
          "set-location",
          "add-spec",
          "add-sort-order",
          "remove-snapshots",
          "set-statistics",
          "GET",
        ),
        fc.integer(),
        fc.double(),
        fc.bigInt(),
        fc.boolean(),
        fc.constant(null),
      )
      const { tree } = fc.letrec<{ tree: unknown }>((tie) => ({
        tree: fc.oneof(
          { maxDepth: 5 },
          leaf,
          fc.array(tie("tree"), { maxLength: 3 }),
          fc.array(fc.tuple(key, tie("tree")), { maxLength: 6 }).map((entries) => Object.fromEntries(entries)),
        ),
      }))
      const bodies = [
        ...fc.sample(tree, { seed, numRuns: 400 }),
        "{",
        "",
        "[".repeat(100_000),
        `{"filter":${'{"type":"not","child":'.repeat(50_000)}`,
        `{"snapshot-id":${"9".repeat(400)}}`,
        '{"name":"x","name":"y"}',
        "\u0000",
      ]
      for (const [index, body] of bodies.entries()) {
        const path = paths[index % paths.length]!
        const answer = yield* rest("POST", path, body)
        const told = `seed ${seed} #${index} ${path}: ${answer.status} ${answer.text.slice(0, 300)}`
        assert.isBelow(answer.status, 500, told)
        if (answer.status >= 400) {
          assert.hasAllKeys(answer.body.error, ["message", "type", "code"], told)
          assert.strictEqual(answer.body.error.code, answer.status, told)
        }
      }
      assert.strictEqual((yield* rest("GET", table.path)).status, 200)
    }),
  )

  it.effect("commits: lists of half valid updates never leave a table that cannot be read", () =>
    Effect.gen(function* () {
      const table = yield* newTestTable()
      const id = fc.constantFrom(-1, 0, 1, 2, 3, 999, 1000, 2 ** 31, 2n ** 63n)
      const schema = fc
        .array(
          fc.record({
            id: fc.integer({ min: -1, max: 4 }),
            name: fc.constantFrom("id", "name", "x", ""),
            required: fc.boolean(),
            type: fc.constantFrom("long", "string", "int", "date"),
          }),
          { maxLength: 3 },
        )
        .map((fields) => ({ type: "struct", fields }))
      const update = fc.oneof(
        fc.record({ action: fc.constant("add-schema"), schema }),
        fc.record({ action: fc.constant("set-current-schema"), "schema-id": id }),
        fc.record({
          action: fc.constant("add-spec"),
          spec: fc.record({
            fields: fc.array(
              fc.record({
                "source-id": id,
                name: fc.constantFrom("p", "q"),
                transform: fc.constantFrom("identity", "bucket[4]", "bucket[0]", "nonsense", "day", "void"),
              }),
              { maxLength: 2 },
            ),
          }),
        }),
        fc.record({ action: fc.constant("set-default-spec"), "spec-id": id }),
        fc.record({ action: fc.constant("set-default-sort-order"), "sort-order-id": id }),
        fc.record({
          action: fc.constant("add-sort-order"),
          "sort-order": fc.record({
            "order-id": id,
            fields: fc.array(
              fc.record({
                transform: fc.constantFrom("identity", "x"),
                "source-id": id,
                direction: fc.constantFrom("asc", "up"),
                "null-order": fc.constantFrom("nulls-first", "x"),
              }),
              { maxLength: 2 },
            ),
          }),
        }),
        fc.record({ action: fc.constant("remove-schemas"), "schema-ids": fc.array(id, { maxLength: 2 }) }),
        fc.record({ action: fc.constant("remove-partition-specs"), "spec-ids": fc.array(id, { maxLength: 2 }) }),
        fc.record({ action: fc.constant("remove-snapshots"), "snapshot-ids": fc.array(id, { maxLength: 2 }) }),
        fc.record({ action: fc.constant("upgrade-format-version"), "format-version": fc.constantFrom(1, 2, 4) }),
        fc.record({ action: fc.constant("remove-snapshot-ref"), "ref-name": fc.constantFrom("main", "x") }),
        fc.record({
          action: fc.constant("set-properties"),
          updates: fc.dictionary(
            fc.constantFrom("a", "__proto__", "write.metadata.previous-versions-max"),
            fc.constantFrom("1", "x", "-5"),
          ),
        }),
      )
      for (const [index, updates] of fc.sample(fc.array(update, { maxLength: 4 }), { seed, numRuns: 120 }).entries()) {
        const answer = yield* rest(
          "POST",
          table.path,
          { requirements: [], updates },
          { "idempotency-key": randomUUID() },
        )
        const told = `seed ${seed} #${index}: ${answer.status} ${answer.text.slice(0, 300)}`
        assert.isBelow(answer.status, 500, told)
        const { body, status } = yield* rest("GET", `${table.path}?snapshots=refs`)
        assert.strictEqual(status, 200, told)
        const { metadata } = body
        const ids = (list: string, key: string) => metadata[list].map((each: Record<string, unknown>) => each[key])
        assert.include(ids("schemas", "schema-id"), metadata["current-schema-id"], told)
        assert.include(ids("partition-specs", "spec-id"), metadata["default-spec-id"], told)
        assert.include(ids("sort-orders", "order-id"), metadata["default-sort-order-id"], told)
      }
    }),
  )
})
