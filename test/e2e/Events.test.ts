import { spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, layer } from "@effect/vitest"
import { type EventNews, RatClient } from "@rat/client"
import { PgConfig, TestPostgres } from "@rat/lakehouse"
import { type RunningNode, startNode } from "@rat/server"
import { Effect, Exit, Redacted, Schedule, Scope } from "effect"

const root = fileURLToPath(new URL("../..", import.meta.url))

/** API nodes of one cluster that can be stopped one by one. */
const makeNodes = Effect.gen(function* () {
  const folder = yield* Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "rat-events-"))),
    (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true })),
  )
  const { url } = yield* PgConfig
  const outer = yield* Effect.scope
  return Effect.fnUntraced(function* (name: string) {
    const scope = yield* Scope.fork(outer)
    const node = yield* startNode({
      data: join(folder, name),
      listen: "127.0.0.1:0",
      roles: "api",
      environment: {
        DATABASE_URL: Redacted.value(url),
        RAT_STORE: join(folder, "store"),
        RAT_DRAIN_NOTICE_SECONDS: "0",
        DB_MAX_CONNS: "8",
        DB_MIN_CONNS: "1",
      },
    }).pipe(Scope.provide(scope))
    return { ...node, stop: Scope.close(scope, Exit.void) }
  })
})

/** One address for whichever node is there, as a load balancer has it. */
const balanced = (nodeNow: () => RunningNode) =>
  new RatClient({
    apiUrl: "http://rat.test",
    fetch: (input, init) => fetch(String(input).replace("http://rat.test", nodeNow().url), init),
  })

const cli = (url: string, ...args: ReadonlyArray<string>) =>
  Effect.callback<{ readonly code: number | null; readonly out: string; readonly err: string }>((resume) => {
    const child = spawn(`${root}node_modules/.bin/node`, [`${root}packages/cli/src/main.ts`, ...args, "--url", url])
    let out = ""
    let err = ""
    child.stdout.on("data", (chunk) => {
      out += chunk
    })
    child.stderr.on("data", (chunk) => {
      err += chunk
    })
    child.on("exit", (code) => resume(Effect.succeed({ code, out, err })))
  })

layer(TestPostgres.layer([], { maxConnections: 2 }), { excludeTestServices: true })("Events, end to end", (it) => {
  it.effect(
    "whoever follows through the SDK gets each event once and in order while the nodes behind the address are replaced",
    () =>
      Effect.gen(function* () {
        const start = yield* makeNodes
        let node = yield* start("a")
        const client = balanced(() => node)
        const writer = balanced(() => node)
        const seen: Array<string> = []
        const stop = new AbortController()
        const following = (async () => {
          try {
            for await (const news of client.events.follow({
              type: "namespace.updated",
              after: 0n,
              signal: stop.signal,
            })) {
              seen.push(describe(news))
            }
          } catch (error) {
            if (!stop.signal.aborted) throw error
          }
        })()
        yield* Effect.promise(() => writer.namespaces.create("watched"))
        const total = 40
        for (let n = 1; n <= total; n++) {
          yield* Effect.promise(() => writer.namespaces.update("watched", `${n}`))
          if (n % 10 === 0 && n < total) {
            const next = yield* start(`node${n}`)
            const old = node
            node = next
            yield* old.stop
          }
        }
        // The relay gathers for a moment.
        const all = yield* Effect.promise(() =>
          client.events.list({ after: "0", type: "namespace.updated", limit: 1000 }),
        ).pipe(Effect.repeat({ until: ({ events }) => events.length >= total, schedule: Schedule.spaced("20 millis") }))
        assert.strictEqual(all.events.length, total)
        while (seen.length < total) yield* Effect.sleep("20 millis")
        yield* Effect.sleep("100 millis")
        stop.abort()
        yield* Effect.promise(() => following)
        assert.deepStrictEqual(
          seen,
          all.events.map(({ offset }) => offset),
        )

        const listed = yield* cli(node.url, "events", "--type", "namespace.*", "--limit", "3", "--json")
        assert.strictEqual(listed.code, 0, listed.err)
        const offsets = (JSON.parse(listed.out) as { events: ReadonlyArray<{ offset: string }> }).events
        assert.deepStrictEqual(
          offsets.map(({ offset }) => offset),
          seen.slice(-3),
        )
        const consumers = yield* cli(node.url, "events", "consumers")
        assert.deepStrictEqual([consumers.code, consumers.err.trim()], [0, "Nothing consumes events yet."])
        const nobody = yield* cli(node.url, "events", "replay", "nobody", "--from", "1")
        assert.notStrictEqual(nobody.code, 0)
        assert.include(nobody.err, `No consumer of events is called "nobody"`)
        const wrong = yield* cli(node.url, "events", "--type", "run.exploded")
        assert.include(wrong.err, "run.exploded")
      }).pipe(Effect.scoped),
    90_000,
  )
})

const describe = (news: EventNews) => (news.type === "event" ? news.event.offset : `gap of ${news.missed}`)
