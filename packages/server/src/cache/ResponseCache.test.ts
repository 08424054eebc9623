import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, layer } from "@effect/vitest"
import { PgConfig, TestPostgres } from "@rat/lakehouse"
import { Effect, Fiber, Redacted, Schedule } from "effect"
import { SqlClient } from "effect/sql"
import { type RunningNode, startNode } from "../node/Node.ts"

/** Two API nodes of one cluster: a database, a store, nothing else in common. */
const twoNodes = Effect.gen(function* () {
  const folder = yield* Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "rat-cache-"))),
    (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true })),
  )
  const { url } = yield* PgConfig
  const start = (name: string) =>
    startNode({
      data: join(folder, name),
      listen: "127.0.0.1:0",
      roles: "api",
      environment: {
        DATABASE_URL: Redacted.value(url),
        RAT_STORE: join(folder, "store"),
        RAT_DRAIN_NOTICE_SECONDS: "0",
        DB_MAX_CONNS: "12",
        DB_MIN_CONNS: "1",
      },
    })
  return [yield* start("a"), yield* start("b")] as const
})

const call = (node: RunningNode, method: string, path: string, body?: unknown, headers: Record<string, string> = {}) =>
  Effect.promise(async () => {
    const response = await fetch(`${node.url}${path}`, {
      method,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      headers: { ...(body === undefined ? {} : { "content-type": "application/json" }), ...headers },
    })
    const text = await response.text()
    return {
      status: response.status,
      text,
      tag: response.headers.get("etag") ?? "",
      control: response.headers.get("cache-control"),
    }
  })

const json = (text: string) => JSON.parse(text)

const schema = {
  type: "struct",
  "schema-id": 0,
  fields: [{ id: 1, name: "id", required: false, type: "long" }],
}

const makeDice = (seed: number) => {
  let state = seed
  return (sides: number) => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648
    return Math.floor((state / 2_147_483_648) * sides)
  }
}

/** Every kind of write that an answer in the cache depends on, and the reads that show it. */
const writes = (n: number) => {
  const ns = `ns${n % 3}`
  const pipeline = `/api/v1/pipelines/${ns}/silver/p${n % 2}`
  const zone = `/api/v1/landing-zones/${ns}/z${n % 2}`
  const file = `/api/v1/files/${ns}/pipelines/silver/p${n % 2}/notes.md`
  const table = `/api/v1/tables/${ns}/gold/t${n % 2}`
  const iceberg = `/iceberg/v1/namespaces/${ns}%1Fgold/tables`
  return [
    ["POST", "/api/v1/namespaces", { name: ns }],
    ["PUT", `/api/v1/namespaces/${ns}`, { description: `now ${n}` }],
    ["DELETE", `/api/v1/namespaces/${ns}`],
    ["POST", "/api/v1/pipelines", { namespace: ns, layer: "silver", name: `p${n % 2}` }],
    ["PUT", pipeline, { description: `now ${n}` }],
    ["DELETE", pipeline],
    ["PUT", file, { content: `text ${n}` }],
    ["DELETE", file],
    ["POST", "/api/v1/landing-zones", { namespace: ns, name: `z${n % 2}` }],
    ["PUT", zone, { description: `now ${n}` }],
    ["DELETE", zone],
    ["PUT", `/api/v1/files/${ns}/landing/z${n % 2}/data.csv`, { content: `a\n${n}\n` }],
    ["PUT", `${table}/metadata`, { description: `now ${n}` }],
    ["POST", iceberg, { name: `t${n % 2}`, schema }],
    [
      "POST",
      `${iceberg}/t${n % 2}`,
      { requirements: [], updates: [{ action: "set-properties", updates: { n: `${n}` } }] },
    ],
    ["DELETE", table],
    ["POST", "/api/v1/branches", { name: `b${n % 3}` }],
    ["DELETE", `/api/v1/branches/b${n % 3}`],
    ["POST", `/iceberg/v1/b${n % 3}/namespaces/${ns}%1Fgold/tables`, { name: `x${n % 5}`, schema }],
    ["POST", `/api/v1/branches/b${n % 3}/merge`, {}],
    ["POST", "/api/v1/tags", { name: `tag${n % 3}` }],
    ["DELETE", `/api/v1/tags/tag${n % 3}`],
  ] as ReadonlyArray<readonly [string, string, unknown?]>
}

const reads = [
  "/api/v1/features",
  "/api/v1/namespaces",
  "/api/v1/pipelines",
  "/api/v1/branches",
  "/api/v1/branches/main",
  "/api/v1/branches/b0",
  "/api/v1/tags",
  "/api/v1/tables",
  "/api/v1/schema",
  "/api/v1/landing-zones",
  ...[0, 1, 2].flatMap((n) => [
    `/api/v1/pipelines?namespace=ns${n}`,
    `/api/v1/pipelines/ns${n}/silver/p0`,
    `/api/v1/files?prefix=ns${n}/`,
    `/api/v1/files/ns${n}/pipelines/silver/p0/notes.md`,
    `/api/v1/landing-zones/ns${n}/z0`,
    `/api/v1/landing-zones/ns${n}/z0/files`,
    `/api/v1/tables?namespace=ns${n}`,
    `/api/v1/tables/ns${n}/gold/t0`,
    `/api/v1/tables/ns${n}/gold/t0/metadata`,
    `/api/v1/tables/ns${n}/gold/t0/snapshots`,
  ]),
]

layer(TestPostgres.layer([], { maxConnections: 4 }), { excludeTestServices: true })("ResponseCache", (it) => {
  it.effect(
    "after any write on one node, GETs of both nodes answer as if nothing was kept",
    () =>
      // Shows F-20
      Effect.gen(function* () {
        const seed = Date.now() % 1_000_000
        const dice = makeDice(seed)
        const nodes = yield* twoNodes
        const outcomes = new Map<string, number>()
        for (let n = 0; n < 6; n++) {
          for (const [method, path, body] of writes(n).filter(([method]) => method === "POST")) {
            yield* call(nodes[n % 2]!, method, path, body)
          }
        }
        for (let step = 0; step < 60; step++) {
          const options = writes(dice(6))
          // Once each, in the order in which one needs the other, then at random, deletions less often.
          const drawn = options[step < options.length ? step : dice(options.length)]!
          const [method, path, body] = drawn[0] === "DELETE" && dice(3) > 0 ? options[dice(options.length)]! : drawn
          const written = yield* call(nodes[dice(2)]!, method, path, body)
          assert.isBelow(written.status, 500, `seed ${seed}: ${method} ${path}: ${written.text}`)
          const kind = written.status < 300 ? "done" : "refused"
          outcomes.set(kind, (outcomes.get(kind) ?? 0) + 1)
          const looked = reads.filter(() => dice(4) === 0)
          yield* Effect.forEach(
            looked,
            (read) =>
              Effect.gen(function* () {
                const node = nodes[dice(2)]!
                const kept = yield* call(node, "GET", read)
                const fresh = yield* call(node, "GET", read, undefined, { "cache-control": "no-cache" })
                // Times of requests are in errors; those are not kept.
                if (fresh.status !== 200) return assert.strictEqual(kept.status, fresh.status)
                assert.deepStrictEqual(
                  json(kept.text),
                  json(fresh.text),
                  `seed ${seed}, step ${step}: ${method} ${path}, ${read}`,
                )
                assert.strictEqual(kept.tag, fresh.tag)
              }),
            { concurrency: 4 },
          )
        }
        assert.isAbove(outcomes.get("done") ?? 0, 30)
      }).pipe(Effect.scoped),
    120_000,
  )

  it.effect(
    "a tag is the same on every node, saves the body while nothing changes, and ends with the first change",
    () =>
      Effect.gen(function* () {
        const [a, b] = yield* twoNodes
        yield* call(a, "POST", "/api/v1/namespaces", { name: "tagged" })
        const path = "/api/v1/namespaces"
        const first = yield* call(a, "GET", path)
        assert.match(first.tag, /^"[\w-]+"$/)
        assert.strictEqual(first.control, "no-cache")
        for (const node of [a, b, a, b]) {
          for (const known of [first.tag, `W/${first.tag}`, `"other", ${first.tag}`, "*"]) {
            const again = yield* call(node, "GET", path, undefined, { "if-none-match": known })
            assert.deepStrictEqual([again.status, again.text, again.tag], [304, "", first.tag])
          }
        }
        yield* call(b, "PUT", "/api/v1/namespaces/tagged", { description: "changed" })
        const changed = yield* call(a, "GET", path, undefined, { "if-none-match": first.tag })
        assert.strictEqual(changed.status, 200)
        assert.notStrictEqual(changed.tag, first.tag)
        assert.include(changed.text, "changed")
      }).pipe(Effect.scoped),
    60_000,
  )

  it.effect(
    "no read is older than an answered write, while both nodes write and lose the sessions that hear",
    () =>
      // Shows F-20
      Effect.gen(function* () {
        const nodes = yield* twoNodes
        const sql = yield* SqlClient.SqlClient
        yield* call(nodes[0], "POST", "/api/v1/namespaces", { name: "busy" })
        yield* call(nodes[0], "POST", "/api/v1/pipelines", { namespace: "busy", layer: "gold", name: "p" })
        yield* call(nodes[0], "POST", "/api/v1/landing-zones", { namespace: "busy", name: "z" })
        const registers = [
          ["/api/v1/namespaces/busy", "/api/v1/namespaces"],
          ["/api/v1/pipelines/busy/gold/p", "/api/v1/pipelines/busy/gold/p"],
          ["/api/v1/landing-zones/busy/z", "/api/v1/landing-zones?namespace=busy"],
        ] as const
        /** Of each register the last number whose write was answered. */
        const answered = registers.map(() => 0)
        let isOver = false
        const writer = Effect.forEach(
          registers,
          ([path], index) =>
            Effect.gen(function* () {
              for (let n = 1; !isOver; n++) {
                yield* call(nodes[n % 2]!, "PUT", path, { description: `n=${n};` })
                answered[index] = n
                yield* Effect.sleep(n % 7 === 0 ? 60 : 3)
              }
            }),
          { concurrency: 3 },
        )
        const disturber = Effect.gen(function* () {
          while (!isOver) {
            yield* sql`
            select pg_terminate_backend(pid)
            from pg_stat_activity
            where datname = current_database() and query ilike 'listen%' and pid <> pg_backend_pid()`
            yield* Effect.sleep(150)
          }
        })
        let looked = 0
        const reader = (node: RunningNode) =>
          Effect.gen(function* () {
            while (!isOver) {
              for (const [index, [, path]] of registers.entries()) {
                const least = answered[index]!
                const { status, text } = yield* call(node, "GET", path)
                assert.strictEqual(status, 200)
                const seen = Number(/n=(\d+);/.exec(text)?.[1] ?? 0)
                assert.isAtLeast(seen, least, `${path} on ${node.url}`)
                looked++
              }
            }
          })
        const fiber = yield* Effect.all([writer, disturber, reader(nodes[0]), reader(nodes[1])], {
          concurrency: 4,
        }).pipe(Effect.forkChild)
        yield* Effect.race(
          Effect.sleep("4 seconds").pipe(
            Effect.andThen(
              Effect.sync(() => {
                isOver = true
              }),
            ),
          ),
          Fiber.join(fiber),
        )
        yield* Fiber.join(fiber)
        assert.isAbove(looked, 50)
        assert.isAbove(Math.min(...answered), 10)
      }).pipe(Effect.scoped),
    60_000,
  )

  it.effect(
    "who has seen an event on one node reads what it tells of on the other",
    () =>
      Effect.gen(function* () {
        const nodes = yield* twoNodes
        yield* call(nodes[0], "POST", "/api/v1/namespaces", { name: "told" })
        for (let n = 1; n <= 20; n++) {
          const [near, far] = n % 2 === 0 ? nodes : [nodes[1], nodes[0]]
          yield* call(far, "GET", "/api/v1/namespaces")
          const before = json((yield* call(near, "GET", "/api/v1/events?limit=1")).text).newest as string
          yield* call(near, "PUT", "/api/v1/namespaces/told", { description: `n=${n};` }).pipe(Effect.forkChild)
          yield* call(near, "GET", `/api/v1/events?after=${before}&key=told`).pipe(
            Effect.filterOrFail(({ text }) => json(text).events.length > 0),
            Effect.retry(Schedule.spaced("1 millis")),
          )
          assert.include((yield* call(far, "GET", "/api/v1/namespaces")).text, `n=${n};`)
        }
      }).pipe(Effect.scoped),
    60_000,
  )
})
