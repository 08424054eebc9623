import { spawn } from "node:child_process"
import { once } from "node:events"
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { DataFolder } from "./DataFolder.ts"

const withFolder = <A, E, R>(use: (folder: string) => Effect.Effect<A, E, R>) =>
  Effect.acquireUseRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "rat-folder-"))),
    use,
    (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true })),
  )

const open = (path: string, version = "0.3.1") =>
  Layer.build(Layer.fresh(DataFolder.layer({ path, version }))).pipe(
    Effect.map((context) => Context.get(context, DataFolder)),
  )
const refusal = (path: string, version?: string) =>
  Effect.flip(Effect.scoped(open(path, version))).pipe(Effect.map((error) => error.message))

/** A process of its own that opens the folder and says what came of it. */
const opener = (folder: string) => {
  const child = spawn(
    process.execPath,
    [
      "--input-type=module",
      "-e",
      `import { Effect, Layer } from "effect"
       const { DataFolder } = await import(${JSON.stringify(new URL("./DataFolder.ts", import.meta.url).href)})
       await Effect.runPromise(Effect.scoped(
         Layer.build(DataFolder.layer({ path: ${JSON.stringify(folder)}, version: "0.3.1" })).pipe(
           Effect.tap(() => Effect.sync(() => process.stdout.write("open\\n"))),
           Effect.tap(() => Effect.sleep("30 seconds")),
           Effect.catch((error) => Effect.sync(() => process.stdout.write(error._tag + "\\n"))))))`,
    ],
    { stdio: ["ignore", "pipe", "inherit"], cwd: import.meta.dirname },
  )
  const said = once(child.stdout, "data").then(([data]) => String(data).trim())
  return {
    child,
    said: Effect.promise(() => said),
    kill: Effect.promise(async () => {
      child.kill("SIGKILL")
      await once(child, "exit")
    }),
  }
}

describe("The data folder", () => {
  it.live("is made with its parts, closed to others, and remembers the version", () =>
    withFolder((parent) =>
      Effect.gen(function* () {
        const path = join(parent, "a", "data")
        const folder = yield* open(path)
        assert.strictEqual(statSync(path).mode & 0o066, 0)
        for (const part of [folder.postgres, folder.store, folder.slots, folder.cache]) {
          assert.isTrue(statSync(part).isDirectory())
        }
        assert.strictEqual(readFileSync(join(path, "version"), "utf8"), "0.3.1\n")
      }).pipe(Effect.scoped),
    ),
  )

  it.live("holds nothing any more of the slots of a server that was killed", () =>
    withFolder((path) =>
      Effect.gen(function* () {
        const left = join(path, "slots", "check", "1", "in")
        mkdirSync(left, { recursive: true })
        writeFileSync(join(left, "rows.parquet"), "of somebody")
        const folder = yield* open(path)
        assert.deepStrictEqual(readdirSync(folder.slots), [])
      }).pipe(Effect.scoped),
    ),
  )

  it.live("is refused to a second server with who has it, since when, where and what to do; free after the first", () =>
    withFolder((path) =>
      Effect.gen(function* () {
        yield* Effect.gen(function* () {
          const folder = yield* open(path)
          yield* folder.announce("http://127.0.0.1:8080")
          const message = yield* refusal(path)
          assert.match(
            message,
            new RegExp(
              `already in use by process ${process.pid} since 20.*, listening on http://127.0.0.1:8080. Stop it, or use another folder with --data`,
            ),
          )
        }).pipe(Effect.scoped)
        assert.isFalse(existsSync(join(path, "rat.lock")))
        yield* Effect.scoped(open(path))
      }),
    ),
  )

  it.live("is taken over from a process that was killed, by exactly one of several that want it", () =>
    withFolder((path) =>
      Effect.gen(function* () {
        const first = opener(path)
        assert.strictEqual(yield* first.said, "open")
        assert.include(yield* refusal(path), `process ${first.child.pid} `)
        yield* first.kill
        const others = [opener(path), opener(path), opener(path)]
        const answers = yield* Effect.forEach(others, (other) => other.said, { concurrency: "unbounded" })
        yield* Effect.forEach(others, ({ child, kill }) => (child.exitCode === null ? kill : Effect.void))
        assert.deepStrictEqual(answers.sort(), ["DataFolderInUse", "DataFolderInUse", "open"])
      }),
    ),
  )

  it.live("is taken over when the lock's process number belongs to another program now", () =>
    withFolder((path) =>
      Effect.gen(function* () {
        const lock = yield* Effect.scoped(
          Effect.map(open(path), () => JSON.parse(readFileSync(join(path, "rat.lock"), "utf8"))),
        )
        writeFileSync(join(path, "rat.lock"), JSON.stringify({ ...lock, process: "another boot/1" }))
        yield* Effect.scoped(open(path))
        writeFileSync(join(path, "rat.lock"), "garbage")
        yield* Effect.scoped(open(path))
      }),
    ),
  )

  it.live("is not taken from another machine that touched its lock a moment ago", () =>
    withFolder((path) =>
      Effect.gen(function* () {
        const lock = yield* Effect.scoped(
          Effect.map(open(path), () => JSON.parse(readFileSync(join(path, "rat.lock"), "utf8"))),
        )
        writeFileSync(join(path, "rat.lock"), JSON.stringify({ ...lock, host: "elsewhere" }))
        assert.include(yield* refusal(path), "on elsewhere since")
      }),
    ),
  )

  it.live("of a newer version is refused, of an older or equal one it is opened", () =>
    withFolder((path) =>
      Effect.gen(function* () {
        yield* Effect.scoped(open(path, "0.4.0"))
        const message = yield* refusal(path, "0.3.9")
        assert.include(message, "was last used by RAT 0.4.0; this is RAT 0.3.9")
        assert.include(message, "Start RAT 0.4.0 or later")
        yield* Effect.scoped(open(path, "0.4.7"))
        yield* Effect.scoped(open(path, "0.4.1"))
        yield* Effect.scoped(open(path, "1.0.0"))
        writeFileSync(join(path, "version"), "what?")
        assert.include(yield* refusal(path), `says "what?"`)
      }),
    ),
  )

  it.live("must not be a folder with other things in it, nor a file", () =>
    withFolder((path) =>
      Effect.gen(function* () {
        mkdirSync(join(path, "Documents"))
        assert.include(yield* refusal(path), `already holds other things, such as "Documents"`)
        writeFileSync(join(path, "file"), "")
        assert.include(yield* refusal(join(path, "file")), "it is a file")
        assert.include(yield* refusal(join(path, "file", "below")), "a part of its path is a file")
      }),
    ),
  )
})
