import { mkdtempSync, rmSync } from "node:fs"
import { type AddressInfo, connect, createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, layer } from "@effect/vitest"
import { PgConfig, TestPostgres } from "@rat/lakehouse"
import { Effect, Redacted } from "effect"
import { startNode } from "../node/Node.ts"

/** Statements that go over one connection, by the messages of the protocol (PostgreSQL documentation, chapter 55). */
const statementsOf = (tell: (sql: string) => void) => {
  let bytes = Buffer.alloc(0)
  let isStarted = false
  const prepared = new Map<string, string>()
  let bound = ""
  const text = (from: Buffer, start: number) => from.toString("utf8", start, from.indexOf(0, start))
  return (chunk: Buffer) => {
    bytes = Buffer.concat([bytes, chunk])
    for (;;) {
      const head = isStarted ? 1 : 0
      if (bytes.length < head + 4) return
      const length = head + bytes.readUInt32BE(head)
      if (bytes.length < length) return
      const message = bytes.subarray(0, length)
      bytes = bytes.subarray(length)
      if (!isStarted) {
        // A request for encryption comes before the start-up message, which names protocol 3.
        isStarted = message.readUInt16BE(4) === 3
        continue
      }
      const kind = String.fromCharCode(message[0]!)
      if (kind === "Q") tell(text(message, 5))
      else if (kind === "P") {
        const name = text(message, 5)
        prepared.set(name, text(message, 5 + name.length + 1))
      } else if (kind === "B") {
        const portal = text(message, 5)
        bound = prepared.get(text(message, 5 + portal.length + 1)) ?? "?"
      } else if (kind === "E") tell(bound)
    }
  }
}

/** A way to Postgres that reads along. */
const listeningProxy = (target: URL, tell: (sql: string) => void) =>
  Effect.acquireRelease(
    Effect.callback<{ readonly port: number; readonly close: () => void }>((resume) => {
      const server = createServer((client) => {
        const upstream = connect(Number(target.port), target.hostname)
        const read = statementsOf(tell)
        client.on("data", read)
        client.pipe(upstream).pipe(client)
        client.on("error", () => upstream.destroy())
        upstream.on("error", () => client.destroy())
      })
      server.listen(0, "127.0.0.1", () =>
        resume(Effect.succeed({ port: (server.address() as AddressInfo).port, close: () => server.close() })),
      )
    }),
    (proxy) => Effect.sync(proxy.close),
  )

const settleMs = 4000
const watchMs = 10_000
/** Timers of minutes may fall into the time by chance; of seconds there are two for what is nobody's business to announce. */
const most = { together: 15, ofOneStatement: 2 }

layer(TestPostgres.layer([], { maxConnections: 2 }), { excludeTestServices: true })("an idle node", (it) => {
  it.effect(
    "with all roles asks Postgres next to nothing",
    () =>
      // Shows F-03
      Effect.gen(function* () {
        const folder = yield* Effect.acquireRelease(
          Effect.sync(() => mkdtempSync(join(tmpdir(), "rat-idle-"))),
          (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true })),
        )
        const target = new URL(Redacted.value((yield* PgConfig).url))
        const asked = new Map<string, number>()
        const proxy = yield* listeningProxy(target, (sql) => {
          const statement = sql.replaceAll(/\s+/g, " ").trim().slice(0, 100)
          asked.set(statement, (asked.get(statement) ?? 0) + 1)
        })
        const through = new URL(target)
        through.hostname = "127.0.0.1"
        through.port = String(proxy.port)
        yield* startNode({
          data: join(folder, "data"),
          listen: "127.0.0.1:0",
          environment: { DATABASE_URL: through.href, RAT_RUNNER_SLOTS: "1", RAT_QUERY_SLOTS: "1" },
        })
        assert.isAbove(asked.size, 0)
        yield* Effect.sleep(settleMs)
        asked.clear()
        yield* Effect.sleep(watchMs)
        const list = [...asked].sort(([, a], [, b]) => b - a)
        const report = list.map(([sql, times]) => `${times}× ${sql}`).join("\n")
        const together = list.reduce((sum, [, times]) => sum + times, 0)
        assert.isAtMost(together, most.together, report)
        for (const [sql, times] of list) {
          if (sql !== "BEGIN" && sql !== "COMMIT") assert.isAtMost(times, most.ofOneStatement, `${sql}\n${report}`)
        }
      }).pipe(Effect.scoped),
    90_000,
  )
})
