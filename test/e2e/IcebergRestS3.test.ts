import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { testNode } from "../support/TestNode.ts"

/** What a REST client has of a table in S3: signatures for its requests, and no secret. */
it.live(
  "a client reaches a table's objects in S3 by signatures alone, and nothing else of the bucket",
  () =>
    Effect.gen(function* () {
      const { url } = yield* testNode({ store: "s3" })
      const base = `${url}/iceberg`
      // biome-ignore lint/suspicious/noExplicitAny: answers of the protocol
      const call = async (path: string, body?: unknown, headers: Record<string, string> = {}): Promise<any> => {
        const response = await fetch(base + path, {
          method: body === undefined ? "GET" : "POST",
          headers,
          ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        })
        return { status: response.status, ...(await response.json()) }
      }
      yield* Effect.promise(async () => {
        const schema = { type: "struct", fields: [{ id: 1, name: "id", required: false, type: "long" }] }
        const delegated = { "x-iceberg-access-delegation": "remote-signing" }
        const tables = "/v1/namespaces/default%1Fsilver/tables"
        const made = await call(tables, { name: "signed", schema }, delegated)
        const { config, metadata } = made
        assert.strictEqual(config["s3.remote-signing-enabled"], "true")
        assert.notMatch(JSON.stringify(made), /secret|access-key/)
        const plain = await call(`${tables}/signed`)
        assert.notProperty(plain.config, "s3.signer.endpoint")

        const folder = metadata.location.replace("s3://rat/", "")
        const objectUrl = (key: string) => `${config["s3.endpoint"]}/rat/${key}`
        const sign = (method: string, uri: string, headers: Record<string, ReadonlyArray<string>> = {}) =>
          call(`/${config["s3.signer.endpoint"]}`, { region: config["s3.region"], method, uri, headers })
        const send = async (method: string, uri: string, body?: string) => {
          const signed = await sign(method, uri)
          assert.strictEqual(signed.status, 200, JSON.stringify(signed))
          const headers = Object.fromEntries(
            Object.entries(signed.headers as Record<string, ReadonlyArray<string>>).map(([name, values]) => [
              name,
              values.join(", "),
            ]),
          )
          assert.match(
            headers.authorization!,
            /^AWS4-HMAC-SHA256 Credential=test\/.*SignedHeaders=host;x-amz-content-sha256;x-amz-date/,
          )
          return fetch(signed.uri, { method, headers, ...(body === undefined ? {} : { body }) })
        }
        const own = objectUrl(`${folder}/data/part-1.parquet`)
        assert.strictEqual((await send("PUT", own, "bytes")).status, 200)
        assert.strictEqual(await (await send("GET", own)).text(), "bytes")
        const listing = `${config["s3.endpoint"]}/rat/?list-type=2&prefix=${encodeURIComponent(`${folder}/`)}`
        assert.match(await (await send("GET", listing)).text(), /part-1\.parquet/)

        await call(tables, { name: "other", schema })
        const refused: ReadonlyArray<readonly [string, string, Record<string, ReadonlyArray<string>>?]> = [
          ["DELETE", own],
          ["PUT", own], // there already
          ["PUT", objectUrl(`${folder}/metadata/00009-x.metadata.json`)],
          ["GET", objectUrl("default/silver/other/data/x.parquet")],
          ["GET", objectUrl(`${folder}x/data/x.parquet`)],
          ["GET", objectUrl(`${folder}/../other/data/x.parquet`)],
          ["GET", objectUrl(`${folder}/%2e%2e/other/data/x.parquet`)],
          ["GET", objectUrl(`${folder}%2F..%2Fother`)],
          ["GET", `${config["s3.endpoint"]}/other-bucket/${folder}/data/x`],
          ["GET", `http://127.0.0.1:1/rat/${folder}/data/x`],
          ["GET", `${config["s3.endpoint"]}/rat/?list-type=2&prefix=default%2F`],
          ["GET", `${config["s3.endpoint"]}/rat/?list-type=2&prefix=`],
          ["POST", `${config["s3.endpoint"]}/rat/?delete`],
          ["PUT", objectUrl(`${folder}/data/new`), { "x-amz-copy-source": ["/rat/default/silver/other/data/x"] }],
          ["PUT", objectUrl(`${folder}/data/new`), { "x-amz-acl": ["public-read"] }],
          ["PUT", objectUrl(`${folder}/data/new?acl`)],
        ]
        for (const [method, uri, headers] of refused) {
          const answer = await sign(method, uri, headers)
          assert.deepInclude(answer.error, { type: "ForbiddenException", code: 403 }, `${method} ${uri}`)
        }
      })
    }).pipe(Effect.scoped),
  60_000,
)
