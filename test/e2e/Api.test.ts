import { assert, layer } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { type TestNode, testNode } from "../support/TestNode.ts"

/** The HTTP contract at its edges, as any client sees it: statuses, envelopes, headers, paths. */

class Node extends Context.Service<Node, TestNode>()("test/e2e/Node") {}

interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  // biome-ignore lint/suspicious/noExplicitAny: bodies of many shapes, looked at field by field
  readonly json: any
}

const call = async (url: string, init?: RequestInit): Promise<Answer> => {
  const response = await fetch(url, init)
  const text = await response.text()
  const isJson = (response.headers.get("content-type") ?? "").startsWith("application/json")
  return { status: response.status, headers: response.headers, text, json: isJson ? JSON.parse(text) : undefined }
}

const body = (method: string, value: unknown): RequestInit => ({
  method,
  headers: { "content-type": "application/json" },
  body: JSON.stringify(value),
})

const upload = (name: string, bytes: Uint8Array<ArrayBuffer>, fields: Readonly<Record<string, string>> = {}) => {
  const form = new FormData()
  for (const [key, value] of Object.entries(fields)) form.set(key, value)
  form.set("file", new Blob([bytes]), name)
  return { method: "POST", body: form } satisfies RequestInit
}

const bytes = (text: string) => new TextEncoder().encode(text)

const use = (act: (api: string, node: TestNode) => Promise<void>) =>
  Effect.flatMap(Node, (node) => Effect.promise(() => act(`${node.url}/api/v1`, node)))

const uploadLimit = 100_000

layer(Layer.effect(Node, testNode({ store: "file", environment: { RAT_UPLOAD_LIMIT: String(uploadLimit) } })), {
  excludeTestServices: true,
  timeout: "60 seconds",
})("the HTTP API", (it) => {
  it.effect("serves its own description, a page that needs no other host, and metrics", () =>
    use(async (_api, { url }) => {
      const openapi = await call(`${url}/api/openapi.json`)
      assert.match(openapi.json.openapi, /^3\.1/)
      assert.isObject(openapi.json.paths["/api/v1/files/{path}"].put)
      const page = await call(`${url}/api/docs`)
      assert.strictEqual(page.status, 200)
      assert.notMatch(page.text, /<(script|link)[^>]+(src|href)="https?:/)
      const metrics = await call(`${url}/metrics`)
      assert.include(metrics.text, "rat_http_requests_total{")
      assert.include(metrics.text, 'route="other"')
      assert.include(metrics.text, "rat_info{")
    }),
  )

  it.effect("tells what it is and what it can do", () =>
    use(async (api, { url }) => {
      const live = await call(`${url}/health`)
      assert.strictEqual(live.json.status, "ok")
      assert.deepStrictEqual((await call(`${url}/health/live`)).json, live.json)
      const features = await call(`${api}/features`)
      assert.deepStrictEqual(features.json.pipeline_types, ["sql"])
      const me = await call(`${api}/me`)
      assert.deepStrictEqual([me.status, me.json.error.code], [401, "UNAUTHENTICATED"])
    }),
  )

  it.effect("keeps landing zones and refuses what is wrong about them", () =>
    use(async (api) => {
      const zones = `${api}/landing-zones`
      const created = await call(zones, body("POST", { namespace: "default", name: "drop", description: "d" }))
      assert.deepStrictEqual([created.status, created.json.name, created.json.file_count], [201, "drop", 0])
      const twice = await call(zones, body("POST", { namespace: "default", name: "drop" }))
      assert.deepStrictEqual([twice.status, twice.json.error.code], [409, "ALREADY_EXISTS"])
      const nowhere = await call(zones, body("POST", { namespace: "nowhere", name: "drop" }))
      assert.strictEqual(nowhere.status, 404)
      const named = await call(zones, body("POST", { namespace: "default", name: "Not A Name" }))
      assert.strictEqual(named.status, 400)
      assert.include(named.json.error.message, '"name"')
      const missing = await call(zones, body("POST", { namespace: "default" }))
      assert.strictEqual(missing.json.error.message, 'body "name": is required')
      assert.strictEqual((await call(`${zones}/default/absent`)).status, 404)

      const file = await call(`${zones}/default/drop/files`, upload("../a b.csv", bytes("x\n1\n")))
      assert.strictEqual(file.status, 201)
      assert.match(file.json.filename, /^\d{8}_\d{6}_a_b\.csv$/)
      const listed = await call(`${zones}/default/drop/files?limit=1`)
      assert.deepStrictEqual([listed.json.total, listed.json.files[0].id], [1, file.json.id])
      const zone = await call(`${zones}?namespace=default`)
      assert.deepStrictEqual([zone.json.zones[0].file_count, zone.json.zones[0].total_bytes], [1, 4])
      // The files API reads what was uploaded.
      assert.strictEqual((await call(`${api}/files/${file.json.s3_path}`)).json.content, "x\n1\n")
      const one = `${zones}/default/drop/files/${file.json.id}`
      assert.strictEqual((await call(one)).json.size_bytes, 4)
      assert.strictEqual((await call(one, { method: "DELETE" })).status, 204)
      assert.strictEqual((await call(one)).status, 404)
      assert.strictEqual((await call(`${zones}/default/drop`, { method: "DELETE" })).status, 204)
      assert.strictEqual((await call(`${zones}/default/drop`, { method: "DELETE" })).status, 404)
    }),
  )

  it.effect("refuses an upload above its limit with 413 and keeps nothing of it", () =>
    use(async (api) => {
      await call(`${api}/landing-zones`, body("POST", { namespace: "default", name: "big" }))
      const files = `${api}/landing-zones/default/big/files`
      const refused = await call(files, upload("big.csv", new Uint8Array(uploadLimit + 1)))
      assert.deepStrictEqual([refused.status, refused.json.error.details.limit_bytes], [413, uploadLimit])
      assert.strictEqual((await call(files)).json.total, 0)
      assert.strictEqual((await call(files, upload("fits.csv", new Uint8Array(uploadLimit - 1000)))).status, 201)
      const json = await call(`${api}/namespaces`, body("POST", { name: "x".repeat(2 ** 20) }))
      assert.strictEqual(json.status, 413)
    }),
  )

  it.effect("edits pipelines' files by paths with raw and encoded slashes, and checks them", () =>
    use(async (api) => {
      const path = "default/pipelines/bronze/edited/pipeline.sql"
      const raw = `${api}/files/${path}`
      const encoded = `${api}/files/${encodeURIComponent(path)}`
      const written = await call(raw, body("PUT", { content: "select 1 as a" }))
      assert.deepStrictEqual([written.status, written.json.status, written.json.path], [200, "written", path])
      assert.match(written.json.version_id, /^[0-9a-f]{64}$/)
      assert.strictEqual((await call(encoded)).json.content, "select 1 as a")

      const wrong = await call(encoded, body("PUT", { content: "selec 1" }))
      assert.strictEqual(wrong.status, 422)
      assert.strictEqual(wrong.json.error.details.issues[0].path, "pipelines/bronze/edited/pipeline.sql")
      assert.strictEqual((await call(raw)).json.content, "select 1 as a")

      const listed = await call(`${api}/files?prefix=default/pipelines/bronze/edited/`)
      assert.deepStrictEqual(
        listed.json.files.map((file: { path: string; type: string }) => [file.path, file.type]),
        [[path, "pipeline-sql"]],
      )
      const hidden = await call(`${api}/files?prefix=default&exclude=bronze,landing`)
      assert.lengthOf(hidden.json.files, 0)
      assert.strictEqual((await call(`${api}/files?prefix=/etc`)).status, 400)
      const sent = await call(
        `${api}/files/upload`,
        upload("doc.md", bytes("# doc"), { path: "default/pipelines/bronze/edited/doc.md" }),
      )
      assert.deepStrictEqual([sent.status, sent.json.status, sent.json.size], [201, "uploaded", 5])
      assert.strictEqual((await call(raw, { method: "DELETE" })).status, 204)
      assert.strictEqual((await call(raw, { method: "DELETE" })).status, 404)
      assert.strictEqual((await call(raw)).status, 404)
    }),
  )

  it.effect("lets nobody reach what the platform owns, or leave the tree", () =>
    use(async (api) => {
      for (const path of [
        "default/bronze/orders/metadata/00000.json",
        "blobs/sha256/ab/abcd",
        "default/landing/drop",
        "default/secret.txt",
      ]) {
        const written = await call(`${api}/files/${path}`, body("PUT", { content: "x" }))
        assert.deepStrictEqual([path, written.status, written.json.error.code], [path, 403, "FORBIDDEN"])
        assert.strictEqual((await call(`${api}/files/${path}`, { method: "DELETE" })).status, 403)
      }
      for (const path of ["default%2F..%2F..%2Fetc%2Fpasswd", "default%2Fpipelines%2F%00x", "default%5C..%5Cx"]) {
        assert.strictEqual((await call(`${api}/files/${path}`)).status, 400)
      }
    }),
  )

  it.effect("describes tables and keeps what people write about them", () =>
    use(async (api, { client }) => {
      await client.projects.push("default", {
        files: [{ path: "pipelines/gold/facts/pipeline.sql", content: "select 1 as id, 'a' as name" }],
      })
      const { run_id } = await client.runs.create({ namespace: "default", layer: "gold", pipeline: "facts" })
      assert.strictEqual((await client.runs.wait(run_id)).status, "success")
      const table = `${api}/tables/default/gold/facts`
      await call(`${table}/metadata`, body("PUT", { description: "Facts", column_descriptions: { id: "The key" } }))
      const partial = await call(`${table}/metadata`, body("PUT", { owner: "data" }))
      assert.deepStrictEqual([partial.json.description, partial.json.owner], ["Facts", "data"])
      const detail = await call(table)
      assert.deepStrictEqual(
        [detail.json.row_count, detail.json.description, detail.json.owner, detail.json.columns],
        [
          1,
          "Facts",
          "data",
          [
            { name: "id", type: "INTEGER", description: "The key" },
            { name: "name", type: "VARCHAR" },
          ],
        ],
      )
      assert.isAbove(detail.json.size_bytes, 0)
      assert.strictEqual((await call(`${api}/tables?namespace=default&layer=gold`)).json.total, 1)
      assert.strictEqual((await call(`${api}/tables?layer=bronze`)).json.total, 0)
      assert.strictEqual((await call(`${api}/tables?layer=copper`)).status, 400)
      assert.strictEqual((await call(`${api}/tables/other/gold/facts`)).status, 404)
      const schema = await call(`${api}/schema`)
      assert.deepStrictEqual(
        schema.json.tables.map((each: { layer: string; name: string }) => [each.layer, each.name]),
        [["gold", "facts"]],
      )
      const preview = await call(`${table}/preview?limit=99999`)
      assert.deepStrictEqual(preview.json.rows, [{ id: 1, name: "a" }])
      const absent = await call(`${api}/tables?branch=run-nothing`)
      assert.strictEqual(absent.status, 404)
    }),
  )

  it.effect("answers queries in the shape that was asked for, cut at the limit and saying so", () =>
    use(async (api) => {
      const ask = (value: unknown, headers: Record<string, string> = {}) =>
        call(`${api}/query`, { ...body("POST", value), headers: { "content-type": "application/json", ...headers } })
      const cut = await ask({ sql: "select i::integer as i from range(10) t(i)", limit: 3 })
      assert.deepStrictEqual([cut.json.total_rows, cut.json.truncated, cut.json.rows.length], [3, true, 3])
      const none = await ask({ sql: "select i from range(10) t(i)", limit: 0 })
      assert.deepStrictEqual([none.json.rows, none.json.columns[0].name], [[], "i"])
      const arrays = await ask({ sql: "select 1 as a, 2 as a", shape: "arrays" })
      assert.deepStrictEqual(arrays.json.rows, [[1, 2]])
      const html = await ask({ sql: "select 1" }, { accept: "text/html" })
      assert.deepStrictEqual([html.status, html.json.error.code], [406, "NOT_ACCEPTABLE"])
      const forbidden = await ask({ sql: "copy (select 1) to '/tmp/x.csv'" })
      assert.include([400, 403], forbidden.status)
      const slow = await ask({ sql: "select count(*) from range(1000000000) a, range(1000000) b", timeout_ms: 200 })
      assert.deepStrictEqual([slow.status, slow.json.error.code], [504, "DEADLINE_EXCEEDED"])
      const empty = await ask({ sql: "" })
      assert.strictEqual(empty.status, 400)
      assert.include(empty.json.error.message, '"sql"')
    }),
  )
})
