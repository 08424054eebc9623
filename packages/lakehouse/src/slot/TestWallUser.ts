import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect, References } from "effect"
import { SlotPools } from "./SlotPool.ts"

/** A node of an ordinary user: tells as JSON which wall it has and what a slot behind it gets. Test support only. */
const program = Effect.gen(function* () {
  const folder = mkdtempSync(join(tmpdir(), "rat-user-"))
  yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(folder, { recursive: true, force: true })))
  const pools = yield* SlotPools
  const pool = yield* pools.make({
    name: "test",
    size: 1,
    maxWaiting: 1,
    entry: new URL("./TestSlot.ts", import.meta.url),
    folder,
    memoryLimitBytes: 1e8,
    spillLimitBytes: 1e8,
    threads: 1,
    recycleAfter: 1_000,
    cancelGraceMs: 300,
  })
  const slot = yield* pool.acquire
  const attempt = (code: string) =>
    slot.call<string>("evaluate", code).pipe(
      Effect.as("succeeded"),
      Effect.catchTag("SlotOpFailed", () => Effect.succeed("refused")),
    )
  const passwd = yield* attempt('return process.getBuiltinModule("node:fs").readFileSync("/etc/passwd", "utf8")')
  const socket = yield* attempt(
    `return new Promise((resolve, reject) =>
      process.getBuiltinModule("node:net").createServer().on("error", reject).listen(0, "0.0.0.0", () => resolve("")))`,
  )
  const echo = yield* slot.call("echo", "well")
  console.log(JSON.stringify({ parts: (yield* pool.stats).wall, passwd, socket, echo }))
})

await Effect.runPromise(
  program.pipe(
    Effect.scoped,
    Effect.provide(SlotPools.layer),
    Effect.provideService(References.MinimumLogLevel, "None"),
  ),
)
