import { randomUUID } from "node:crypto"
import { assert, layer } from "@effect/vitest"
import { mainRef, RefName } from "@rat/domain"
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
