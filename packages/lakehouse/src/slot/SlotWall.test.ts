import { execFile } from "node:child_process"
import { chmodSync, existsSync, linkSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { Slot, SlotPoolOptions } from "./SlotPool.ts"
import { findWall, isClosed, noWall, type Wall, type WallPart, weaker } from "./SlotWall.ts"
import { attacks } from "./TestAttacks.ts"
import { pidOf, until } from "./TestPool.ts"
import { makeWarmPool } from "./WarmPool.ts"

const found = await findWall("auto")
const code = dirname(fileURLToPath(import.meta.url))

const listening = Effect.acquireRelease(
  Effect.promise(async () => {
    const folder = mkdtempSync(join(tmpdir(), "rat-wall-"))
    const socket = join(folder, "socket")
    const [tcp, unix] = [createServer(), createServer()]
    await new Promise<void>((resolve) => tcp.listen(0, "127.0.0.1", resolve))
    await new Promise<void>((resolve) => unix.listen(socket, resolve))
    return { folder, socket, port: (tcp.address() as { port: number }).port, close: () => [tcp.close(), unix.close()] }
  }),
  ({ folder, close }) =>
    Effect.sync(() => {
      close()
      rmSync(folder, { recursive: true, force: true })
    }),
)

const optionsOf = (folder: string): SlotPoolOptions => ({
  name: "test",
  size: 1,
  maxWaiting: 2,
  entry: new URL("./TestSlot.ts", import.meta.url),
  folder,
  memoryLimitBytes: 1e8,
  spillLimitBytes: 1e8,
  threads: 1,
  recycleAfter: 1_000,
  cancelGraceMs: 300,
})

/** Two slots behind a wall, in the data folder of a node; the first is attacked from inside. */
const successes = (wall: Wall, isTried: (name: string) => boolean = () => true) =>
  Effect.gen(function* () {
    const { folder, socket, port } = yield* listening
    chmodSync(folder, 0o711) // as data folders of root are
    const secret = join(folder, "secret")
    writeFileSync(secret, "hunter2")
    mkdirSync(join(folder, "store"))
    const object = join(folder, "store", "object")
    writeFileSync(object, "the store's", { mode: 0o444 })
    // In `require`: a wall behind which slots do not start is a failure here.
    const pool = yield* makeWarmPool(
      { ...optionsOf(join(folder, "slots")), size: 2 },
      { mode: "require", find: async () => wall },
    )
    const slot: Slot = yield* pool.acquire
    const neighbour = yield* pool.acquire
    const neighbourPid = yield* pidOf(neighbour)
    writeFileSync(join(neighbour.folder, "in", "theirs"), "theirs")
    linkSync(object, join(slot.folder, "in", "object"))
    const got = new Map<string, string>()
    for (const [name, text] of attacks({
      port,
      socket,
      secret,
      neighbour: neighbour.folder,
      neighbourPid,
      nodePid: process.pid,
      folder: slot.folder,
      code,
    })) {
      if (!isTried(name)) continue
      const result = yield* Effect.result(slot.call<string>("evaluate", text))
      if (result._tag === "Success") got.set(name, String(result.success).slice(0, 80))
      else assert.strictEqual(result.failure._tag, "SlotOpFailed", name)
    }
    // It can still do its work.
    assert.strictEqual(
      yield* slot.call(
        "evaluate",
        `return process.getBuiltinModule("node:fs").readFileSync(${JSON.stringify(join(slot.folder, "in", "object"))}, "utf8")`,
      ),
      "the store's",
    )
    yield* slot.call("leave", "out/result")
    yield* slot.call("leave", "spill/some")
    assert.strictEqual(readFileSync(join(slot.folder, "out", "result"), "utf8"), "left behind")
    assert.strictEqual(yield* neighbour.call("echo", "well"), "well")
    assert.strictEqual(readFileSync(object, "utf8"), "the store's")
    return got
  }).pipe(Effect.scoped)

const without = (...parts: ReadonlyArray<WallPart>): Wall => ({
  parts: found.parts.filter((part) => !parts.includes(part)),
  missing: [],
})

const walls: ReadonlyArray<readonly [name: string, wall: Wall]> = [
  ["all that this machine has", found],
  ["namespaces alone", without("landlock", "seccomp")],
  ["what a container allows", without("namespaces")],
  ["what an ordinary user may in a container", without("namespaces", "user")],
]

describe.skipIf(!isClosed(found))("Behind the wall", () => {
  for (const [name, wall] of walls) {
    it.live.skipIf(!isClosed(wall))(`made of ${name}, code that got out of the engine gets nowhere`, () =>
      Effect.gen(function* () {
        const got = yield* successes(wall)
        // Where only namespaces stand, nothing forbids programs, but their number has a limit; and who listens on a network
        // of its own hears nobody.
        if (!wall.parts.includes("seccomp"))
          for (const harmless of ["starts a program", "listens"]) got.delete(harmless)
        assert.deepStrictEqual([...got], [])
      }),
    )
  }

  for (const [name, wall] of walls) {
    it.live.skipIf(!isClosed(wall))(`made of ${name}, the engine reads its inputs and writes its result`, () =>
      Effect.gen(function* () {
        const folder = mkdtempSync(join(tmpdir(), "rat-wall-"))
        chmodSync(folder, 0o711)
        yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(folder, { recursive: true, force: true })))
        const pool = yield* makeWarmPool(
          {
            ...optionsOf(folder),
            entry: new URL("./TestEngineSlot.ts", import.meta.url),
            memoryLimitBytes: 1.5e8,
            spillLimitBytes: 1e9,
          },
          { mode: "require", find: async () => wall },
        )
        const slot = yield* pool.acquire
        const [input, output] = [join(slot.folder, "in", "input.csv"), join(slot.folder, "out", "output.parquet")]
        writeFileSync(input, "a,b\n1,x\n2,y\n", { mode: 0o444 })
        const rows = `select hash(i) as h, repeat(i::varchar, 8) as t from range(100_000) r(i)`
        const read = `select count(*)::int as n from read_csv('${input}') union all select count(*)::int from (${rows} order by h, t offset 1)`
        assert.deepStrictEqual(yield* slot.call("sql", `copy (${read}) to '${output}' (format parquet)`), [["2"]])
        assert.isTrue(existsSync(output))
      }).pipe(Effect.scoped),
    )
  }

  it.live("an ordinary user's slots get nowhere either", () =>
    Effect.gen(function* () {
      if (process.getuid?.() !== 0) return // the tests above were that user's
      const said = yield* Effect.promise(
        () =>
          new Promise<string>((resolve) =>
            execFile(
              "setpriv",
              [
                "--reuid",
                "61001",
                "--regid",
                "61001",
                "--clear-groups",
                "--",
                process.execPath,
                join(code, "TestWallUser.ts"),
              ],
              { env: { PATH: process.env.PATH ?? "", HOME: tmpdir() } },
              (_, stdout, stderr) => resolve(stdout || stderr),
            ),
          ),
      )
      const { parts, passwd, socket, echo } = JSON.parse(said)
      assert.include(parts, "landlock")
      assert.notInclude(parts, "user")
      assert.deepStrictEqual([passwd, socket, echo], ["refused", "refused", "well"])
    }),
  )

  it.live("a slot that is caught in the middle of a statement ends with its node", () =>
    Effect.gen(function* () {
      // See WarmPool.test.ts, where it is killed; here it is the wall's part in it: the launcher dies first.
      const folder = mkdtempSync(join(tmpdir(), "rat-wall-"))
      yield* Effect.scoped(
        Effect.gen(function* () {
          const pool = yield* makeWarmPool(optionsOf(folder), { mode: "require", find: async () => found })
          const slot = yield* pool.acquire
          const pid = yield* pidOf(slot)
          yield* Effect.forkScoped(Effect.ignore(slot.call("block", null)), { startImmediately: true })
          const parent = (of: number) => Number(/^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${of}/status`, "utf8"))?.[1])
          if (parent(pid) !== process.pid) process.kill(parent(parent(pid)), "SIGKILL")
          else process.kill(pid, "SIGKILL")
          yield* until(() => {
            try {
              process.kill(pid, 0)
              return false
            } catch {
              return true
            }
          })
        }),
      )
      rmSync(folder, { recursive: true, force: true })
    }),
  )
})

describe("Without a wall", () => {
  it.live("the same code gets far: the attacks are real ones", () =>
    Effect.gen(function* () {
      // Those that break nothing.
      const names = [
        "dials a port of the machine",
        "dials a Unix socket",
        "reads users of the machine",
        "reads the node's data",
        "reads another slot's inputs",
        "reads another slot's command",
        "starts a program",
      ]
      const got = yield* successes(noWall, (name) => names.includes(name))
      assert.deepStrictEqual([...got.keys()].sort(), names.sort())
    }),
  )

  it("walls become weaker part by part until none is left", () => {
    let wall: Wall | null = {
      parts: ["privileges", "limits", "namespaces", "user", "landlock", "seccomp"],
      missing: [],
    }
    const left: Array<number> = []
    for (; wall !== null; wall = weaker(wall)) left.push(wall.parts.length)
    assert.deepStrictEqual(left, [6, 5, 4, 3, 2, 1, 0])
  })
})
