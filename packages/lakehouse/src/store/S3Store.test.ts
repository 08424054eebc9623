import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises"
import type { AddressInfo } from "node:net"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Context, Duration, Effect, Exit, Fiber, Layer, Redacted, Stream } from "effect"
import { startFauxqs } from "fauxqs"
import { type Fault, type FaultProxy, makeFaultProxy } from "./FaultProxy.ts"
import { ObjectStore } from "./ObjectStore.ts"
import { S3Store } from "./S3Store.ts"

/** The S3 store against a real S3 protocol server behind a proxy that breaks the connection in every way. */

const folder = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "rat-s3-"))),
  (path) => Effect.promise(() => rm(path, { recursive: true, force: true })),
)

const s3Server = (port = 0) =>
  Effect.acquireRelease(
    Effect.promise(() => startFauxqs({ port, host: "127.0.0.1", logger: false })),
    (started) => Effect.promise(() => started.stop()),
  )

const partBytes = 5 << 20

// Long enough for a busy machine; tests that wait for a deadline bring shorter ones.
const deadlines = { metadata: Duration.seconds(2), data: Duration.seconds(5) }

const storeAt = Effect.fnUntraced(function* (endpoint: string, timeouts = deadlines) {
  const cacheFolder = join(yield* folder, "cache")
  const context = yield* Layer.build(
    S3Store.layer({
      endpoint,
      region: "us-east-1",
      bucket: "faults",
      credentials: { accessKey: Redacted.make("test"), secretKey: Redacted.make("test") },
      timeouts,
      cache: { folder: cacheFolder, maxBytes: 64 << 20 },
      partBytes,
      limits: { firstDelay: Duration.millis(5), failuresToOpen: 4, openFor: Duration.millis(150) },
    }),
  )
  return { store: Context.get(context, ObjectStore), cacheFolder }
})

const setUpWith = Effect.fnUntraced(function* (timeouts = deadlines) {
  const server = yield* s3Server()
  const proxy = yield* makeFaultProxy(`http://127.0.0.1:${server.port}`)
  const { cacheFolder, store } = yield* storeAt(proxy.url, timeouts)
  return { proxy, store, cacheFolder }
})
const setUp = setUpWith()

const text = (value: string) => new TextEncoder().encode(value)
const shown = (bytes: Uint8Array) => new TextDecoder().decode(bytes)
const requestsFor = ({ seen }: FaultProxy, part: string) => seen.filter(({ url }) => url.includes(part))

/** The first `count` requests fail so, the others pass. */
const first =
  (count: number, fault: Fault) =>
  (_: unknown, nth: number): Fault =>
    nth <= count ? fault : "pass"

const largeFile = Effect.gen(function* () {
  const path = join(yield* folder, "large")
  const bytes = Buffer.alloc(2 * partBytes + 100, "rat")
  yield* Effect.promise(() => writeFile(path, bytes))
  return { path, bytes }
})

describe("S3Store", () => {
  for (const fault of [
    "reset",
    "hang",
    { status: 500, code: "InternalError" },
    { status: 503, code: "SlowDown" },
  ] as const) {
    it.live(`survives ${typeof fault === "string" ? `a ${fault}` : `status ${fault.status}`} in every call`, () =>
      Effect.gen(function* () {
        const { proxy, store } = yield* setUpWith({ metadata: Duration.millis(200), data: Duration.millis(300) })
        // A hanging try takes its whole deadline, and no try starts once retrying has lasted that long.
        const failures = fault === "hang" ? 1 : 2
        const withFault = <A, E>(effect: Effect.Effect<A, E>) =>
          Effect.suspend(() => {
            proxy.rule(first(failures, fault))
            return effect
          })
        yield* withFault(store.put("a", text("one")))
        assert.strictEqual(shown(yield* withFault(store.get("a"))), "one")
        assert.strictEqual((yield* withFault(store.head("a"))).sizeBytes, 3)
        assert.strictEqual((yield* withFault(Stream.runCollect(store.list("")))).length, 1)
        yield* withFault(Effect.scoped(store.localPath("a")))
        yield* withFault(store.remove(["a"]))
        assert.strictEqual((yield* Effect.flip(store.head("a")))._tag, "ObjectNotFound")
      }).pipe(Effect.scoped),
    )
  }

  for (const fault of ["truncate", "corrupt"] as const) {
    it.live(`never gives out a body that arrived with a fault (${fault}), and tries again`, () =>
      Effect.gen(function* () {
        const { cacheFolder, proxy, store } = yield* setUp
        const content = "x".repeat(10_000)
        yield* store.put("a", text(content))
        const onBodies = (count: number) => {
          let bodies = 0
          return ({ method }: { method: string }): Fault => (method === "GET" && ++bodies <= count ? fault : "pass")
        }
        proxy.rule(onBodies(2))
        assert.strictEqual(shown(yield* store.get("a")), content)
        proxy.rule(onBodies(2))
        const path = yield* store.localPath("a")
        assert.strictEqual(yield* Effect.promise(() => readFile(path, "utf8")), content)

        yield* store.put("b", text(content))
        proxy.rule(onBodies(Number.POSITIVE_INFINITY))
        assert.strictEqual((yield* Effect.flip(store.get("b")))._tag, "StoreUnavailable")
        assert.strictEqual((yield* Effect.flip(store.localPath("b")))._tag, "StoreUnavailable")
        assert.strictEqual((yield* Effect.promise(() => readdir(cacheFolder))).length, 1) // only that of "a"
      }).pipe(Effect.scoped),
    )
  }

  it.live("ends a call whose body trickles in, within its deadlines", () =>
    Effect.gen(function* () {
      const { proxy, store } = yield* setUpWith({ metadata: Duration.seconds(1), data: Duration.millis(600) })
      yield* store.put("a", text("x".repeat(1000)))
      proxy.rule(() => "trickle")
      const [took, failure] = yield* Effect.timed(Effect.flip(store.get("a")))
      assert.strictEqual(failure._tag, "StoreUnavailable")
      assert.include(failure.message, "no answer within 0.6 s")
      assert.isBelow(Duration.toMillis(took), 4000)
    }).pipe(Effect.scoped),
  )

  it.live("does not repeat what was refused, and says which setting to look at", () =>
    Effect.gen(function* () {
      const { proxy, store } = yield* setUp
      for (const [code, status, word] of [
        ["InvalidAccessKeyId", 403, "S3_ACCESS_KEY"],
        ["SignatureDoesNotMatch", 403, "S3_SECRET_KEY"],
        ["AccessDenied", 403, "may not do this"],
        ["NoSuchBucket", 404, "S3_BUCKET"],
        ["PermanentRedirect", 301, "S3_REGION"],
      ] as const) {
        const before = proxy.seen.length
        proxy.rule(() => ({ status, code }))
        const failure = yield* Effect.flip(store.get("a"))
        assert.strictEqual(failure._tag, "StoreUnavailable", code)
        assert.include(failure.message, word)
        assert.strictEqual(proxy.seen.length, before + 1)
      }
      assert.strictEqual(yield* store.circuit, "closed") // it answered every time
    }).pipe(Effect.scoped),
  )

  it.live("stops asking a store that fails again and again, and takes it up when it is back", () =>
    Effect.gen(function* () {
      const { proxy, store } = yield* setUp
      yield* store.put("a", text("one"))
      proxy.rule(() => ({ status: 500, code: "InternalError" }))
      for (let call = 0; call < 4; call++) yield* Effect.flip(store.get("a"))
      assert.strictEqual(yield* store.circuit, "open")
      const before = proxy.seen.length
      const [took, refused] = yield* Effect.timed(Effect.flip(store.get("a")))
      assert.include(refused.message, "held back")
      assert.include(refused.message, "status 500") // the reason is not lost
      assert.isBelow(Duration.toMillis(took), 500)
      assert.strictEqual(proxy.seen.length, before)
      assert.strictEqual((yield* Effect.flip(store.health))._tag, "StoreUnavailable")

      proxy.rule(() => "pass")
      yield* Effect.sleep("200 millis")
      assert.deepStrictEqual(yield* store.health, { circuit: "closed" })
      assert.strictEqual(shown(yield* store.get("a")), "one")
    }).pipe(Effect.scoped),
  )

  it.live("takes missing objects for answers: they open no circuit", () =>
    Effect.gen(function* () {
      const { store } = yield* setUp
      for (let call = 0; call < 12; call++) yield* Effect.flip(store.get(`missing/${call}`))
      assert.strictEqual(yield* store.circuit, "closed")
    }).pipe(Effect.scoped),
  )

  it.live("uploads a large file whose parts and completion are disturbed, whole", () =>
    Effect.gen(function* () {
      const { proxy, store } = yield* setUp
      const { bytes, path } = yield* largeFile
      const hit = new Set<string>()
      proxy.rule(({ method, url }) => {
        const step = method + (url.match(/partNumber=\d+|uploads|uploadId/)?.[0] ?? "")
        if (hit.has(step)) return "pass"
        hit.add(step)
        // The completion is done although its answer is lost: asking again finds no such upload.
        return method === "POST" && url.includes("uploadId") ? "lose-answer" : "reset"
      })
      yield* store.putFile("large", path)
      assert.isTrue([...hit].some((step) => step.startsWith("POST")))
      assert.isTrue(bytes.equals(yield* store.get("large")))
    }).pipe(Effect.scoped),
  )

  it.live("leaves nothing of an upload that failed or was interrupted", () =>
    Effect.gen(function* () {
      const { proxy, store } = yield* setUp
      const { path } = yield* largeFile
      proxy.rule(({ url }) => (url.includes("partNumber=2") ? { status: 403, code: "AccessDenied" } : "pass"))
      assert.strictEqual((yield* Effect.flip(store.putFile("large", path)))._tag, "StoreUnavailable")

      proxy.rule(({ url }) => (url.includes("partNumber=2") ? "hang" : "pass"))
      const upload = yield* Effect.forkChild(store.putFile("large", path))
      const reached = Effect.sync(() => requestsFor(proxy, "partNumber=2").length === 2)
      yield* Effect.repeat(Effect.andThen(Effect.sleep("5 millis"), reached), { until: (isReached) => isReached })
      yield* Fiber.interrupt(upload)

      const begun = requestsFor(proxy, "uploads").filter(({ method }) => method === "POST")
      const aborted = requestsFor(proxy, "uploadId").filter(({ method }) => method === "DELETE")
      assert.deepStrictEqual([begun.length, aborted.length], [2, 2])
      assert.strictEqual((yield* Effect.flip(store.head("large")))._tag, "ObjectNotFound")
    }).pipe(Effect.scoped),
  )

  it.live("downloads a large object in parts although some of them fail, never half of it", () =>
    Effect.gen(function* () {
      const { cacheFolder, proxy, store } = yield* setUp
      const { bytes } = yield* largeFile
      yield* store.put("large", bytes)
      proxy.rule(first(2, "truncate"))
      const path = yield* store.localPath("large")
      assert.isTrue(bytes.equals(yield* Effect.promise(() => readFile(path))))

      yield* store.put("other", bytes)
      let parts = 0
      proxy.rule(({ method }) => (method === "GET" && ++parts > 1 ? { status: 403, code: "AccessDenied" } : "pass"))
      assert.strictEqual((yield* Effect.flip(store.localPath("other")))._tag, "StoreUnavailable")
      assert.strictEqual((yield* Effect.promise(() => readdir(cacheFolder))).length, 1)
    }).pipe(Effect.scoped),
  )

  it.live("knows its own write again when the answer to ifAbsent was lost, and another's", () =>
    Effect.gen(function* () {
      const { proxy, store } = yield* setUp
      for (const honours of [true, false]) {
        const passing: Fault = honours ? "conditional" : "pass"
        const { store: fresh } = honours ? { store } : yield* storeAt(proxy.url)
        proxy.rule(() => passing)
        yield* fresh.put(`warm/${honours}`, text("x"), { ifAbsent: true })
        let lost = 0
        proxy.rule(({ method, url }) =>
          method === "PUT" && url.includes("own") && ++lost === 1 ? "lose-answer" : passing,
        )
        yield* fresh.put(`own/${honours}`, text("mine"), { ifAbsent: true })
        assert.isAtLeast(requestsFor(proxy, `own/${honours}`).length, 2)
        const refused = yield* Effect.flip(fresh.put(`own/${honours}`, text("mine"), { ifAbsent: true }))
        assert.strictEqual(refused._tag, "ObjectExists")
      }
    }).pipe(Effect.scoped),
  )

  it.live("lets a server that can decide between writers decide, also between nodes", () =>
    Effect.gen(function* () {
      const { proxy, store } = yield* setUp
      const { store: other } = yield* storeAt(proxy.url)
      proxy.rule(() => "conditional")
      yield* store.put("race", text("first"), { ifAbsent: true })
      const refused = yield* Effect.flip(other.put("race", text("second"), { ifAbsent: true }))
      assert.strictEqual(refused._tag, "ObjectExists")
      assert.strictEqual(shown(yield* store.get("race")), "first")
    }).pipe(Effect.scoped),
  )

  it.live("starts while the store is away, says so, and works once it is there, bucket included", () =>
    Effect.gen(function* () {
      const port = yield* Effect.callback<number>((resume) => {
        const probe = createServer().listen(0, "127.0.0.1", () => {
          const { port } = probe.address() as AddressInfo
          probe.close(() => resume(Effect.succeed(port)))
        })
      })
      const { store } = yield* storeAt(`http://127.0.0.1:${port}`)
      const away = yield* Effect.flip(store.health)
      assert.include(away.message, `nothing listens at 127.0.0.1:${port}`)
      yield* s3Server(port)
      yield* Effect.sleep("200 millis")
      assert.deepStrictEqual(yield* store.health, { circuit: "closed" })
      yield* store.put("a", text("one"))
    }).pipe(Effect.scoped),
  )

  it.live("keeps the upload as a local copy, so that reading it back asks nobody", () =>
    Effect.gen(function* () {
      const { proxy, store } = yield* setUp
      const { bytes, path } = yield* largeFile
      yield* store.putFile("large", path)
      proxy.rule(() => "reset")
      const local = yield* store.localPath("large")
      assert.isTrue(bytes.equals(yield* Effect.promise(() => readFile(local))))
      assert.isTrue(Exit.isFailure(yield* Effect.exit(store.get("large"))))
    }).pipe(Effect.scoped),
  )
})
