import { createHash } from "node:crypto"
import { readFile } from "node:fs/promises"
import { createServer, request as nodeRequest } from "node:http"
import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { FilePath, QueueFull } from "@rat/domain"
import { Duration, Effect, Exit, Layer, References, Schema, Scope, Stream } from "effect"
import { HttpRouter, HttpServer, HttpServerResponse, Multipart } from "effect/http"
import { HttpApi, HttpApiBuilder, HttpApiEndpoint, HttpApiGroup, HttpApiSchema } from "effect/http-api"
import type { NetAddress } from "effect/net"
import { Drain } from "./Drain.ts"
import { edge } from "./Edge.ts"
import { wired } from "./ErrorEnvelope.ts"

/** A small contract with one route of each kind; what is under test is what lies around the routes. */
class Things extends HttpApiGroup.make("things")
  .add(
    HttpApiEndpoint.post("create", "/", {
      payload: Schema.Struct({ name: Schema.String, size: Schema.Int.check(Schema.isGreaterThan(0)) }),
      success: Schema.Struct({ name: Schema.String }).pipe(HttpApiSchema.status(201)),
    }),
  )
  .add(
    HttpApiEndpoint.post("upload", "/upload", {
      payload: Schema.Struct({ file: Multipart.SingleFileSchema }).pipe(HttpApiSchema.asMultipart()),
      success: Schema.Struct({ sha256: Schema.String }),
    }),
  )
  .add(HttpApiEndpoint.get("full", "/full", { success: Schema.String }))
  .add(HttpApiEndpoint.get("broken", "/broken", { success: Schema.String }))
  .add(HttpApiEndpoint.get("stream", "/stream", { success: Schema.String }))
  .prefix("/api/v1/things") {}
class Files extends HttpApiGroup.make("files")
  .add(
    HttpApiEndpoint.get("read", "/:path", {
      params: { path: FilePath },
      success: Schema.Struct({ path: Schema.String }),
    }),
  )
  .prefix("/api/v1/files") {}
class TestApi extends HttpApi.make("test").add(Things).add(Files).annotate(HttpApi.ParseOptions, { errors: "all" }) {}

const things = HttpApiBuilder.group(TestApi, "things", (handlers) =>
  handlers
    .handle("create", ({ payload }) => Effect.succeed({ name: payload.name }))
    .handle("upload", ({ payload }) =>
      Effect.map(
        Effect.promise(() => readFile(payload.file.path)),
        (bytes) => ({ sha256: createHash("sha256").update(bytes).digest("hex") }),
      ),
    )
    .handle("full", () =>
      wired(Effect.fail(new QueueFull({ scope: "pipeline", name: "p", limit: 10, retryAfterSeconds: 7 }))),
    )
    .handle("broken", () => Effect.die(new Error("secret detail")))
    .handle("stream", () =>
      Effect.succeed(
        HttpServerResponse.stream(
          Stream.concat(Stream.succeed(new TextEncoder().encode("event: log\ndata: 1\n\n")), Stream.never),
          { contentType: "text/event-stream" },
        ),
      ),
    ),
)
const files = HttpApiBuilder.group(TestApi, "files", (handlers) =>
  handlers.handle("read", ({ params }) => Effect.succeed({ path: params.path })),
)

const limits = { jsonBytes: 1000, projectBytes: 2000, uploadBytes: 300_000 }

const routes = HttpApiBuilder.layer(TestApi).pipe(Layer.provide([things, files]))
const served = Layer.effectDiscard(
  Effect.gen(function* () {
    const router = yield* HttpRouter.HttpRouter
    const server = yield* HttpServer.HttpServer
    const drain = yield* Drain
    yield* server.serve(
      edge({ corsOrigins: ["http://localhost:3000"], bodyLimits: limits, drain })(router.asHttpEffect()),
    )
    yield* Effect.addFinalizer(() => drain.begin)
  }),
).pipe(
  Layer.provide(routes),
  Layer.provide(HttpRouter.layer),
  Layer.provide(Layer.succeed(HttpRouter.RouterConfig, { maxParamLength: 10_000, caseSensitive: true })),
  Layer.provideMerge(
    NodeHttpServer.layer(() => createServer(), {
      host: "127.0.0.1",
      port: 0,
      gracefulShutdownTimeout: Duration.seconds(5),
    }),
  ),
  Layer.provide(Drain.layer),
  // What is refused is not worth a line on the screen of whoever runs the tests.
  Layer.provide(Layer.succeed(References.MinimumLogLevel, "None")),
)

const started = Effect.gen(function* () {
  const context = yield* Layer.build(served)
  const { port } = (yield* HttpServer.HttpServer.pipe(Effect.provideContext(context))).address as NetAddress.InetAddress
  return `http://127.0.0.1:${port}`
})

const call = (url: string, init?: RequestInit) =>
  Effect.promise(async () => {
    const response = await fetch(url, init)
    const text = await response.text()
    return { status: response.status, headers: response.headers, text, json: () => JSON.parse(text) }
  })

const json = (body: string): RequestInit => ({ method: "POST", body, headers: { "content-type": "application/json" } })

const it_ = (name: string, test: (base: string) => Effect.Effect<void>) =>
  it.live(name, () => Effect.flatMap(started, test).pipe(Effect.scoped))

describe("Edge", () => {
  it_("names every wrong field of a body in one answer", (base) =>
    Effect.gen(function* () {
      const answer = yield* call(`${base}/api/v1/things`, json(`{"size": -1}`))
      assert.strictEqual(answer.status, 400)
      const { error } = answer.json()
      assert.strictEqual(error.code, "INVALID_ARGUMENT")
      assert.strictEqual(error.type, "VALIDATION")
      assert.strictEqual(error.message, `body "name": is required; body "size": Expected a value greater than 0`)
      assert.strictEqual(error.request_id, answer.headers.get("x-request-id"))
    }),
  )

  it_("answers a body that is not JSON with 400", (base) =>
    Effect.gen(function* () {
      const answer = yield* call(`${base}/api/v1/things`, json("{nonsense"))
      assert.strictEqual(answer.status, 400)
      assert.include(answer.json().error.message, "JSON")
    }),
  )

  it_("refuses a content type it does not know with the envelope", (base) =>
    Effect.gen(function* () {
      const answer = yield* call(`${base}/api/v1/things`, {
        method: "POST",
        body: "x",
        headers: { "content-type": "text/x-odd" },
      })
      assert.strictEqual(answer.status, 415)
      assert.strictEqual(answer.json().error.code, "UNSUPPORTED_MEDIA_TYPE")
    }),
  )

  it_("answers unknown routes with 404, and known ones with another method with 405", (base) =>
    Effect.gen(function* () {
      const unknown = yield* call(`${base}/api/v1/nothing`)
      assert.strictEqual(unknown.status, 404)
      assert.strictEqual(unknown.json().error.code, "NOT_FOUND")
      // The table of methods is the product's contract, so a route of it is asked for.
      const wrong = yield* call(`${base}/api/v1/runs`, { method: "DELETE" })
      assert.strictEqual(wrong.status, 405)
      assert.strictEqual(wrong.headers.get("allow"), "GET, POST")
    }),
  )

  it_("hides what a defect says and logs it under the request id", (base) =>
    Effect.gen(function* () {
      const answer = yield* call(`${base}/api/v1/things/broken`, { headers: { "x-request-id": "my-id.1" } })
      assert.strictEqual(answer.status, 500)
      assert.notInclude(answer.text, "secret detail")
      assert.strictEqual(answer.json().error.request_id, "my-id.1")
      assert.strictEqual(answer.headers.get("x-request-id"), "my-id.1")
    }),
  )

  it_("replaces a request id that could harm a log", (base) =>
    Effect.gen(function* () {
      const answer = yield* call(`${base}/api/v1/things/full`, { headers: { "x-request-id": "a b\tc" } })
      assert.match(answer.headers.get("x-request-id") ?? "", /^[0-9a-f-]{36}$/)
    }),
  )

  it_("says when to come back on 429", (base) =>
    Effect.gen(function* () {
      const answer = yield* call(`${base}/api/v1/things/full`)
      assert.strictEqual(answer.status, 429)
      assert.strictEqual(answer.headers.get("retry-after"), "7")
      assert.strictEqual(answer.json().error.code, "RESOURCE_EXHAUSTED")
      assert.strictEqual(answer.headers.get("x-content-type-options"), "nosniff")
    }),
  )

  it_("takes file paths with slashes as they are and encoded", (base) =>
    Effect.gen(function* () {
      for (const path of ["ns/pipelines/a b.sql", "ns%2Fpipelines/a%20b.sql", "ns%2Fpipelines%2Fa%20b.sql?x=/y"]) {
        const answer = yield* call(`${base}/api/v1/files/${path}`)
        assert.strictEqual(answer.json().path, "ns/pipelines/a b.sql")
      }
      const escaping = yield* call(`${base}/api/v1/files/ns%2F..%2F..%2Fetc`)
      assert.strictEqual(escaping.status, 400)
      const long = yield* call(`${base}/api/v1/files/ns/${"a".repeat(800)}`)
      assert.strictEqual(long.json().path.length, 803)
    }),
  )

  it_("refuses bodies above the limit, announced or not", (base) =>
    Effect.gen(function* () {
      const big = `{"name": "${"x".repeat(2000)}", "size": 1}`
      const announced = yield* call(`${base}/api/v1/things`, json(big))
      assert.strictEqual(announced.status, 413)
      assert.strictEqual(announced.json().error.details.limit_bytes, 1000)
      const chunked = yield* Effect.promise(
        () =>
          new Promise<number>((resolve, reject) => {
            const sent = nodeRequest(
              `${base}/api/v1/things`,
              { method: "POST", headers: { "content-type": "application/json" } },
              (response) => {
                response.resume()
                resolve(response.statusCode ?? 0)
              },
            )
            sent.on("error", reject)
            sent.write(big.slice(0, 500))
            sent.write(big.slice(500))
            sent.end()
          }),
      )
      assert.strictEqual(chunked, 413)
    }),
  )

  it_("streams an upload to the handler and refuses one that is too large", (base) =>
    Effect.gen(function* () {
      const upload = (bytes: Uint8Array<ArrayBuffer>) => {
        const form = new FormData()
        form.set("file", new Blob([bytes]), "data.bin")
        return call(`${base}/api/v1/things/upload`, { method: "POST", body: form })
      }
      const bytes = new Uint8Array(200_000).map((_, index) => index % 251)
      const good = yield* upload(bytes)
      assert.strictEqual(good.json().sha256, createHash("sha256").update(bytes).digest("hex"))
      const large = yield* upload(new Uint8Array(400_000))
      assert.strictEqual(large.status, 413)
    }),
  )

  it_("answers 304 when the caller has the content already", (base) =>
    Effect.gen(function* () {
      const url = `${base}/api/v1/files/ns/x`
      const first = yield* call(url)
      const tag = first.headers.get("etag") ?? ""
      assert.match(tag, /^"[\w-]+"$/)
      const second = yield* call(url, { headers: { "if-none-match": tag } })
      assert.strictEqual(second.status, 304)
      assert.strictEqual(second.text, "")
      const other = yield* call(`${base}/api/v1/files/ns/y`, { headers: { "if-none-match": tag } })
      assert.strictEqual(other.status, 200)
    }),
  )

  it_("lets the browser of an allowed origin in, and no other", (base) =>
    Effect.gen(function* () {
      const preflight = (origin: string) =>
        call(`${base}/api/v1/things`, {
          method: "OPTIONS",
          headers: { origin, "access-control-request-method": "POST" },
        })
      const allowed = yield* preflight("http://localhost:3000")
      assert.strictEqual(allowed.headers.get("access-control-allow-origin"), "http://localhost:3000")
      assert.include(allowed.headers.get("access-control-allow-headers") ?? "", "Idempotency-Key")
      const stranger = yield* preflight("https://evil.example")
      assert.isNull(stranger.headers.get("access-control-allow-origin"))
    }),
  )

  it.live("tells event streams that the server stops, and stops without waiting for them", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const base = yield* Scope.provide(started, scope)
      const response = yield* Effect.promise(() => fetch(`${base}/api/v1/things/stream`))
      const reader = response.body!.getReader()
      const first = yield* Effect.promise(() => reader.read())
      assert.include(new TextDecoder().decode(first.value), "data: 1")
      const stopped = performance.now()
      yield* Scope.close(scope, Exit.void)
      assert.isBelow(performance.now() - stopped, 2000)
      const last = yield* Effect.promise(() => reader.read())
      assert.include(new TextDecoder().decode(last.value), "stopping")
    }),
  )
})
