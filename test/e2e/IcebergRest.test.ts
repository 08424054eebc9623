import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { testNode } from "../support/TestNode.ts"

it.live(
  "the Iceberg REST endpoint of a whole server: one error model to its edge, its tables in the API, branches of the API",
  () =>
    Effect.gen(function* () {
      const { url } = yield* testNode({ store: "file" })
      // biome-ignore lint/suspicious/noExplicitAny: answers of two protocols
      const call = async (method: string, path: string, body?: string): Promise<any> => {
        const response = await fetch(url + path, {
          method,
          ...(body === undefined ? {} : { body, headers: { "content-type": "application/json" } }),
        })
        const text = await response.text()
        return { status: response.status, etag: response.headers.get("etag"), ...(text === "" ? {} : JSON.parse(text)) }
      }
      yield* Effect.promise(async () => {
        const tables = "/iceberg/v1/namespaces/default%1Fsilver/tables"
        const schema = { type: "struct", fields: [{ id: 1, name: "id", required: false, type: "long" }] }
        const made = await call("POST", tables, JSON.stringify({ name: "seen", schema }))
        assert.strictEqual(made.status, 200)

        const nul = await call("GET", `${tables}/a%00b`)
        assert.deepInclude(nul.error, { type: "BadRequestException", code: 400 })
        const large = await call("POST", tables, JSON.stringify({ name: "x".repeat(2 ** 21) }))
        assert.deepInclude(large.error, { type: "PayloadTooLargeException", code: 413 })
        const odd = await call("PUT", tables, "{}")
        assert.deepInclude(odd.error, { type: "UnsupportedOperationException", code: 406 })

        const loaded = await call("GET", `${tables}/seen`)
        assert.match(loaded.etag, /^"[\w-]+"$/, "its own tag, not a hash over the answer")
        const listed = await call("GET", "/api/v1/tables?namespace=default")
        assert.deepInclude(listed.tables[0], {
          namespace: "default",
          layer: "silver",
          name: "seen",
          metadata_location: made["metadata-location"],
        })
        const rows = await call(
          "POST",
          "/api/v1/query",
          JSON.stringify({ sql: "select count(*)::integer as n from silver.seen", namespace: "default" }),
        )
        assert.deepStrictEqual(rows.rows, [{ n: 0 }])

        assert.strictEqual((await call("POST", "/api/v1/branches", JSON.stringify({ name: "team/x" }))).status, 201)
        const { overrides } = await call("GET", "/iceberg/v1/config?warehouse=team/x")
        const onBranch = tables.replace("/v1/", `/v1/${overrides.prefix}/`)
        await call("POST", onBranch, JSON.stringify({ name: "apart", schema }))
        assert.strictEqual((await call("GET", `${onBranch}/apart`)).status, 200)
        assert.strictEqual((await call("GET", `${tables}/apart`)).status, 404)
      })
    }).pipe(Effect.scoped),
  60_000,
)
