import { spawn } from "node:child_process"
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs"
import { tmpdir } from "node:os"
import { basename, join } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Scope, Stream } from "effect"
import { startOf } from "./ProcessUsage.ts"
import { held, isAlive, pidOf, until, withPool } from "./TestPool.ts"

const ownerOf = (pid: number): string => `${pid}-${startOf(pid)}`

/** Folder of the pool below the one that it was given. */
const poolFolder = (folder: string): string =>
  join(folder, readdirSync(folder).find((name) => name.startsWith("test."))!)

describe("WarmPool", () => {
  it.live("an operation answers with its value, and its failure leaves the slot well", () =>
    withPool({}, (pool) =>
      held(pool, (slot) =>
        Effect.gen(function* () {
          const value = { text: "ü", bytes: new Uint8Array([1, 2]), big: 2n ** 70n, nested: [new Map([[1, null]])] }
          assert.deepStrictEqual(yield* slot.call("echo", value), value)
          const failure = yield* Effect.flip(slot.call("fail", null))
          assert.deepInclude(failure, {
            _tag: "SlotOpFailed",
            code: "test.failed",
            reason: "It failed.",
            details: { why: "test" },
          })
          assert.deepInclude(yield* Effect.flip(slot.call("defect", null)), { code: "slot.defect", reason: "a defect" })
          assert.deepInclude(yield* Effect.flip(slot.call("no such", null)), { code: "slot.unknown_op" })
          assert.strictEqual(yield* slot.call("echo", 1), 1)
        }),
      ),
    ),
  )

  it.live("a slot sees nothing of the node's environment and only its own folder", () =>
    withPool({}, (pool, folder) =>
      held(pool, (slot) =>
        Effect.gen(function* () {
          process.env.RAT_TEST_SECRET = "hunter2"
          const environment = yield* slot.call<Record<string, string>>("environment", null)
          assert.deepStrictEqual(Object.keys(environment).sort(), [
            "HOME",
            "LANG",
            "OPENSSL_CONF",
            "PATH",
            "RAT_SLOT",
            "TMPDIR",
            "TZ",
          ])
          assert.notInclude(JSON.stringify(environment), "hunter2")
          assert.strictEqual(slot.folder, join(poolFolder(folder), "1"))
          assert.strictEqual(statSync(join(slot.folder, "in")).mode & 0o007, 0)
          assert.include(yield* slot.call<ReadonlyArray<string>>("arguments", null), "--max-old-space-size=256")
        }),
      ),
    ),
  )

  it.live("a streamed answer comes in order, and a slow reader holds the slot back", () =>
    withPool({}, (pool) =>
      held(pool, (slot) =>
        Effect.gen(function* () {
          const all = yield* Stream.runCollect(slot.stream<number>("count", 50))
          assert.deepStrictEqual(
            all,
            Array.from({ length: 50 }, (_, index) => index + 1),
          )
          const read: Array<number> = []
          yield* slot.stream<number>("count", 1000).pipe(
            Stream.take(2),
            Stream.runForEach((number) =>
              Effect.delay(
                Effect.sync(() => read.push(number)),
                100,
              ),
            ),
          )
          assert.deepStrictEqual(read, [1, 2])
          assert.isAtMost(Number(readFileSync(join(slot.folder, "out", "sent"), "utf8")), 12)
          assert.strictEqual(yield* slot.call("echo", "again"), "again")
        }),
      ),
    ),
  )

  it.live("interrupting a call stops its operation, and the same process goes on", () =>
    withPool({ cancelGraceMs: 5_000 }, (pool) =>
      held(pool, (slot) =>
        Effect.gen(function* () {
          const pid = yield* pidOf(slot)
          const started = performance.now()
          yield* slot.call("sleep", 60_000).pipe(Effect.timeoutOption(50))
          assert.isBelow(performance.now() - started, 250)
          assert.isAbove(yield* slot.call<number>("interrupts", null), 0)
          assert.strictEqual(yield* pidOf(slot), pid)
        }),
      ),
    ),
  )

  it.live.each(["hang", "block"])(
    "an operation that ignores the interrupt (%s) ends with its process, which is replaced",
    (op) =>
      withPool({ cancelGraceMs: 100 }, (pool) =>
        Effect.gen(function* () {
          const pid = yield* held(pool, (slot) =>
            Effect.gen(function* () {
              const pid = yield* pidOf(slot)
              const started = performance.now()
              yield* slot.call(op, null).pipe(Effect.timeoutOption(50))
              assert.isBelow(performance.now() - started, 600)
              return pid
            }),
          )
          assert.isFalse(isAlive(pid))
          assert.notStrictEqual(yield* held(pool, pidOf), pid)
        }),
      ),
  )

  it.live.each<readonly [op: string, how: RegExp]>([
    ["exit", /^exit code 7$/],
    ["abort", /^SIGABRT, it crashed$/],
    ["exhaust", /^SIG(?:ABRT|TRAP), its 256 MiB for JavaScript were full$/],
  ])("a process that dies (%s) fails its holder's call alone and is replaced", ([op, how]) =>
    withPool({ size: 2 }, (pool) =>
      Effect.gen(function* () {
        const other = yield* Deferred.make<unknown>()
        const neighbour = yield* Effect.forkScoped(
          held(pool, (slot) => Effect.andThen(Deferred.await(other), slot.call("echo", "untouched"))),
        )
        const death = yield* held(pool, (slot) => Effect.flip(slot.call(op, null)))
        assert.strictEqual(death._tag, "SlotDied")
        assert.match(death._tag === "SlotDied" ? death.how : "", how)
        yield* Deferred.succeed(other, null)
        assert.strictEqual(yield* Fiber.join(neighbour), "untouched")
        assert.strictEqual(yield* held(pool, (slot) => slot.call("echo", "replaced")), "replaced")
        assert.strictEqual((yield* pool.stats).replaced, 1)
      }),
    ),
  )

  it.live("the pool survives kill -9 of every process it starts, idle or at work", () =>
    withPool({ size: 2 }, (pool, folder) =>
      Effect.gen(function* () {
        const kills = Number(process.env.RAT_TEST_KILLS ?? 12)
        let died = 0
        for (let kill = 0; kill < kills; kill++) {
          yield* held(pool, (slot) =>
            Effect.gen(function* () {
              const pid = yield* pidOf(slot)
              if (kill % 2 === 0) setTimeout(() => process.kill(pid, "SIGKILL"), 2)
              else process.kill(pid, "SIGKILL")
              const failure = yield* Effect.flip(slot.call("sleep", 60_000))
              assert.deepInclude(failure, { _tag: "SlotDied", how: "SIGKILL, it was killed from outside" })
              died++
            }),
          )
        }
        assert.strictEqual(died, kills)
        assert.strictEqual(yield* held(pool, (slot) => slot.call("echo", "well")), "well")
        yield* until(() => readdirSync(poolFolder(folder)).length <= 3) // root, and two slots; folders of dead processes are removed
        assert.strictEqual((yield* pool.stats).replaced, kills)
      }),
    ),
  )

  it.live("a holder finds nothing of the one before, whatever it left", () =>
    withPool({}, (pool) =>
      Effect.gen(function* () {
        const first = yield* held(pool, (slot) =>
          Effect.gen(function* () {
            writeFileSync(join(slot.folder, "in", "a"), "")
            yield* slot.call("leave", "out/b")
            return yield* pidOf(slot)
          }),
        )
        assert.deepStrictEqual(yield* held(pool, (slot) => slot.call("files", null)), [])
        assert.strictEqual(yield* held(pool, pidOf), first)
        // What was spilled may still be in use by the engine, so that process is not trusted.
        yield* held(pool, (slot) => slot.call("leave", "spill/c"))
        assert.deepStrictEqual(yield* held(pool, (slot) => slot.call("files", null)), [])
        const second = yield* held(pool, pidOf)
        assert.notStrictEqual(second, first)
        yield* held(pool, (slot) => slot.call("spoil", null))
        assert.notStrictEqual(yield* held(pool, pidOf), second)
      }),
    ),
  )

  it.live("a slot is replaced after its number of holders, by one that is ready before it goes", () =>
    withPool({ recycleAfter: 5 }, (pool) =>
      Effect.gen(function* () {
        const pids: Array<unknown> = []
        for (let holder = 0; holder < 40; holder++) {
          pids.push(yield* held(pool, pidOf))
          yield* Effect.sleep(10)
        }
        const distinct = new Set(pids)
        assert.isAbove(distinct.size, 1)
        for (const pid of distinct) assert.isAtLeast(pids.filter((other) => other === pid).length, 1)
        yield* until(() => [...distinct].filter((pid) => isAlive(pid as number)).length <= 2)
      }),
    ),
  )

  it.live("who waits longest comes first, the line is bounded, and who leaves it is forgotten", () =>
    withPool({ maxWaiting: 2 }, (pool) =>
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        yield* Scope.provide(pool.acquire, scope)
        const order: Array<string> = []
        const waiter = (name: string) =>
          Effect.forkScoped(
            held(pool, () => Effect.sync(() => order.push(name))),
            { startImmediately: true },
          )
        const first = yield* waiter("first")
        const leaving = yield* waiter("leaving")
        const busy = yield* Effect.flip(held(pool, () => Effect.void))
        assert.deepInclude(busy, { _tag: "SlotsBusy", waiting: 2 })
        assert.deepInclude(yield* pool.stats, { size: 1, free: 0, waiting: 2 })
        yield* Fiber.interrupt(leaving)
        const second = yield* waiter("second")
        yield* Scope.close(scope, Exit.void)
        yield* Fiber.join(first)
        yield* Fiber.join(second)
        assert.deepStrictEqual(order, ["first", "second"])
      }),
    ),
  )

  it.live("processes that cannot start are tried again, more and more slowly, until they can; health says why", () =>
    Effect.gen(function* () {
      const code = mkdtempSync(join(tmpdir(), "rat-code-"))
      const broken = join(code, "broken")
      writeFileSync(broken, "")
      chmodSync(code, 0o755) // a slot may have a user of its own
      const work = "{ ops: { echo: async (value) => value }, interrupt: () => {}, reset: async () => {} }"
      writeFileSync(
        join(code, "Slot.mjs"),
        `import { existsSync } from "node:fs"
         import { serveSlot } from ${JSON.stringify(new URL("./SlotServer.ts", import.meta.url).href)}
         serveSlot(async () => {
           if (existsSync(${JSON.stringify(broken)})) throw new Error("the test said so")
           return ${work}
         })`,
      )
      yield* withPool({ entry: pathToFileURL(join(code, "Slot.mjs")) }, (pool, folder) =>
        Effect.gen(function* () {
          yield* until(() => readdirSync(poolFolder(folder)).some((name) => Number(name) >= 3))
          const { problem, wall } = yield* pool.stats
          assert.match(problem ?? "", /Slots of test cannot start: exit code 1: .*the test said so/)
          rmSync(broken)
          assert.strictEqual(yield* held(pool, (slot) => slot.call("echo", "at last")), "at last")
          // It was not the wall's fault, so the wall stands.
          assert.deepInclude(yield* pool.stats, { problem: null, wall })
        }),
      )
      rmSync(code, { recursive: true, force: true })
    }),
  )

  it.live("closing the pool ends its processes and removes their folders, even in the middle of an operation", () =>
    Effect.gen(function* () {
      let pid = 0
      let path = ""
      yield* withPool({}, (pool) =>
        Effect.gen(function* () {
          const slot = yield* pool.acquire
          pid = yield* pidOf(slot)
          path = slot.folder
          yield* Effect.forkScoped(Effect.ignore(slot.call("block", null)), { startImmediately: true })
        }),
      )
      assert.isFalse(isAlive(pid))
      assert.isFalse(existsSync(path))
    }),
  )

  it.live("when the node is killed its slots end with it, and the next start removes what they left", () =>
    Effect.gen(function* () {
      const folder = mkdtempSync(join(tmpdir(), "rat-pool-"))
      const node = spawn(process.execPath, [fileURLToPath(new URL("./TestNode.ts", import.meta.url)), folder], {
        stdio: ["ignore", "pipe", "inherit"],
      })
      const pids = yield* Effect.promise(
        () =>
          new Promise<Array<number>>((resolve) =>
            node.stdout.once("data", (text) => resolve(JSON.parse(String(text)))),
          ),
      )
      node.kill("SIGKILL")
      yield* until(() => !pids.some(isAlive))
      const dead = poolFolder(folder)
      assert.isTrue(existsSync(join(dead, "1", "spill")))
      // Another one that is alive, one of another machine that was heard of, and one that was not.
      const alive = join(
        folder,
        `other.${basename(dead)
          .split(".")[1]!
          .replace(/^[^-]+-[^-]+/, ownerOf(process.pid))}`,
      )
      const [heard, silent] = [join(folder, "test.1-1-0badc0de"), join(folder, "test.2-2-0badc0de")]
      for (const path of [alive, heard, silent]) mkdirSync(join(path, "1", "in"), { recursive: true })
      const longAgo = new Date(Date.now() - 3_600_000)
      utimesSync(silent, longAgo, longAgo)
      yield* withPool({ folder, size: 1 }, () =>
        Effect.gen(function* () {
          yield* until(() => !existsSync(dead) && !existsSync(silent))
          assert.isTrue(existsSync(join(alive, "1", "in")))
          assert.isTrue(existsSync(join(heard, "1", "in")))
        }),
      )
      rmSync(folder, { recursive: true, force: true })
    }),
  )
})
