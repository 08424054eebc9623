import { setTimeout as delay } from "node:timers/promises"
import { assert, layer } from "@effect/vitest"
import { RatClient, type RatError } from "@rat/client"
import { makeTcpFaultProxy, PgConfig, type TcpFault, type TcpFaultProxy, TestPostgres } from "@rat/lakehouse"
import { Context, Effect, Layer, Redacted } from "effect"
import { pushPipeline, rowsOf, runPipeline, submitRun, until } from "../support/Pipelines.ts"
import { assertForPeople } from "../support/Refusal.ts"
import { s3Environment, s3Server } from "../support/S3Server.ts"
import { type TestNode, testNode } from "../support/TestNode.ts"

/**
 * The network between a node and Postgres, and between a node and its object store, slows down, cuts connections and loses
 * packets. What people see: answers, or 503 with Retry-After and a sentence; never 500, never a wait without an end.
 */

class Node extends Context.Service<
  Node,
  { readonly node: TestNode; readonly postgres: TcpFaultProxy; readonly store: TcpFaultProxy }
>()("test/e2e/OutageNode") {
  static readonly layer = Layer.effect(
    Node,
    Effect.gen(function* () {
      const database = new URL(Redacted.value((yield* PgConfig).url))
      const postgres = yield* makeTcpFaultProxy({ host: database.hostname, port: Number(database.port) })
      database.port = String(postgres.port)
      const s3 = new URL(yield* s3Server)
      const store = yield* makeTcpFaultProxy({ host: s3.hostname, port: Number(s3.port) })
      const node = yield* testNode({
        store: "file",
        environment: {
          ...s3Environment(`http://127.0.0.1:${store.port}`),
          S3_METADATA_TIMEOUT: "1 second",
          S3_DATA_TIMEOUT: "2 seconds",
          DATABASE_URL: database.href,
          DB_CONNECT_TIMEOUT: "3 seconds",
          RAT_OUTBOUND: "postgres.deadline=1 second,object_store.retries=1",
        },
      })
      yield* Effect.promise(() => pushPipeline(node.client, "kept", "select 1 as id"))
      yield* Effect.promise(() => runPipeline(node.client, "kept"))
      return { node, postgres, store }
    }),
  ).pipe(Layer.provide(TestPostgres.layer([])))
}

/** Longest answer: a statement that is missed, a session that is not opened, and a busy machine. */
const longestMs = 12_000

interface Seen {
  readonly name: string
  readonly status: number
  readonly ms: number
}

/** One try of each kind of request, all at once, each judged. */
const askAll = async ({ url, dataFolder }: TestNode): Promise<ReadonlyArray<Seen>> => {
  const post = (body: unknown) => ({
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  })
  const requests: Readonly<Record<string, readonly [string, RequestInit?]>> = {
    runs: ["/api/v1/runs"],
    pipelines: ["/api/v1/pipelines"],
    tables: ["/api/v1/tables"],
    branches: ["/api/v1/branches"],
    query: ["/api/v1/query", post({ sql: "select id from silver.kept" })],
    preview: ["/api/v1/tables/default/silver/kept/preview"],
    submit: ["/api/v1/runs", post({ namespace: "default", layer: "silver", pipeline: "kept" })],
  }
  return Promise.all(
    Object.entries(requests).map(async ([name, [path, init]]) => {
      const startedAt = performance.now()
      const response = await fetch(`${url}${path}`, { ...init, signal: AbortSignal.timeout(longestMs) })
      const body = (await response.json()) as { readonly error?: { readonly message: string } }
      const seen = { name, status: response.status, ms: performance.now() - startedAt }
      // The queue of one pipeline is full after ten.
      if (response.status === 503 || response.status === 429) {
        assert.isNotNull(response.headers.get("retry-after"), name)
        assertForPeople(body.error?.message ?? "", dataFolder)
      } else assert.isBelow(response.status, 300, `${name}: ${JSON.stringify(body)}`)
      return seen
    }),
  )
}

const health = async (url: string) => {
  const startedAt = performance.now()
  const response = await fetch(`${url}/health/ready`)
  const { status, checks } = (await response.json()) as {
    readonly status: string
    readonly checks: Readonly<Record<string, { readonly status: string; readonly circuit?: string }>>
  }
  const down = Object.keys(checks).filter((name) => checks[name]?.status !== "ok")
  return { code: response.status, status, down, checks, ms: performance.now() - startedAt }
}

const use = (
  act: (outage: {
    readonly node: TestNode
    readonly postgres: TcpFaultProxy
    readonly store: TcpFaultProxy
  }) => Promise<void>,
) => Effect.flatMap(Node, (outage) => Effect.promise(() => act(outage)))

/** Milliseconds until everything is answered again. */
const untilServed = async (node: TestNode) => {
  const startedAt = performance.now()
  await until("service", 20, async () =>
    (await askAll(node)).every(({ status }) => status < 300 || status === 429) ? true : undefined,
  )
  return performance.now() - startedAt
}

layer(Node.layer, { excludeTestServices: true, timeout: "120 seconds" })("A node whose network fails", (it) => {
  for (const [name, fault] of Object.entries<TcpFault>({
    "refuses connections": "refuse",
    "loses packets": "lose",
  })) {
    it.effect(`towards Postgres (it ${name}) answers 503 in time, says so, and serves at once when it is over`, () =>
      use(async ({ node, postgres }) => {
        postgres.rule(fault)
        const first = await askAll(node)
        assert.isTrue(first.some(({ status }) => status === 503))
        // By now the circuit is open.
        const later = await askAll(node)
        for (const { name: request, status, ms } of later) {
          assert.strictEqual(status, 503, request)
          assert.isBelow(ms, 3_500, request)
        }
        const state = await health(node.url)
        assert.deepInclude(state, { code: 503, status: "not_ready" })
        assert.include(state.down, "postgres")
        assert.notStrictEqual(state.checks.postgres?.circuit, "closed")
        assert.isBelow(state.ms, 3_500)
        assert.strictEqual((await fetch(`${node.url}/health/live`)).status, 200)
        const metrics = await (await fetch(`${node.url}/metrics`)).text()
        assert.match(metrics, /rat_circuit_state\{[^}]*dependency="postgres"[^}]*\} [12]/)
        assert.match(metrics, /rat_outbound_calls_total\{[^}]*dependency="postgres"[^}]*outcome="refused"[^}]*\} [1-9]/)

        postgres.rule("pass")
        const ms = await untilServed(node)
        assert.isBelow(ms, 4_000, "service after Postgres is back")
        await until("readiness", 10, async () => ((await health(node.url)).status === "ready" ? true : undefined))
      }),
    )
  }

  it.effect("towards Postgres, for a moment only, is hardly noticed by readers", () =>
    use(async ({ node, postgres }) => {
      const reader = new RatClient({ apiUrl: node.url, maxRetries: 0 })
      let ends = false
      let refused = 0
      const readers = Array.from({ length: 4 }, async () => {
        let answers = 0
        while (!ends) {
          try {
            await reader.runs.list({ limit: 5 })
            answers++
          } catch (error) {
            // On a busy machine a new session can take longer than a read is held for it.
            assert.strictEqual((error as RatError).status, 503)
            refused++
            await delay(50)
          }
        }
        return answers
      })
      for (let round = 0; round < 5; round++) {
        await delay(1_000)
        postgres.reset()
      }
      await delay(1_000)
      postgres.rule("hold")
      await delay(400)
      postgres.rule({ latencyMs: 30 })
      await delay(500)
      postgres.rule("pass")
      ends = true
      const answers = await Promise.all(readers)
      for (const each of answers) assert.isAbove(each, 10)
      assert.isBelow(refused, answers.reduce((sum, each) => sum + each, 0) / 20)
    }),
  )

  it.effect("towards Postgres does not lose runs: those that are accepted meanwhile and before end well", () =>
    use(async ({ node, postgres }) => {
      const accepted: Array<string> = []
      for (let round = 0; round < 3; round++) {
        accepted.push(await submitRun(node.client, "kept"))
        postgres.rule("refuse")
        await delay(1_500)
        postgres.rule("pass")
        accepted.push(await until("a submission", 10, () => submitRun(node.client, "kept")))
      }
      for (const id of accepted) assert.strictEqual((await node.client.runs.wait(id)).status, "success")
    }),
  )

  it.effect("towards the object store serves what is a row, lets runs wait, and does the rest when it is back", () =>
    use(async ({ node, store }) => {
      // Nothing is in the node's own cache under this name yet.
      await pushPipeline(node.client, "fresh", "select 2 as id")
      store.rule("lose")
      const waiting = await submitRun(node.client, "fresh")
      for (const { name, status } of await askAll(node)) {
        if (["runs", "pipelines", "tables", "branches"].includes(name)) assert.strictEqual(status, 200, name)
        if (name === "submit") assert.include([202, 429], status)
      }
      await until("the circuit", 20, async () => {
        const state = await health(node.url)
        assert.deepInclude(state, { code: 200, status: "degraded", down: ["object_store"] })
        return state.checks.object_store?.circuit === "open" ? true : undefined
      })
      store.rule("pass")
      assert.strictEqual((await node.client.runs.wait(waiting)).status, "success")
      assert.deepStrictEqual(await rowsOf(node.client, "select id from silver.fresh"), [[2]])
      await until("readiness", 10, async () => ((await health(node.url)).status === "ready" ? true : undefined))
    }),
  )
})
