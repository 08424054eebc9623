import { get, type IncomingMessage } from "node:http"
import { assert, layer } from "@effect/vitest"
import { EventsApi } from "@rat/domain"
import { TestPostgres } from "@rat/lakehouse"
import { Deferred, Effect, Exit, Fiber, Layer, Schedule, Scope } from "effect"
import { HttpApi, HttpApiBuilder } from "effect/http-api"
import { SqlClient } from "effect/sql"
import { ServerAddress, serverLayer } from "../http/Server.ts"
import { LogStreams } from "../run/LogStream.ts"
import { RunSettings } from "../run/RunSettings.ts"
import { migrations } from "../sql/migrations.ts"
import { EventBroadcast } from "./EventBroadcast.ts"
import { EventConsumers } from "./EventConsumers.ts"
import { EventLog } from "./EventLog.ts"
import { EventsHttp } from "./EventsHttp.ts"
import { Outbox } from "./Outbox.ts"

class OnlyEvents extends HttpApi.make("rat").add(EventsApi) {}

const server = () =>
  serverLayer(
    {
      host: "127.0.0.1",
      port: 0,
      corsOrigins: [],
      bodyLimits: { jsonBytes: 2 ** 20, projectBytes: 2 ** 20, uploadBytes: 2 ** 20 },
      stopGraceMs: 2000,
    },
    HttpApiBuilder.layer(OnlyEvents).pipe(Layer.provide(EventsHttp)),
  )

const services = Layer.mergeAll(EventBroadcast.layer, EventConsumers.layer, LogStreams.layer).pipe(
  Layer.provideMerge(EventLog.layer),
  Layer.provideMerge(RunSettings.layerWith({ streamsPerClient: 20, streamsPerNode: 30 })),
)

interface Sent {
  readonly id: string | undefined
  readonly name: string | undefined
  readonly data: { readonly [field: string]: unknown }
}

/** Reads a stream as far as it is asked to; between two reads the socket is paused, as that of a client that hangs. */
class Reader {
  readonly response: IncomingMessage
  readonly events: Array<Sent> = []
  comments = ""
  hasEnded = false
  #text = ""

  constructor(response: IncomingMessage) {
    this.response = response
    response.setEncoding("utf8")
    response.on("data", (chunk: string) => {
      this.#text += chunk
      for (let end = this.#text.indexOf("\n\n"); end >= 0; end = this.#text.indexOf("\n\n")) {
        this.#take(this.#text.slice(0, end).split("\n"))
        this.#text = this.#text.slice(end + 2)
      }
    })
    response.on("end", () => {
      this.hasEnded = true
    })
    response.on("error", () => undefined)
  }

  #take(lines: ReadonlyArray<string>) {
    const field = (name: string) => lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2)
    const data = field("data")
    this.comments += lines.filter((line) => line.startsWith(":")).join("\n")
    if (data !== undefined) this.events.push({ id: field("id"), name: field("event"), data: JSON.parse(data) })
  }

  get numbers() {
    return this.events
      .filter(({ name }) => name === undefined)
      .map(({ data }) => (data.payload as { readonly n: number }).n)
  }
}

const open = (
  query = "",
  headers: Record<string, string> = {},
): Effect.Effect<Reader, never, ServerAddress | Scope.Scope> =>
  Effect.gen(function* () {
    const { url } = yield* ServerAddress
    return yield* Effect.acquireRelease(
      Effect.callback<Reader>((resume) => {
        const request = get(`${url}/api/v1/events${query}`, {
          headers: { accept: "text/event-stream", ...headers },
          agent: false,
        })
        request.on("response", (response) => resume(Effect.succeed(new Reader(response))))
        request.on("error", () => undefined)
      }),
      ({ response }) => Effect.sync(() => response.destroy()),
    )
  })

const call = (method: string, path: string, body?: unknown) =>
  Effect.gen(function* () {
    const { url } = yield* ServerAddress
    const response = yield* Effect.promise(() =>
      fetch(`${url}/api/v1/events${path}`, {
        method,
        ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { "content-type": "application/json" } }),
      }),
    )
    const text = yield* Effect.promise(() => response.text())
    return { status: response.status, body: text === "" ? null : JSON.parse(text) }
  })

const until = (what: string, condition: () => boolean) =>
  Effect.suspend(() => (condition() ? Effect.void : Effect.fail(what))).pipe(
    Effect.retry({ schedule: Schedule.spaced("5 millis"), times: 2000 }),
    Effect.catch((missing) => Effect.die(new Error(`did not happen: ${missing}`))),
  )

const event = (
  n: number,
  more: { key?: string; namespace?: string; type?: "run.queued" | "table.published"; text?: string } = {},
) => ({
  key: more.key ?? "key",
  type: more.type ?? ("run.queued" as const),
  namespace: more.namespace ?? "ns",
  payload: { n, ...(more.text === undefined ? {} : { text: more.text }) },
})

const append = (...events: ReadonlyArray<ReturnType<typeof event>>) =>
  Effect.flatMap(Outbox, (outbox) => outbox.append(events))

const position = Effect.flatMap(EventLog, (log) => log.position)

const numbersUpTo = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => from + index)

layer(
  server().pipe(
    Layer.provideMerge(services),
    Layer.provideMerge(TestPostgres.layer(migrations, { maxConnections: 25 })),
  ),
  {
    excludeTestServices: true,
  },
)("EventsHttp", (it) => {
  it.effect("pages go through the log by their cursor, with filters by namespace, type and key", () =>
    Effect.gen(function* () {
      const before = yield* position
      yield* append(
        event(1, { key: "a" }),
        event(2, { key: "b", namespace: "other" }),
        event(3, { key: "a", type: "table.published" }),
        event(4, { key: "b" }),
      )
      const log = yield* EventLog
      while ((yield* log.position) < before + 4n) yield* Effect.sleep("5 millis")
      const numbers = (answer: { body: { events: ReadonlyArray<{ payload: { n: number } }> } }) =>
        answer.body.events.map(({ payload }) => payload.n)
      const first = yield* call("GET", `?after=${before}&limit=3`)
      assert.deepStrictEqual(numbers(first), [1, 2, 3])
      assert.deepInclude(first.body, { next: `${before + 3n}`, newest: `${before + 4n}`, oldest: "1", missed: 0 })
      const second = yield* call("GET", `?after=${first.body.next}&limit=3`)
      assert.deepStrictEqual([numbers(second), second.body.next], [[4], `${before + 4n}`])
      assert.deepStrictEqual(numbers(yield* call("GET", `?after=${before}&namespace=other`)), [2])
      assert.deepStrictEqual(numbers(yield* call("GET", `?after=${before}&type=table.*`)), [3])
      assert.deepStrictEqual(numbers(yield* call("GET", `?after=${before}&type=run.*,table.published&key=a`)), [1, 3])
      assert.strictEqual((yield* call("GET", "?type=run.exploded")).status, 400)
      assert.strictEqual((yield* call("GET", "?after=-1")).status, 400)
    }),
  )

  it.effect("streams give each wanted event once and in order, wherever they start and however often they resume", () =>
    Effect.gen(function* () {
      const seed = Date.now() % 1_000_000
      let state = seed
      const dice = (sides: number) => {
        state = (state * 1_103_515_245 + 12_345) % 2_147_483_648
        return Math.floor((state / 2_147_483_648) * sides)
      }
      const log = yield* EventLog
      const start = yield* position
      const total = 1500
      const writer = yield* Effect.gen(function* () {
        for (let n = 0; n < total; ) {
          const many = Math.min(total - n, 1 + dice(20))
          yield* append(
            ...numbersUpTo(n, n + many - 1).map((each) =>
              event(each, { key: `k${each % 3}`, type: each % 5 === 0 ? "table.published" : "run.queued" }),
            ),
          )
          n += many
          if (dice(4) === 0) yield* Effect.sleep("2 millis")
        }
      }).pipe(Effect.forkChild)
      const filters = ["", "&type=table.*", "&key=k1", "&key=k2&type=run.*", "&namespace=nobody"]
      const reader = (filter: string) =>
        Effect.gen(function* () {
          const events: Array<Sent> = []
          let last = `${start}`
          let isFirst = true
          while (!last.endsWith("done")) {
            const many = 1 + dice(200)
            yield* Effect.scoped(
              Effect.gen(function* () {
                const stream = yield* open(
                  isFirst ? `?after=${start}${filter}` : `?after=${start}${filter}`,
                  isFirst ? {} : { "last-event-id": last },
                )
                yield* Effect.race(
                  until("events", () => stream.events.length >= many),
                  Effect.sleep("250 millis"),
                )
                const got = stream.events.slice()
                events.push(...got)
                isFirst = false
                if (got.length > 0) last = got.at(-1)!.id!
                else if ((yield* log.position) === start + BigInt(total)) last = "done"
              }),
            )
          }
          return events
        })
      const got = yield* Effect.forEach(filters, reader, { concurrency: filters.length })
      yield* Fiber.join(writer)
      for (const [index, filter] of filters.entries()) {
        const wanted = numbersUpTo(0, total - 1).filter(
          (n) =>
            (!filter.includes("table") || n % 5 === 0) &&
            (!filter.includes("run") || n % 5 !== 0) &&
            (!filter.includes("key=k1") || n % 3 === 1) &&
            (!filter.includes("key=k2") || n % 3 === 2) &&
            !filter.includes("nobody"),
        )
        const numbers = got[index]!.map(({ data }) => (data.payload as { readonly n: number }).n)
        assert.deepStrictEqual(numbers, wanted, `seed ${seed}, filter "${filter}"`)
      }
    }).pipe(Effect.scoped),
  )

  it.effect("what a stream sends is what a page says, field by field", () =>
    Effect.gen(function* () {
      const before = yield* position
      const stream = yield* open(`?after=${before}`)
      yield* append(event(1, { text: 'line\nbreak "quote" \u2028' }))
      yield* until("the event", () => stream.events.length === 1)
      const page = yield* call("GET", `?after=${before}`)
      assert.deepStrictEqual(stream.events[0]!.data, page.body.events[0])
      assert.strictEqual(stream.response.headers["content-type"], "text/event-stream")
      assert.include(stream.response.headers["cache-control"], "no-cache")
    }).pipe(Effect.scoped),
  )

  it.effect(
    "a client that stops reading delays nobody, holds bounded memory, and misses nothing when it reads again",
    () =>
      Effect.gen(function* () {
        const broadcast = yield* EventBroadcast
        const before = yield* position
        const total = 1500
        // About 24 MB: more than the sockets' own buffers take.
        const text = "x".repeat(16 * 1024)
        const slow = yield* open(`?after=${before}`)
        const quick = yield* open(`?after=${before}`)
        slow.response.pause()
        for (let n = 0; n < total; n += 25)
          yield* append(...numbersUpTo(n, n + 24).map((each) => event(each, { text })))
        yield* until("the quick one has all", () => quick.events.length === total)
        assert.isBelow(slow.events.length, total)
        assert.deepStrictEqual(yield* broadcast.state, { clients: 2, behind: 1 })
        slow.response.resume()
        yield* until("the slow one has all", () => slow.events.length >= total)
        assert.deepStrictEqual(slow.numbers, numbersUpTo(0, total - 1))
        // It is live again.
        yield* append(event(total))
        yield* until("the last event", () => slow.events.length > total && quick.events.length > total)
        assert.deepStrictEqual([slow.numbers.at(-1), quick.numbers.at(-1)], [total, total])
        assert.deepStrictEqual(yield* broadcast.state, { clients: 2, behind: 0 })
      }).pipe(Effect.scoped),
  )

  it.effect("streams go on without a gap or a double when the node loses its sessions in between", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      // Events come from another node, so that this one depends on what it hears.
      const other = yield* Layer.build(Layer.fresh(EventLog.layer))
      const before = yield* position
      const live = yield* open()
      const late = yield* open(`?after=${before}`)
      const total = 60
      for (let n = 1; n <= total; n++) {
        yield* append(event(n)).pipe(
          Effect.provide(other),
          Effect.retry({ schedule: Schedule.spaced("20 millis"), times: 50 }),
        )
        if (n % 20 === 0) {
          yield* Effect.ignore(sql`
            select pg_terminate_backend(pid)
            from pg_stat_activity
            where datname = current_database() and pid <> pg_backend_pid()`)
        }
      }
      yield* until("all at both", () => live.numbers.includes(total) && late.numbers.includes(total))
      // An append whose answer was lost is repeated: then the log itself has the event twice.
      const logged = (yield* call("GET", `?after=${before}&limit=1000`)).body.events.map(
        ({ payload }: { payload: { n: number } }) => payload.n,
      )
      assert.deepStrictEqual([live.numbers, late.numbers], [logged, logged])
    }).pipe(Effect.scoped),
  )

  it.effect("streams are limited for each client, and a closed one makes room", () =>
    Effect.gen(function* () {
      const streams = yield* LogStreams
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* Effect.forEach(numbersUpTo(1, 20), () => open())
          const refused = yield* open()
          assert.strictEqual(refused.response.statusCode, 429)
        }),
      )
      while ((yield* streams.open) > 0) yield* Effect.sleep("5 millis")
      assert.strictEqual((yield* open()).response.statusCode, 200)
    }).pipe(Effect.scoped),
  )

  it.effect("what fails in a consumer is visible, is tried again, and can be skipped by hand", () =>
    Effect.gen(function* () {
      const log = yield* EventLog
      const handled: Array<number> = []
      const before = yield* position
      yield* log.consume(
        "test.poison",
        ({ payload }) => {
          const { n } = payload as { readonly n: number }
          if (n === 2) return n % 2 === 0 ? Effect.die(new Error("this one cannot be handled")) : Effect.void
          return Effect.sync(() => handled.push(n))
        },
        { key: "poison", startAt: "oldest" },
      )
      yield* append(...[1, 2, 3].map((n) => event(n, { key: "poison" })))
      const find = Effect.map(call("GET", "/consumers"), ({ body }) =>
        body.consumers.find(({ name }: { name: string }) => name === "test.poison"),
      )
      const failing = yield* find.pipe(
        Effect.filterOrFail((consumer) => consumer?.failing?.failures >= 2),
        Effect.retry({ schedule: Schedule.spaced("20 millis"), times: 200 }),
      )
      assert.deepStrictEqual(handled, [1])
      assert.isTrue(failing.is_working)
      assert.strictEqual(failing.offset, `${before + 1n}`)
      assert.strictEqual(failing.lag, 2)
      assert.deepInclude(failing.failing, { offset: `${before + 2n}`, error: "Error: this one cannot be handled" })
      assert.isString(failing.node)
      const wrong = yield* call("POST", "/consumers/test.poison/skip", { offset: `${before + 3n}` })
      assert.strictEqual(wrong.status, 409)
      const skipped = yield* call("POST", "/consumers/test.poison/skip", { offset: `${before + 2n}` })
      assert.strictEqual(skipped.status, 200)
      yield* until("the event behind it", () => handled.includes(3))
      const healed = yield* find.pipe(
        Effect.filterOrFail((consumer) => consumer.lag === 0),
        Effect.retry({ schedule: Schedule.spaced("20 millis"), times: 200 }),
      )
      assert.isNull(healed.failing)
      assert.strictEqual((yield* call("DELETE", "/consumers/test.poison")).status, 409)
    }).pipe(Effect.scoped),
  )

  it.effect("a consumer that is set back handles events again, and goes on behind them", () =>
    Effect.gen(function* () {
      const log = yield* EventLog
      const handled: Array<number> = []
      const before = yield* position
      const isThere = yield* Deferred.make<void>()
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* log.consume(
            "test.replay",
            ({ payload }) => {
              handled.push((payload as { readonly n: number }).n)
              return Deferred.succeed(isThere, undefined)
            },
            { key: "replay", startAt: "oldest" },
          )
          yield* append(...[1, 2, 3].map((n) => event(n, { key: "replay" })))
          yield* until("all three", () => handled.length === 3)
          const answer = yield* call("POST", "/consumers/test.replay/replay", { from: `${before + 2n}` })
          assert.strictEqual(answer.body.offset, `${before + 1n}`)
          yield* until("the repeated ones", () => handled.length === 5)
          yield* append(event(4, { key: "replay" }))
          yield* until("the one behind them", () => handled.length === 6)
          assert.deepStrictEqual(handled, [1, 2, 3, 2, 3, 4])
          assert.strictEqual((yield* call("POST", "/consumers/test.replay/replay", { from: "999999" })).status, 400)
          assert.strictEqual((yield* call("POST", "/consumers/test.nobody/replay", { from: "1" })).status, 404)
        }),
      )
      // The lock goes with its session, a moment after the consumer has stopped.
      yield* call("DELETE", "/consumers/test.replay").pipe(
        Effect.filterOrFail(({ status }) => status === 204),
        Effect.retry({ schedule: Schedule.spaced("20 millis"), times: 100 }),
      )
      assert.strictEqual((yield* call("DELETE", "/consumers/test.replay")).status, 404)
    }).pipe(Effect.scoped),
  )

  it.effect("a consumer that is set back in the middle of its work does not store how far it was", () =>
    Effect.gen(function* () {
      const log = yield* EventLog
      const before = yield* position
      const handled: Array<number> = []
      let isStuck = true
      yield* append(...[1, 2, 3].map((n) => event(n, { key: "middle" })))
      yield* log.consume(
        "test.middle",
        ({ payload }) =>
          Effect.suspend(() => {
            const { n } = payload as { readonly n: number }
            if (n === 3 && isStuck) return Effect.never
            return Effect.sync(() => handled.push(n))
          }),
        { key: "middle", startAt: "oldest" },
      )
      yield* until("the first two", () => handled.length === 2)
      isStuck = false
      yield* call("POST", "/consumers/test.middle/replay", { from: `${before + 1n}` })
      yield* until("all three", () => handled.includes(3))
      assert.deepStrictEqual(handled, [1, 2, 1, 2, 3])
    }).pipe(Effect.scoped),
  )

  // Last: it removes everything before it from the log.
  it.effect("readers that are further back than retention are told so: pages, streams and consumers", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const log = yield* EventLog
      const before = yield* position
      yield* append(...numbersUpTo(1, 10).map((n) => event(n, { key: "gone" })))
      while ((yield* log.position) < before + 10n) yield* Effect.sleep("5 millis")
      yield* sql`insert into event_consumer (name, "offset") values ('test.late', ${before + 2n})`
      // All but the newest four.
      const [pruned] = yield* sql<{ n: bigint }>`select event_prune(now() - interval '1 day', 4, 1000000) as n`
      assert.isAbove(Number(pruned!.n), 0)
      const page = yield* call("GET", `?after=${before + 2n}`)
      assert.deepInclude(page.body, { missed: 4, oldest: `${before + 7n}`, next: `${before + 10n}` })
      const stream = yield* open("", { "last-event-id": `${before + 2n}` })
      yield* until("gap and events", () => stream.events.length === 5)
      assert.deepStrictEqual(
        [stream.events[0]!.name, stream.events[0]!.data],
        ["gap", { after: `${before + 2n}`, up_to: `${before + 6n}`, missed: 4 }],
      )
      assert.deepStrictEqual(stream.numbers, [7, 8, 9, 10])
      const handled: Array<number> = []
      yield* log.consume(
        "test.late",
        ({ payload }) => Effect.sync(() => handled.push((payload as { readonly n: number }).n)),
        { key: "gone" },
      )
      yield* until("the rest", () => handled.length === 4)
      yield* until("the event that tells of it", () => stream.events.length === 6)
      assert.deepStrictEqual(stream.events[5]!.data, {
        ...stream.events[5]!.data,
        type: "consumer.missed",
        key: "test.late",
        payload: { consumer: "test.late", after: `${before + 2n}`, up_to: `${before + 6n}` },
      })
      const { body } = yield* call("GET", "/consumers")
      const late = body.consumers.find(({ name }: { name: string }) => name === "test.late")
      assert.strictEqual(late.missed, 4)
      assert.deepStrictEqual(handled, [7, 8, 9, 10])
    }).pipe(Effect.scoped),
  )

  it.effect("at a drain streams are told and end", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const second = yield* Layer.buildWithMemoMap(Layer.fresh(server()), yield* Layer.makeMemoMap, scope)
      const stream = yield* open().pipe(Effect.provide(second))
      yield* append(event(1))
      yield* until("an event", () => stream.events.length === 1)
      yield* Scope.close(scope, Exit.void)
      yield* until("the end", () => stream.hasEnded)
      assert.include(stream.comments, "the server is stopping, reconnect")
    }).pipe(Effect.scoped),
  )
})
