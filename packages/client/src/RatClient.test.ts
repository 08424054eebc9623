import { readdirSync, readFileSync } from "node:fs"
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { join } from "node:path"
import { Effect } from "effect"
import { afterEach, assert, describe, expect, it } from "vitest"
import {
  AuthorizationError,
  ConflictError,
  ConnectionError,
  NotFoundError,
  RatApi,
  RatClient,
  type RatClientOptions,
  RateLimitError,
  type RunUpdate,
  ServerError,
  TimeoutError,
  ValidationError,
} from "./index.ts"

/** A socket that answers as the test says: what a RAT server, a proxy or a broken network would send. */
interface Seen {
  readonly method: string
  readonly url: string
  readonly headers: IncomingMessage["headers"]
  readonly body: string
}
const servers: Array<Server> = []
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections()
    server.close()
  }
})

const serving = async (
  answer: (response: ServerResponse, seen: Seen, count: number) => void,
  options: RatClientOptions = {},
) => {
  const requests: Array<Seen> = []
  const server = createServer((request, response) => {
    let body = ""
    request.on("data", (chunk) => {
      body += chunk
    })
    request.on("end", () => {
      const seen = { method: request.method ?? "", url: request.url ?? "", headers: request.headers, body }
      requests.push(seen)
      answer(response, seen, requests.length)
    })
  })
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const apiUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return { client: new RatClient({ apiUrl, retryDelayMs: 5, ...options }), apiUrl, requests }
}

const json = (response: ServerResponse, status: number, body: unknown, headers: Record<string, string> = {}) => {
  response.writeHead(status, { "content-type": "application/json", ...headers })
  response.end(JSON.stringify(body))
}
const envelope = (code: string, message: string, more: object = {}) => ({
  error: { code, type: "X", message, ...more },
})
const failure = async (promise: Promise<unknown>): Promise<unknown> => {
  try {
    await promise
  } catch (error) {
    return error
  }
  throw new Error("expected a rejection")
}
const runId = "01920000-0000-7000-8000-000000000001"

describe("requests", () => {
  it("come from the contract: method, path without a trailing slash, encoded segments, query, JSON body", async () => {
    const { client, requests } = await serving((response) => json(response, 200, { runs: [], total: 0 }))
    await client.runs.list({ namespace: "default", status: "failed", limit: 5 })
    await client.storage.read("default/pipelines/silver/a b/pipeline.sql")
    await client.projects.push("default", { files: [], dry_run: true })
    expect(requests.map(({ method, url, body }) => [method, url, body])).toEqual([
      ["GET", "/api/v1/runs?namespace=default&status=failed&limit=5", ""],
      ["GET", "/api/v1/files/default/pipelines/silver/a%20b/pipeline.sql", ""],
      ["PUT", "/api/v1/projects/default", '{"files":[],"dry_run":true}'],
    ])
  })

  it("never leave their resource through dot segments", async () => {
    const { client, requests } = await serving((response) => json(response, 200, {}))
    expect(await failure(client.storage.read("default/../../health"))).toBeInstanceOf(ValidationError)
    expect(await failure(client.runs.get(".."))).toBeInstanceOf(ValidationError)
    expect(requests).toEqual([])
  })

  it("send uploads as multipart forms", async () => {
    const { client, requests } = await serving((response) => json(response, 201, { id: "1" }))
    await client.landing.upload("default", "flights", "f.csv", new Blob(["a,b\n1,2\n"]))
    expect(requests[0]!.headers["content-type"]).toMatch(/^multipart\/form-data; boundary=/)
    expect(requests[0]!.body).toContain('name="file"; filename="f.csv"')
    expect(requests[0]!.body).toContain("a,b\n1,2\n")
  })
})

describe("errors", () => {
  it("are told apart by class and carry status, code, message, details and request id", async () => {
    const cases = [
      [400, ValidationError],
      [403, AuthorizationError],
      [404, NotFoundError],
      [409, ConflictError],
      [422, ValidationError],
      [500, ServerError],
      [504, TimeoutError],
    ] as const
    for (const [status, Class] of cases) {
      const { client } = await serving((response) =>
        json(response, status, envelope("SOME_CODE", "What happened.", { details: { line: 3 }, request_id: "req-1" })),
      )
      const error = await failure(client.runs.create({ namespace: "default" }, { maxRetries: 0 }))
      expect(error).toBeInstanceOf(Class)
      expect(error).toMatchObject({ status, code: "SOME_CODE", message: "What happened.", details: { line: 3 } })
      expect(error).toMatchObject({ requestId: "req-1", name: Class.name })
    }
  })

  it("of a proxy that answers in HTML still say what was asked and the status", async () => {
    const { client } = await serving((response) => {
      response.writeHead(502, { "content-type": "text/html" })
      response.end("<h1>Bad Gateway</h1>")
    })
    const error = await failure(client.health.live({ maxRetries: 0 }))
    expect(error).toMatchObject({
      _tag: "ServerError",
      status: 502,
      message: "GET /health/live answered 502 Bad Gateway",
    })
  })

  it("of an answer that is not JSON ask whether it is a RAT server", async () => {
    const { client } = await serving((response) => response.end("hello"))
    expect(await failure(client.health.live())).toMatchObject({ _tag: "ServerError", code: "BAD_ANSWER" })
  })

  it("of a closed port are ConnectionErrors that name the address", async () => {
    const { apiUrl } = await serving(() => undefined)
    servers.at(-1)!.close()
    const client = new RatClient({ apiUrl, maxRetries: 0 })
    const error = await failure(client.health.live())
    expect(error).toBeInstanceOf(ConnectionError)
    expect(error).toMatchObject({ message: `${apiUrl} cannot be reached (ECONNREFUSED).` })
  })

  it("not_ready is an answer", async () => {
    const { client } = await serving((response) => json(response, 503, { status: "not_ready", checks: {} }))
    expect(await client.health.ready()).toEqual({ status: "not_ready", checks: {} })
  })
})

describe("retries", () => {
  it("repeat what is idempotent after 503 and lost connections", async () => {
    const { client, requests } = await serving((response, _, count) => {
      if (count === 1) json(response, 503, envelope("UNAVAILABLE", "later"))
      else if (count === 2) response.destroy()
      else json(response, 200, { tables: [], total: 0 })
    })
    expect(await client.tables.list()).toEqual({ tables: [], total: 0 })
    expect(requests.length).toBe(3)
  })

  it("never repeat a POST that the server could not recognise", async () => {
    const { client, requests } = await serving((response) => json(response, 503, envelope("UNAVAILABLE", "later")))
    expect(await failure(client.pipelines.create({ namespace: "default", layer: "gold", name: "x" }))).toBeInstanceOf(
      ServerError,
    )
    expect(requests.length).toBe(1)
  })

  it("repeat a submitted run under one idempotency key", async () => {
    const { client, requests } = await serving((response, _, count) =>
      count === 1 ? response.destroy() : json(response, 202, { run_id: runId, status: "pending" }),
    )
    await client.runs.create({ namespace: "default", kind: "noop" })
    const keys = requests.map((request) => request.headers["idempotency-key"])
    expect(keys.length).toBe(2)
    expect(keys[0]).toBe(keys[1])
    expect(keys[0]).toMatch(/^[0-9a-f-]{36}$/)
  })

  it("are bounded, wait as long as Retry-After says, and tell it in the end", async () => {
    const { client, requests } = await serving(
      (response) => json(response, 429, envelope("RESOURCE_EXHAUSTED", "full"), { "retry-after": "1" }),
      { maxRetries: 1 },
    )
    const started = Date.now()
    const error = await failure(client.tables.list())
    expect(error).toBeInstanceOf(RateLimitError)
    expect(error).toMatchObject({ retryAfter: 1, code: "RESOURCE_EXHAUSTED" })
    expect(requests.length).toBe(2)
    expect(Date.now() - started).toBeGreaterThanOrEqual(1000)
  })

  it("do not repeat a refusal", async () => {
    const { client, requests } = await serving((response) => json(response, 404, envelope("NOT_FOUND", "no")))
    await failure(client.runs.get(runId))
    expect(requests.length).toBe(1)
  })
})

describe("waiting", () => {
  it("ends with a TimeoutError when no answer comes in time", async () => {
    const { client } = await serving(() => undefined, { timeoutMs: 50, maxRetries: 0 })
    const error = await failure(client.health.live())
    expect(error).toBeInstanceOf(TimeoutError)
    expect((error as Error).message).toMatch(/gave no answer within 0.05 s/)
  })

  it("ends with the signal's reason when the caller aborts, also between retries", async () => {
    const hanging = await serving(() => undefined)
    const controller = new AbortController()
    const pending = failure(hanging.client.health.live({ signal: controller.signal }))
    setTimeout(() => controller.abort(new Error("enough")), 20)
    expect(await pending).toMatchObject({ message: "enough" })

    const failing = await serving((response) => json(response, 503, {}), { retryDelayMs: 60_000 })
    expect(await failure(failing.client.tables.list({}, { signal: AbortSignal.timeout(50) }))).toMatchObject({
      name: "TimeoutError",
    })
  })

  it("of a query is as long as the query's own limit", async () => {
    const { client } = await serving(
      (response) =>
        setTimeout(() => json(response, 200, { columns: [], rows: [], total_rows: 0, duration_ms: 1 }), 100),
      { timeoutMs: 20 },
    )
    expect((await client.query.execute({ sql: "select 1", timeout_ms: 1000 })).total_rows).toBe(0)
  })
})

describe("query", () => {
  it("asks for objects, arrays or bytes", async () => {
    const { client, requests } = await serving((response, seen) => {
      if (seen.headers.accept === "text/csv") response.end("a\n1\n")
      else json(response, 200, { columns: [], rows: [], total_rows: 0, duration_ms: 1 })
    })
    await client.query.execute("select 1")
    await client.query.arrays({ sql: "select 1", namespace: "default", limit: 3 })
    const stream = await client.query.bytes("select 1 as a", "csv")
    expect(await new Response(stream).text()).toBe("a\n1\n")
    expect(requests.map((request) => JSON.parse(request.body))).toEqual([
      { sql: "select 1", shape: "objects" },
      { sql: "select 1", namespace: "default", limit: 3, shape: "arrays" },
      { sql: "select 1 as a" },
    ])
  })
})

describe("follow", () => {
  const log = (seq: number) =>
    `id: ${seq}\nevent: log\ndata: ${JSON.stringify({ seq, timestamp: "t", level: "info", message: `line ${seq}` })}\n\n`
  const status = (value: string) => `event: status\ndata: ${JSON.stringify({ status: value })}\n\n`
  const open = (response: ServerResponse) => response.writeHead(200, { "content-type": "text/event-stream" })
  const collect = async (updates: AsyncIterable<RunUpdate>) => {
    const seen: Array<number | string> = []
    for await (const update of updates) seen.push(update.type === "log" ? update.entry.seq : update.status)
    return seen
  }

  it("gives every line once and in order over lost connections, and ends with the terminal status", async () => {
    const { client, requests } = await serving((response, _, count) => {
      open(response)
      if (count === 1) {
        response.write(`: hello\n\n${status("running")}${log(1)}${log(2)}`)
        setTimeout(() => response.destroy(), 20)
      } else if (count === 2) {
        response.end(`event: error\ndata: {"code":"TIMEOUT","message":"30 minutes"}\n\n`)
      } else {
        // Repeats line 2, as a server without resume would; splits an event over two writes.
        const text = `${log(2)}${log(3)}${status("success")}`
        response.write(text.slice(0, 100))
        setTimeout(() => response.end(text.slice(100)), 10)
      }
    })
    expect(await collect(client.runs.follow(runId))).toEqual(["running", 1, 2, 3, "success"])
    expect(requests.map((request) => request.headers["last-event-id"])).toEqual([undefined, "2", "2"])
    expect(requests[0]!.headers.accept).toBe("text/event-stream")
  })

  it("ends at once for a run that does not exist", async () => {
    const { client, requests } = await serving((response) => json(response, 404, envelope("NOT_FOUND", "no run")))
    expect(await failure(collect(client.runs.follow(runId)))).toBeInstanceOf(NotFoundError)
    expect(requests.length).toBe(1)
  })

  it("closes the connection when the consumer stops, and when the signal aborts", async () => {
    let closed = 0
    const { client } = await serving((response) => {
      response.on("close", () => closed++)
      open(response)
      response.write(log(1))
    })
    for await (const _ of client.runs.follow(runId)) break
    const controller = new AbortController()
    setTimeout(() => controller.abort(new Error("enough")), 30)
    expect(await failure(collect(client.runs.follow(runId, { signal: controller.signal })))).toMatchObject({
      message: "enough",
    })
    await expect.poll(() => closed).toBe(2)
  })
})

describe("follow of events", () => {
  const event = (offset: number) =>
    `id: ${offset}\ndata: ${JSON.stringify({ offset: String(offset), key: "k", type: "run.queued", namespace: "ns", payload: {}, at: "t" })}\n\n`

  it("gives every event once and in order over lost connections, from the newest on, and tells of gaps", async () => {
    const { client, requests } = await serving((response, seen, count) => {
      if (seen.headers.accept === "application/json") return json(response, 200, { newest: "7", events: [] })
      response.writeHead(200, { "content-type": "text/event-stream" })
      if (count === 2) {
        // Lost before the first event.
        response.write("id: 7\n: keep-alive\n\n")
        setTimeout(() => response.destroy(), 20)
      } else if (count === 3) {
        response.write(`${event(8)}${event(9)}`)
        setTimeout(() => response.destroy(), 20)
      } else {
        response.write(`${event(9)}event: gap\ndata: {"after":"9","up_to":"11","missed":2}\n\n${event(12)}`)
      }
    })
    const seen: Array<string> = []
    for await (const news of client.events.follow({ type: "run.*", namespace: "ns" })) {
      seen.push(news.type === "event" ? news.event.offset : `gap of ${news.missed}`)
      if (seen.at(-1) === "12") break
    }
    expect(seen).toEqual(["8", "9", "gap of 2", "12"])
    expect(requests.map(({ headers }) => headers["last-event-id"])).toEqual([undefined, "7", "7", "9"])
    expect(requests[1]!.url).toBe("/api/v1/events?namespace=ns&type=run.*&after=7")
  })
})

describe("RatApi", () => {
  it("decodes answers and errors as the contract says, with the same retries", async () => {
    const { apiUrl, requests } = await serving((response, seen, count) => {
      if (seen.url.startsWith("/api/v1/runs/")) json(response, 404, envelope("NOT_FOUND", "no run"))
      else if (count === 1) response.destroy()
      else json(response, 200, { status: "ok", version: "1", git_commit: "", build_time: "", node_version: "" })
    })
    const program = Effect.gen(function* () {
      const api = yield* RatApi
      const live = yield* api.health.live({})
      const missing = yield* Effect.flip(api.runs.get({ params: { runId: runId as never } }))
      return { live, missing }
    })
    const result = await Effect.runPromise(Effect.provide(program, RatApi.layer({ apiUrl, retryDelayMs: 5 })))
    expect(result.live.version).toBe("1")
    assert("error" in result.missing)
    expect(result.missing.error.message).toBe("no run")
    expect(requests.length).toBe(3)
  })
})

describe("the package", () => {
  it("runs in browsers: neither it nor the contract imports node modules or uses Node's globals", () => {
    for (const folder of [import.meta.dirname, join(import.meta.dirname, "../../domain/src")]) {
      for (const file of readdirSync(folder, { recursive: true, encoding: "utf8" })) {
        if (!file.endsWith(".ts") || file.endsWith(".test.ts")) continue
        const text = readFileSync(join(folder, file), "utf8")
        expect(text, file).not.toMatch(/["']node:|\bprocess\.\w|\bBuffer\b|\brequire\(|__dirname/)
      }
    }
  })
})
