import { mkdirSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { freePort, startRat } from "../support/RatProcess.ts"
import { temporaryFolder } from "../support/TestNode.ts"

/** What `rat up` prints when it cannot start: a sentence that says what to do, no trace, an exit code. */

const refusal = (options: Parameters<typeof startRat>[0]) =>
  Effect.promise(() =>
    startRat(options).then(
      async (rat) => {
        await rat.killTree()
        return assert.fail("it started")
      },
      (error: Error) => error.message,
    ),
  )

const assertSays = (printed: string, ...says: ReadonlyArray<string>) => {
  assert.match(printed, /^rat up ended with [1-9]/)
  for (const part of says) assert.include(printed, part)
  assert.notMatch(printed, /^\s+at .+:\d+/m)
  assert.notInclude(printed, "node_modules")
}

const listener = (port: number) =>
  Effect.acquireRelease(
    Effect.promise(
      () =>
        new Promise<ReturnType<typeof createServer>>((resolve) => {
          const server = createServer((socket) => socket.destroy())
          server.listen(port, "127.0.0.1", () => resolve(server))
        }),
    ),
    (server) => Effect.sync(() => server.close()),
  )

describe("rat up", () => {
  it.live(
    "names the port that is taken, and the flag that chooses another",
    () =>
      Effect.gen(function* () {
        const data = join(yield* temporaryFolder, "data")
        const port = yield* Effect.promise(freePort)
        yield* listener(port)
        assertSays(yield* refusal({ data, port }), `Port ${port} is already in use`, "--listen")
      }).pipe(Effect.scoped),
    30_000,
  )

  it.live(
    "names the version that wrote a newer data folder",
    () =>
      Effect.gen(function* () {
        const data = join(yield* temporaryFolder, "data")
        mkdirSync(data)
        writeFileSync(join(data, "version"), "99.0.0\n")
        assertSays(yield* refusal({ data }), "RAT 99.0.0", "Start RAT 99.0.0 or later", "--data")
      }).pipe(Effect.scoped),
    30_000,
  )

  it.live(
    "does not move into a folder of other things",
    () =>
      Effect.gen(function* () {
        const data = join(yield* temporaryFolder, "home")
        mkdirSync(data)
        writeFileSync(join(data, "thesis.doc"), "")
        assertSays(yield* refusal({ data }), "thesis.doc", "--data")
      }).pipe(Effect.scoped),
    30_000,
  )

  it.live(
    "names a setting that it cannot use",
    () =>
      Effect.gen(function* () {
        const data = join(yield* temporaryFolder, "data")
        const printed = yield* refusal({ data, env: { RAT_RUNNER_SLOTS: "many" } })
        assertSays(printed, "RAT_RUNNER_SLOTS", "many")
      }).pipe(Effect.scoped),
    30_000,
  )
})
