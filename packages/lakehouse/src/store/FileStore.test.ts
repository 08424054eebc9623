import { execFile, spawn } from "node:child_process"
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Stream } from "effect"
import { FileStore } from "./FileStore.ts"
import { ObjectStore } from "./ObjectStore.ts"

const folder = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "rat-file-"))),
  (path) => Effect.promise(() => rm(path, { recursive: true, force: true })),
)

const storeAt = (root: string) =>
  Effect.map(Layer.build(FileStore.layer({ root })), (context) => Context.get(context, ObjectStore))

const run = promisify(execFile)

/** A file system of its own in memory, or undefined where this user may not mount one. */
const smallDisk = Effect.fnUntraced(function* (size: string) {
  const path = join(yield* folder, "disk")
  yield* Effect.promise(() => mkdir(path))
  return yield* Effect.acquireRelease(
    Effect.promise(() =>
      run("mount", ["-t", "tmpfs", "-o", `size=${size},mode=0700`, "tmpfs", path]).then(
        () => path,
        () => undefined,
      ),
    ),
    (mounted) => (mounted === undefined ? Effect.void : Effect.promise(() => run("umount", ["-l", mounted]))),
  )
})

/** Skips, and says so, where mounting is not allowed. */
const onSmallDisk = (
  name: string,
  test: (path: string) => Effect.Effect<void, unknown, import("effect").Scope.Scope>,
  size = "1m",
) =>
  it.live(name, (context) =>
    Effect.gen(function* () {
      const path = yield* smallDisk(size)
      if (path === undefined) return context.skip("mounting a small disk needs root")
      yield* test(path)
    }).pipe(Effect.scoped),
  )

describe("FileStore", () => {
  onSmallDisk("says that the disk is full and leaves nothing behind, and goes on when there is room again", (path) =>
    Effect.gen(function* () {
      const store = yield* storeAt(join(path, "store"))
      yield* store.put("old", new Uint8Array(600_000))
      const failure = yield* Effect.flip(store.put("new", new Uint8Array(600_000)))
      assert.strictEqual(failure._tag, "StoreUnavailable")
      assert.include(failure.message, "is full. Free some space on it")
      assert.strictEqual((yield* Effect.flip(store.get("new")))._tag, "ObjectNotFound")
      assert.deepStrictEqual(yield* Effect.promise(() => readdir(join(path, "store", ".tmp"))), [])
      assert.strictEqual(yield* store.circuit, "closed") // nothing to wait for: it works the moment there is room
      yield* store.remove(["old"])
      yield* store.put("new", new Uint8Array(600_000))
    }),
  )

  onSmallDisk("says that the folder is read-only", (path) =>
    Effect.gen(function* () {
      const store = yield* storeAt(join(path, "store"))
      yield* Effect.promise(() => run("mount", ["-o", "remount,ro", path]))
      const failures = yield* Effect.all([
        Effect.flip(store.put("a", new Uint8Array(1))),
        Effect.flip(store.health),
        Effect.flip(storeAt(join(path, "another"))),
      ])
      for (const failure of failures) assert.include(failure.message, "mounted read-only")
    }),
  )

  onSmallDisk("takes over a file from another file system by copying it", (path) =>
    Effect.gen(function* () {
      const store = yield* storeAt(join(yield* folder, "store"))
      const source = join(path, "out.parquet")
      yield* Effect.promise(() => writeFile(source, "content"))
      yield* store.putFile("a", source)
      assert.strictEqual(new TextDecoder().decode(yield* store.get("a")), "content")
      assert.deepStrictEqual(yield* Effect.promise(() => readdir(path)), [])
    }),
  )

  it.live("takes over a file without copying it where it can", () =>
    Effect.gen(function* () {
      const path = yield* folder
      const store = yield* storeAt(join(path, "store"))
      const source = join(path, "out.parquet")
      yield* Effect.promise(() => writeFile(source, "content"))
      const inodeOf = (file: string) => Effect.promise(async () => (await run("stat", ["-c", "%i", file])).stdout)
      const inode = yield* inodeOf(source)
      yield* store.putFile("a/b", source)
      assert.strictEqual(yield* inodeOf(yield* Effect.scoped(store.localPath("a/b"))), inode)
    }).pipe(Effect.scoped),
  )

  it.live("says that a folder cannot be made below a file", () =>
    Effect.gen(function* () {
      const path = yield* folder
      yield* Effect.promise(() => writeFile(join(path, "file"), ""))
      const failure = yield* Effect.flip(storeAt(join(path, "file", "store")))
      assert.strictEqual(failure._tag, "StoreUnavailable")
      assert.include(failure.message, join(path, "file", "store"))
    }).pipe(Effect.scoped),
  )

  it.live("puts into folders that others make and remove at the same time", () =>
    Effect.gen(function* () {
      const store = yield* storeAt(join(yield* folder, "store"))
      const turns = Array.from({ length: 60 }, (_, turn) => `deep/er/${turn % 3}/a/${turn}`)
      yield* Effect.forEach(turns, (key) => Effect.andThen(store.put(key, new Uint8Array(3)), store.remove([key])), {
        concurrency: 12,
        discard: true,
      })
      assert.deepStrictEqual(yield* Stream.runCollect(store.list("")), [])
    }).pipe(Effect.scoped),
  )

  it.live("shows whole objects only after the process that wrote them was killed at any moment", () =>
    Effect.gen(function* () {
      const root = join(yield* folder, "store")
      const module = fileURLToPath(new URL("./FileStore.ts", import.meta.url))
      const contract = fileURLToPath(new URL("./ObjectStore.ts", import.meta.url))
      const script = `
        import { Effect } from "effect"
        const { FileStore } = await import(${JSON.stringify(module)})
        const { ObjectStore } = await import(${JSON.stringify(contract)})
        const write = Effect.gen(function* () {
          const store = yield* ObjectStore
          for (let turn = 0; ; turn++) {
            yield* store.put("k" + (turn % 4), new Uint8Array(2_000_000).fill(65 + (turn % 26)))
            if (turn === 0) process.stdout.write("ready")
          }
        })
        Effect.runPromise(Effect.scoped(Effect.provide(write, FileStore.layer({ root: ${JSON.stringify(root)} }))))`
      for (const delayMs of [2, 17]) {
        yield* Effect.callback<void>((resume) => {
          const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
            cwd: fileURLToPath(new URL(".", import.meta.url)),
            stdio: ["ignore", "pipe", "inherit"],
          })
          child.stdout.once("data", () => setTimeout(() => child.kill("SIGKILL"), delayMs))
          child.once("exit", () => resume(Effect.void))
        })
        const store = yield* storeAt(root)
        const found = yield* Stream.runCollect(store.list(""))
        assert.isAbove(found.length, 0)
        for (const { key, sizeBytes } of found) {
          const bytes = yield* store.get(key)
          assert.strictEqual(sizeBytes, 2_000_000)
          assert.isTrue(Buffer.from(bytes).equals(Buffer.alloc(2_000_000, bytes[0])))
        }
      }
    }).pipe(Effect.scoped),
  )

  it.live("leaves files that are no objects of its own alone", () =>
    Effect.gen(function* () {
      const root = join(yield* folder, "store")
      const store = yield* storeAt(root)
      yield* Effect.promise(async () => {
        await mkdir(join(root, ".git"))
        await writeFile(join(root, ".git", "config"), "mine")
      })
      assert.deepStrictEqual(yield* Stream.runCollect(store.list("")), [])
      yield* store.put("a", new Uint8Array(1))
      assert.strictEqual(yield* Effect.promise(() => readFile(join(root, ".git", "config"), "utf8")), "mine")
    }).pipe(Effect.scoped),
  )
})
