import { assert, layer } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { assertForPeople } from "../support/Refusal.ts"
import { type TestNode, testNode } from "../support/TestNode.ts"

/** Requests that are wrong, too many, or too often. */

class Node extends Context.Service<Node, TestNode>()("test/e2e/Node") {}

const maxPending = 5

interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  // biome-ignore lint/suspicious/noExplicitAny: bodies of many shapes, looked at field by field
  readonly json: any
}

interface Call {
  readonly method: string
  readonly path: string
  /** Text is sent as it is. */
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
}

const callOn =
  ({ url }: TestNode) =>
  async ({ method, path, body, headers }: Call): Promise<Answer> => {
    const response = await fetch(`${url}/api/v1${path}`, {
      method,
      headers: { "content-type": "application/json", ...headers },
      ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
    })
    const text = await response.text()
    const isJson = (response.headers.get("content-type") ?? "").startsWith("application/json")
    return { status: response.status, headers: response.headers, text, json: isJson ? JSON.parse(text) : undefined }
  }

type Calling = (call: Call) => Promise<Answer>

const use = <A>(act: (call: Calling, node: TestNode) => Promise<A>) =>
  Effect.flatMap(Node, (node) => Effect.promise(() => act(callOn(node), node)))

const one = { namespace: "default", layer: "silver", pipeline: "one" }
const submit = (body: unknown, headers?: Record<string, string>): Call => ({
  method: "POST",
  path: "/runs",
  body,
  ...(headers === undefined ? {} : { headers }),
})
const get = (path: string): Call => ({ method: "GET", path })
const absent = "01900000-0000-7000-8000-000000000000"

const wrong: ReadonlyArray<readonly [name: string, call: Call, status: number, says: string]> = [
  ["a pipeline that is not there", submit({ ...one, pipeline: "two" }), 404, 'Pipeline "default.silver.two"'],
  ["a namespace that is not there", submit({ ...one, namespace: "nowhere" }), 404, "nowhere.silver.one"],
  ["a layer that is none", submit({ ...one, layer: "copper" }), 400, 'body "layer": Expected "bronze"'],
  ["a name that leaves its folder", submit({ ...one, pipeline: "../one" }), 400, 'body "pipeline": must start'],
  ["nothing of what is needed", submit({}), 400, 'body "namespace": is required'],
  ["half of what is needed", submit({ namespace: "default" }), 400, "Name what to run"],
  ["a field that does not exist", submit({ ...one, full_refresh: true }), 400, 'body "full_refresh": is unknown here'],
  ["a body that is no JSON", submit("{not json"), 400, "body: Expected a valid JSON body"],
  ["an empty body", submit(""), 400, "body: Expected object"],
  ["null", submit("null"), 400, "body: Expected object"],
  ["a body of another type", submit("a=b", { "content-type": "text/plain" }), 415, "Send application/json"],
  ["an endless trigger", submit({ ...one, trigger: "x".repeat(1000) }), 400, 'body "trigger"'],
  ["an endless key", submit(one, { "idempotency-key": "k".repeat(5000) }), 400, 'header "idempotency-key"'],
  [
    "a mistyped setting of a push",
    { method: "PUT", path: "/projects/default", body: { files: [], prun: true } },
    400,
    'body "prun": is unknown here',
  ],
  ["a field that queries lack", { method: "POST", path: "/query", body: { sql: "select 1", rows: 5 } }, 400, '"rows"'],
  [
    "a pipeline of Python",
    { method: "POST", path: "/pipelines", body: { namespace: "default", layer: "silver", name: "py", type: "python" } },
    400,
    "Write the pipeline in SQL",
  ],
  ["a run id that is none", get("/runs/not-a-run"), 404, 'Run "not-a-run" does not exist'],
  ["the log of a run that is not there", get(`/runs/${absent}/logs`), 404, absent],
  ["cancelling a run that is not there", { method: "POST", path: `/runs/${absent}/cancel` }, 404, absent],
  ["a status that is none", get("/runs?status=nope"), 400, 'query parameter "status"'],
  ["a time that is none", get("/runs?started_after=yesterday"), 400, 'query parameter "started_after"'],
  ["a NUL in a path", get("/files/default/pipelines/silver/%00x"), 400, "NUL"],
  ["a NUL in a prefix", get("/files?prefix=default/%00"), 400, "NUL"],
  [
    "a branch that is not there",
    { method: "POST", path: "/query", body: { sql: "select 1", branch: "no" } },
    404,
    '"no"',
  ],
  [
    "a branch that is no name",
    { method: "POST", path: "/query", body: { sql: "select 1", branch: "a'b*" } },
    400,
    "branch",
  ],
  ...["../../etc/passwd", "/etc/passwd", "pipelines/silver/../gold/x/pipeline.sql", "a\\b", "a\u0000b"].map(
    (path) =>
      [
        `a push of ${JSON.stringify(path)}`,
        { method: "PUT", path: "/projects/default", body: { files: [{ path, content: "select 1 as a" }] } },
        422,
        "must be a relative path without '..'",
      ] as const,
  ),
  [
    "a push of a name with quotes and stars",
    {
      method: "PUT",
      path: "/projects/default",
      body: { files: [{ path: "pipelines/silver/o'ne*/pipeline.sql", content: "select 1 as a" }] },
    },
    422,
    `"o'ne*" is not a pipeline name`,
  ],
  [
    "a landing zone outside of its folder",
    { method: "PUT", path: "/projects/default", body: { files: [], landing_zones: ["../x"] } },
    422,
    '"../x" is not a landing zone name',
  ],
  ["a method that is not there", { method: "PATCH", path: "/runs" }, 405, "Use GET, POST"],
  ["a route that is not there", get("/nothing"), 404, "There is no route GET /api/v1/nothing"],
]

const nodeWithOne = Layer.effect(
  Node,
  Effect.gen(function* () {
    const environment = { RAT_MAX_PENDING_PER_PIPELINE: String(maxPending), RAT_UPLOAD_LIMIT: "100000" }
    const node = yield* testNode({ store: "file", environment })
    yield* Effect.promise(() =>
      node.client.projects.push("default", {
        files: [{ path: "pipelines/silver/one/pipeline.sql", content: "select 1 as a" }],
        landing_zones: ["drop"],
      }),
    )
    return node
  }),
)

layer(nodeWithOne, { excludeTestServices: true, timeout: "60 seconds" })("the API", (it) => {
  it.effect.each(wrong)("refuses %s", ([, wish, status, says]) =>
    use(async (call, { dataFolder }) => {
      const answer = await call(wish)
      assert.strictEqual(answer.status, status)
      const { error } = answer.json
      assert.include(error.message, says)
      assert.isString(error.code)
      assert.isString(error.type)
      assert.strictEqual(error.request_id, answer.headers.get("x-request-id"))
      assertForPeople(error.message, dataFolder)
    }),
  )

  it.effect("takes numbers of a page that are out of all bounds as the nearest ones", () =>
    use(async (call) => {
      const answer = await call(get("/runs?limit=-5&offset=99999999999999999999&sort=;drop"))
      assert.deepStrictEqual([answer.status, answer.json.runs], [200, []])
    }),
  )

  it.effect("stores uploads under names that no pattern takes for something else", () =>
    use(async (_call, { client, url }) => {
      const names = ["a*b?.csv", `a'b"c.csv`, "..", "/etc/passwd", "..\\x.csv", "[a-z].csv", "{a,b}.csv", ".hidden"]
      for (const name of names) {
        const form = new FormData()
        form.set("file", new Blob(["a,b\n1,2\n"]), name)
        const response = await fetch(`${url}/api/v1/landing-zones/default/drop/files`, { method: "POST", body: form })
        assert.strictEqual(response.status, 201, name)
        const { filename } = (await response.json()) as { filename: string }
        assert.match(filename, /^\d{8}_\d{6}_[\p{L}\p{N}_-][\p{L}\p{N}._-]*$/u, name)
      }
      await client.projects.push("default", {
        files: [
          {
            path: "pipelines/bronze/all/pipeline.sql",
            content: "select a, b from read_csv('{{ landing_zone('drop') }}')",
          },
        ],
      })
      const { run_id } = await client.runs.create({ namespace: "default", layer: "bronze", pipeline: "all" })
      const run = await client.runs.wait(run_id)
      assert.deepStrictEqual([run.error, run.rows_written], [null, names.length])
    }),
  )

  it.effect("stops reading a body that is too large although it did not say so", () =>
    use(async (_call, { client, url }) => {
      const { total } = await client.landing.files("default", "drop")
      const head = '--edge\r\ncontent-disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'
      const body = new ReadableStream<Uint8Array>({
        start: (controller) => {
          controller.enqueue(new TextEncoder().encode(head))
          for (let sent = 0; sent < 30; sent++) controller.enqueue(new Uint8Array(10_000))
          controller.close()
        },
      })
      const response = await fetch(`${url}/api/v1/landing-zones/default/drop/files`, {
        method: "POST",
        body,
        duplex: "half",
        headers: { "content-type": "multipart/form-data; boundary=edge" },
      } as RequestInit)
      assert.strictEqual(response.status, 413)
      assert.include(await response.text(), "larger than this server accepts")
      assert.strictEqual((await client.landing.files("default", "drop")).total, total)
    }),
  )

  it.effect("accepts of a hundred runs what its queue holds, and finishes all that it accepted", () =>
    use(async (call, { client }) => {
      const answers = await Promise.all(Array.from({ length: 100 }, () => call(submit(one))))
      const accepted = answers.filter(({ status }) => status === 202).map(({ json }) => json.run_id as string)
      const refused = answers.filter(({ status }) => status !== 202)
      assert.isAtLeast(accepted.length, maxPending)
      assert.isAtLeast(refused.length, 1)
      assert.lengthOf(new Set(accepted), accepted.length)
      for (const { status, headers, json } of refused) {
        assert.deepStrictEqual([status, json.error.code, json.error.type], [429, "RESOURCE_EXHAUSTED", "RATE_LIMIT"])
        assert.match(headers.get("retry-after") ?? "", /^[1-9]\d*$/)
        assert.include(json.error.message, "default.silver.one")
        assert.strictEqual(json.error.details.limit, maxPending)
      }
      const ended = await Promise.all(accepted.map((id) => client.runs.wait(id)))
      assert.deepStrictEqual(
        ended.map(({ status, error }) => [status, error]),
        accepted.map(() => ["success", null]),
      )
      const { runs } = await client.runs.list({ pipeline: "one", limit: 200 })
      assert.sameMembers(
        runs.map(({ id }) => id),
        accepted,
      )
    }),
  )

  it.effect("makes one run of one Idempotency-Key, however often it comes", () =>
    use(async (call, { client }) => {
      const headers = { "idempotency-key": "once" }
      const answers = await Promise.all(Array.from({ length: 10 }, () => call(submit(one, headers))))
      const ids = new Set(answers.map(({ json }) => json.run_id as string))
      assert.deepStrictEqual([...new Set(answers.map(({ status }) => status))], [202])
      assert.strictEqual(ids.size, 1)
      const [id] = ids
      await client.runs.wait(id ?? "")
      const late = await call(submit(one, headers))
      assert.deepStrictEqual(late.json, { run_id: id, status: "success" })
      const other = await call(submit({ ...one, layer: "bronze", pipeline: "all" }, headers))
      assert.deepStrictEqual([other.status, other.json.error.code], [409, "IDEMPOTENCY_KEY_REUSED"])
    }),
  )

  it.effect("does not cancel what has ended", () =>
    use(async (call, { client }) => {
      const { run_id } = await client.runs.create({ namespace: "default", layer: "silver", pipeline: "one" })
      await client.runs.wait(run_id)
      const answer = await call({ method: "POST", path: `/runs/${run_id}/cancel` })
      assert.deepStrictEqual([answer.status, answer.json.error.code], [409, "ALREADY_FINISHED"])
      assert.strictEqual((await client.runs.get(run_id)).status, "success")
    }),
  )

  it.effect("goes on with a log where its reader stopped, and from the start when that place is nonsense", () =>
    use(async (call, { client }) => {
      const { run_id } = await client.runs.create({ namespace: "default", layer: "silver", pipeline: "one" })
      await client.runs.wait(run_id)
      const stream = async (lastEventId?: string) => {
        const headers = {
          accept: "text/event-stream",
          ...(lastEventId === undefined ? {} : { "last-event-id": lastEventId }),
        }
        const { text } = await call({ method: "GET", path: `/runs/${run_id}/logs`, headers })
        assert.match(text, /event: status\ndata: \{"status":"success"\}\n\n$/)
        return Array.from(text.matchAll(/^id: (\d+)$/gm), ([, id]) => Number(id))
      }
      const all = await stream()
      assert.isAtLeast(all.length, 3)
      assert.deepStrictEqual(await stream("2"), all.slice(2))
      assert.deepStrictEqual(await stream(String(all.length)), [])
      for (const nonsense of ["-1", "x", "99999999999999999999", "1; drop"])
        assert.deepStrictEqual(await stream(nonsense), all)
    }),
  )
})
