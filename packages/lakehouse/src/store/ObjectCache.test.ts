import { readdirSync, statSync } from "node:fs"
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Fiber, Scope } from "effect"
import { crcOfBytes } from "./Crc32.ts"
import { makeObjectCache } from "./ObjectCache.ts"
import { StoreUnavailable } from "./ObjectStore.ts"

const folder = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "rat-cache-"))),
  (path) => Effect.promise(() => rm(path, { recursive: true, force: true })),
)

/** Objects of 100 bytes whose content is their key; `fetched` records the downloads. */
const setUp = Effect.fnUntraced(function* (options: {
  readonly maxBytes: number
  readonly folder: string
  readonly before?: Effect.Effect<void, StoreUnavailable>
}) {
  const fetched: Array<string> = []
  const cache = yield* makeObjectCache({
    folder: options.folder,
    maxBytes: options.maxBytes,
    waitForRoom: Duration.millis(800),
    source: "test",
    fetch: (key, target, reserve) =>
      Effect.gen(function* () {
        fetched.push(key)
        const bytes = Buffer.alloc(100, key)
        yield* reserve(bytes.length)
        yield* Effect.promise(() => writeFile(target, bytes.subarray(0, 50)))
        yield* options.before ?? Effect.void
        yield* Effect.promise(() => writeFile(target, bytes))
        return { sizeBytes: bytes.length, crc32: crcOfBytes(bytes) }
      }),
  })
  /** Holds the copy until the returned scope is closed. */
  const hold = (key: string) =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const path = yield* Scope.provide(cache.path(key), scope)
      return { path, release: Scope.close(scope, { _tag: "Success", value: undefined } as never) }
    })
  const use = (key: string) => Effect.scoped(cache.path(key))
  return { cache, fetched, hold, use }
})

/** Looked at without a pause, so that nothing is counted twice. */
const bytesIn = (path: string) =>
  Effect.sync(() =>
    readdirSync(path).reduce(
      (sum, name) => sum + (statSync(join(path, name), { throwIfNoEntry: false })?.size ?? 0),
      0,
    ),
  )

describe("ObjectCache", () => {
  it.live("downloads a key once for all who ask at the same time", () =>
    Effect.gen(function* () {
      const path = yield* folder
      const { fetched, use } = yield* setUp({ folder: path, maxBytes: 1000, before: Effect.sleep("20 millis") })
      const paths = yield* Effect.all(
        Array.from({ length: 20 }, () => use("a")),
        { concurrency: "unbounded" },
      )
      assert.deepStrictEqual(fetched, ["a"])
      assert.strictEqual(new Set(paths).size, 1)
      assert.deepStrictEqual(yield* Effect.promise(() => readFile(paths[0]!)), Buffer.alloc(100, "a"))
    }).pipe(Effect.scoped),
  )

  it.live("stays within its bytes by evicting what was used longest ago", () =>
    Effect.gen(function* () {
      const path = yield* folder
      const { fetched, use } = yield* setUp({ folder: path, maxBytes: 300 })
      for (const key of ["a", "b", "c", "a", "d"]) yield* use(key)
      assert.isAtMost(yield* bytesIn(path), 300)
      fetched.length = 0
      for (const key of ["a", "c", "d"]) yield* use(key)
      assert.deepStrictEqual(fetched, [])
      yield* use("b")
      assert.deepStrictEqual(fetched, ["b"])
    }).pipe(Effect.scoped),
  )

  it.live("never evicts a copy that somebody holds, and waits for room instead", () =>
    Effect.gen(function* () {
      const path = yield* folder
      const { hold, use } = yield* setUp({ folder: path, maxBytes: 200 })
      const [a, b] = [yield* hold("a"), yield* hold("b")]
      const full = yield* Effect.flip(use("c"))
      assert.include(full.message, "S3_CACHE_BYTES")
      assert.deepStrictEqual(yield* Effect.promise(() => readFile(a.path)), Buffer.alloc(100, "a"))

      const waiting = yield* Effect.forkChild(use("c"))
      yield* Effect.sleep("50 millis")
      yield* b.release
      const c = yield* Fiber.join(waiting)
      assert.deepStrictEqual(yield* Effect.promise(() => readFile(c)), Buffer.alloc(100, "c"))
      assert.isAtMost(yield* bytesIn(path), 200)
      yield* a.release
    }).pipe(Effect.scoped),
  )

  it.live("refuses at once what can never fit", () =>
    Effect.gen(function* () {
      const { use } = yield* setUp({ folder: yield* folder, maxBytes: 99 })
      assert.include((yield* Effect.flip(use("a"))).message, "S3_CACHE_BYTES")
    }).pipe(Effect.scoped),
  )

  it.live("keeps nothing of a download that failed or was interrupted, nor its bytes", () =>
    Effect.gen(function* () {
      const path = yield* folder
      let outage: Effect.Effect<void, StoreUnavailable> = Effect.fail(
        new StoreUnavailable({ key: "a", reason: "away" }),
      )
      const { use } = yield* setUp({ folder: path, maxBytes: 100, before: Effect.suspend(() => outage) })
      for (let attempt = 0; attempt < 5; attempt++) {
        assert.include((yield* Effect.flip(use("a"))).message, "away")
        assert.deepStrictEqual(yield* Effect.promise(() => readdir(path)), [])
      }
      outage = Effect.void
      yield* use("a")
    }).pipe(Effect.scoped),
  )

  it.live("gives the copy to the others when one of those who wait for it goes away", () =>
    Effect.gen(function* () {
      const path = yield* folder
      const gate = yield* Deferred.make<void>()
      const { fetched, use } = yield* setUp({ folder: path, maxBytes: 100, before: Deferred.await(gate) })
      const [leaving, staying] = [yield* Effect.forkChild(use("a")), yield* Effect.forkChild(use("a"))]
      yield* Effect.sleep("20 millis")
      yield* Fiber.interrupt(leaving)
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(staying)
      yield* use("b") // nobody holds "a" any more, so it makes room
      assert.deepStrictEqual(fetched, ["a", "b"])
    }).pipe(Effect.scoped),
  )

  it.live("finds its copies again after a restart, but neither half downloads nor damaged ones", () =>
    Effect.gen(function* () {
      const path = yield* folder
      const names = yield* Effect.scoped(
        Effect.gen(function* () {
          const { use } = yield* setUp({ folder: path, maxBytes: 1000 })
          return [yield* use("a"), yield* use("b")]
        }),
      )
      yield* Effect.promise(async () => {
        await writeFile(join(path, "5ae4bb1e.part"), "half")
        await rm(names[1]!)
        await writeFile(names[1]!, Buffer.alloc(100, "torn by a crash"))
      })
      const { fetched, use } = yield* setUp({ folder: path, maxBytes: 1000 })
      assert.strictEqual((yield* Effect.promise(() => readdir(path))).length, 2)
      yield* use("a")
      assert.deepStrictEqual(fetched, [])
      const b = yield* use("b")
      assert.deepStrictEqual(fetched, ["b"])
      assert.deepStrictEqual(yield* Effect.promise(() => readFile(b)), Buffer.alloc(100, "b"))
    }).pipe(Effect.scoped),
  )

  it.live("holds its limits while many ask for many", () =>
    Effect.gen(function* () {
      const path = yield* folder
      const { use } = yield* setUp({ folder: path, maxBytes: 500, before: Effect.sleep("1 millis") })
      yield* Effect.forEach(
        Array.from({ length: 300 }, (_, turn) => `key-${(turn * 7) % 13}`),
        (key) =>
          Effect.gen(function* () {
            const copy = yield* use(key)
            assert.isAtMost(yield* bytesIn(path), 500)
            return copy
          }),
        { concurrency: 4, discard: true },
      )
    }).pipe(Effect.scoped),
  )
})
