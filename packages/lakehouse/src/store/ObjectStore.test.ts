import { mkdtemp, readFile, rm, stat, symlink, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Exit, Layer, Redacted, Stream } from "effect"
import { startFauxqs } from "fauxqs"
import { FileStore } from "./FileStore.ts"
import { ObjectStore } from "./ObjectStore.ts"
import { S3Store } from "./S3Store.ts"

/** What every object store promises, shown on each of them: S3 over its real protocol. */

const folder = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "rat-store-"))),
  (path) => Effect.promise(() => rm(path, { recursive: true, force: true })),
)

const fileStore = Layer.unwrap(Effect.map(folder, (root) => FileStore.layer({ root: join(root, "store") })))

const s3Store = Layer.unwrap(
  Effect.gen(function* () {
    const server = yield* Effect.acquireRelease(
      Effect.promise(() => startFauxqs({ port: 0, host: "127.0.0.1", logger: false })),
      (started) => Effect.promise(() => started.stop()),
    )
    return S3Store.layer({
      endpoint: `http://127.0.0.1:${server.port}`,
      region: "eu-central-1",
      bucket: "contract",
      credentials: { accessKey: Redacted.make("test"), secretKey: Redacted.make("test") },
      cache: { folder: join(yield* folder, "cache"), maxBytes: 100 << 20 },
      partBytes: 5 << 20,
    })
  }),
)

const text = (value: string) => new TextEncoder().encode(value)
const keysBelow = (prefix: string) =>
  Effect.flatMap(ObjectStore, (store) =>
    Effect.map(Stream.runCollect(store.list(prefix)), (infos) => infos.map(({ key }) => key)),
  )

/** A file of its own with pseudo-random content, as a slot would leave it. */
const localFile = (sizeBytes: number) =>
  Effect.gen(function* () {
    const path = join(yield* folder, "out.parquet")
    const bytes = Buffer.alloc(sizeBytes)
    for (let index = 0; index < sizeBytes; index += 97) bytes[index] = (index * 31) % 251
    yield* Effect.promise(() => writeFile(path, bytes))
    return { path, bytes }
  })

describe.each([
  ["the file store", fileStore],
  ["the S3 store", s3Store],
] as const)("%s", (_name, storeLayer) => {
  layer(storeLayer, { excludeTestServices: true })((it) => {
    it.effect("gives back the bytes that were put, also none at all", () =>
      Effect.gen(function* () {
        const store = yield* ObjectStore
        yield* store.put("get/some", text("hällo"))
        yield* store.put("get/empty", new Uint8Array())
        assert.strictEqual(new TextDecoder().decode(yield* store.get("get/some")), "hällo")
        assert.strictEqual((yield* store.get("get/empty")).length, 0)
        assert.strictEqual((yield* store.head("get/some")).sizeBytes, 6)
      }),
    )

    it.effect("says of a missing object that it is missing, for get, head and localPath alike", () =>
      Effect.gen(function* () {
        const store = yield* ObjectStore
        yield* store.put("missing/folder/object", text("x"))
        for (const key of ["missing/nothing", "missing/folder", "missing/folder/object/below"]) {
          const failures = yield* Effect.all([
            Effect.flip(store.get(key)),
            Effect.flip(store.head(key)),
            Effect.flip(Effect.scoped(store.localPath(key))),
          ])
          assert.deepStrictEqual(
            failures.map((failure) => failure._tag),
            ["ObjectNotFound", "ObjectNotFound", "ObjectNotFound"],
          )
        }
      }),
    )

    it.effect("replaces an object by put, and refuses to with ifAbsent", () =>
      Effect.gen(function* () {
        const store = yield* ObjectStore
        yield* store.put("absent/a", text("one"), { ifAbsent: true })
        const refused = yield* Effect.flip(store.put("absent/a", text("two"), { ifAbsent: true }))
        assert.strictEqual(refused._tag, "ObjectExists")
        assert.strictEqual(new TextDecoder().decode(yield* store.get("absent/a")), "one")
        yield* store.put("absent/a", text("three"))
        assert.strictEqual(new TextDecoder().decode(yield* store.get("absent/a")), "three")
      }),
    )

    it.effect("lets exactly one of many writers create an absent object", () =>
      Effect.gen(function* () {
        const store = yield* ObjectStore
        const outcomes = yield* Effect.forEach(
          Array.from({ length: 12 }, (_, writer) => writer),
          (writer) => Effect.exit(store.put("race/a", text(`writer ${writer}`), { ifAbsent: true })),
          { concurrency: "unbounded" },
        )
        const winners = outcomes.flatMap((outcome, writer) => (Exit.isSuccess(outcome) ? [writer] : []))
        assert.strictEqual(winners.length, 1)
        assert.strictEqual(new TextDecoder().decode(yield* store.get("race/a")), `writer ${winners[0]}`)
      }),
    )

    it.effect("never shows half an object to a reader while it is replaced", () =>
      Effect.gen(function* () {
        const store = yield* ObjectStore
        const versions = ["a", "b"].map((letter) => text(letter.repeat(200_000)))
        yield* store.put("torn/a", versions[0]!)
        const write = Effect.forEach(Array.from({ length: 20 }), (_, turn) => store.put("torn/a", versions[turn % 2]!))
        const read = Effect.forEach(Array.from({ length: 40 }), () => store.get("torn/a"))
        const [, seen] = yield* Effect.all([write, read], { concurrency: 2 })
        for (const bytes of seen) {
          assert.strictEqual(bytes.length, 200_000)
          assert.isTrue(bytes.every((byte) => byte === bytes[0]))
        }
      }),
    )

    it.effect("lists everything that begins with a prefix, in the order of the keys' bytes", () =>
      Effect.gen(function* () {
        const store = yield* ObjectStore
        const keys = ["list/a-b", "list/a/1", "list/a/z/2", "list/a.parquet", "list/b", "list/a0", "lisu"]
        yield* Effect.forEach(keys, (key) => store.put(key, text(key)), { concurrency: 4 })
        assert.deepStrictEqual(yield* keysBelow("list/"), [
          "list/a-b",
          "list/a.parquet",
          "list/a/1",
          "list/a/z/2",
          "list/a0",
          "list/b",
        ])
        assert.deepStrictEqual(yield* keysBelow("list/a/"), ["list/a/1", "list/a/z/2"])
        assert.deepStrictEqual(yield* keysBelow("list/a"), [
          "list/a-b",
          "list/a.parquet",
          "list/a/1",
          "list/a/z/2",
          "list/a0",
        ])
        assert.deepStrictEqual(yield* keysBelow("nothing/here/"), [])
      }),
    )

    it.effect("lists more objects than fit on a page, each once", () =>
      Effect.gen(function* () {
        const store = yield* ObjectStore
        const keys = Array.from({ length: 1100 }, (_, index) => `many/${String(index).padStart(5, "0")}`)
        yield* Effect.forEach(keys, (key) => store.put(key, text("x")), { concurrency: 32, discard: true })
        assert.deepStrictEqual(yield* keysBelow("many/"), keys)
        yield* store.remove(keys)
        assert.deepStrictEqual(yield* keysBelow("many/"), [])
      }),
    )

    it.effect("removes objects, and takes a missing one for removed", () =>
      Effect.gen(function* () {
        const store = yield* ObjectStore
        yield* store.put("remove/deep/down/a", text("a"))
        yield* store.remove(["remove/deep/down/a", "remove/never/there"])
        assert.strictEqual((yield* Effect.flip(store.get("remove/deep/down/a")))._tag, "ObjectNotFound")
        yield* store.put("remove/deep", text("a key that was a folder before"))
        assert.strictEqual((yield* store.head("remove/deep")).sizeBytes, 30)
      }),
    )

    it.effect("takes over local files, small and in several parts, and offers them as read-only local files", () =>
      Effect.gen(function* () {
        const store = yield* ObjectStore
        for (const sizeBytes of [0, 1, 5 << 20, (11 << 20) + 7]) {
          const { path, bytes } = yield* localFile(sizeBytes)
          const key = `files/${sizeBytes}.parquet`
          yield* store.putFile(key, path)
          assert.strictEqual((yield* store.head(key)).sizeBytes, sizeBytes)
          assert.isTrue(bytes.equals(yield* store.get(key)))
          const local = yield* store.localPath(key)
          assert.isTrue(bytes.equals(yield* Effect.promise(() => readFile(local))))
          assert.strictEqual((yield* Effect.promise(() => stat(local))).mode & 0o222, 0)
        }
      }).pipe(Effect.scoped),
    )

    it.effect("refuses to store what is not a regular file", () =>
      Effect.gen(function* () {
        const store = yield* ObjectStore
        const link = join(yield* folder, "out.parquet")
        yield* Effect.promise(() => symlink("/etc/hostname", link))
        const refused = yield* Effect.flip(store.putFile("links/a", link))
        assert.include(refused.message, "not a regular file")
        assert.strictEqual((yield* Effect.flip(store.head("links/a")))._tag, "ObjectNotFound")
      }).pipe(Effect.scoped),
    )

    it.effect("dies on keys that would leave the store, before anything is touched", () =>
      Effect.gen(function* () {
        const store = yield* ObjectStore
        for (const key of [
          "../a",
          "a/../../b",
          "/etc/passwd",
          "a//b",
          "",
          "a/",
          ".tmp/a",
          "a/./b",
          "a\u0000b",
          "a\\b",
        ]) {
          const exits: ReadonlyArray<Exit.Exit<unknown, unknown>> = yield* Effect.all([
            Effect.exit(store.get(key)),
            Effect.exit(store.put(key, text("x"))),
            Effect.exit(store.remove([key])),
          ])
          for (const exit of exits) assert.isTrue(Exit.hasDies(exit), key)
        }
        assert.isTrue(Exit.hasDies(yield* Effect.exit(Stream.runDrain(store.list("../")))))
      }),
    )

    it.effect("translates between keys and locations and is healthy", () =>
      Effect.gen(function* () {
        const store = yield* ObjectStore
        const location = store.locationOf("a/b c.parquet")
        assert.isTrue(location.startsWith(store.root))
        assert.strictEqual(store.keyOf(location), "a/b c.parquet")
        assert.throws(() => store.keyOf("s3://elsewhere/a"))
        assert.deepStrictEqual(yield* store.health, { circuit: "closed" })
        assert.deepStrictEqual(yield* keysBelow(".rat"), [])
      }),
    )
  })
})
