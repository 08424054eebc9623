import { createServer, type IncomingMessage } from "node:http"
import type { AddressInfo } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { isPostgresOutage } from "../postgres/PostgresOutage.ts"
import { makeNessieClient, nessieHttp } from "./NessieClient.ts"

interface Answer {
  readonly status: number
  readonly body: string
}

/** An HTTP server that answers what `answer` says; null: nothing, ever. */
const serverOf = (answer: (request: IncomingMessage, count: number) => Answer | null) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      let requests = 0
      const server = createServer((request, response) => {
        const said = answer(request, requests++)
        if (said === null) return
        response.writeHead(said.status, { "content-type": "application/json" })
        response.end(said.body)
      })
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
      return { url, server, requests: () => requests }
    }),
    ({ server }) =>
      Effect.promise(
        () =>
          new Promise<void>((resolve) => {
            server.close(() => resolve())
            server.closeAllConnections()
          }),
      ),
  )

const ok = { status: 200, body: "{}" }
const client = (url: string, timeout: "200 millis" | "5 seconds" = "5 seconds") =>
  makeNessieClient({ url, timeout, token: Redacted.make("secret") }).pipe(Effect.provide(nessieHttp))

describe("Requests to Nessie", () => {
  it.live("carry the token, and go below /api/v2 however the address is written", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const { url } = yield* serverOf(({ headers, url: path }) => {
        seen.push(`${path} ${headers.authorization}`)
        return ok
      })
      for (const form of [url, `${url}/`, `${url}/api/v2`, `${url}/api/v1/`]) {
        yield* (yield* client(form))("GET", "/config")
      }
      assert.deepStrictEqual(seen, Array(4).fill("/api/v2/config Bearer secret"))
    }),
  )

  it.live("are repeated when the server says later, and answered with what it says then", () =>
    Effect.gen(function* () {
      const { url, requests } = yield* serverOf((_, count) =>
        count < 2 ? { status: 503, body: "busy" } : { status: 200, body: '{"hash":"h","n":9007199254740993}' },
      )
      assert.deepStrictEqual(yield* (yield* client(url))("GET", "/x"), { hash: "h", n: 9007199254740993n })
      assert.strictEqual(requests(), 3)
    }),
  )

  it.live("that get no answer, an error or some other server's page are an outage that names the server", () =>
    Effect.gen(function* () {
      const silent = yield* serverOf(() => null)
      const broken = yield* serverOf(() => ({ status: 500, body: "{}" }))
      const other = yield* serverOf(() => ({ status: 200, body: "<html>" }))
      for (const url of [silent.url, broken.url, other.url, "http://127.0.0.1:1"]) {
        const error = yield* Effect.flip((yield* client(url, "200 millis"))("GET", "/config"))
        assert.strictEqual(error._tag, "SqlError")
        assert.isTrue(error._tag === "SqlError" && isPostgresOutage(error), error.message)
        assert.include(error.message, url)
      }
    }),
  )

  it.live("are held back after repeated outages", () =>
    Effect.gen(function* () {
      const { url, requests } = yield* serverOf(() => ({ status: 500, body: "{}" }))
      const call = yield* client(url)
      yield* Effect.forEach(Array.from({ length: 5 }), () => Effect.flip(call("GET", "/x")), { concurrency: 5 })
      const before = requests()
      const error = yield* Effect.flip(call("GET", "/x"))
      assert.include(error.message, "held back")
      assert.strictEqual(requests(), before)
    }),
  )

  it.live("that are refused say so with the server's word, are not repeated and are no outage", () =>
    Effect.gen(function* () {
      const body = JSON.stringify({ status: 409, errorCode: "REFERENCE_CONFLICT", message: "moved" })
      const { url, requests } = yield* serverOf(() => ({ status: 409, body }))
      const error = yield* Effect.flip((yield* client(url))("POST", "/x", {}))
      assert.deepInclude(error, { _tag: "NessieRefused", status: 409, code: "REFERENCE_CONFLICT", message: "moved" })
      assert.strictEqual(requests(), 1)
    }),
  )
})
