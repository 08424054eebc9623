import { connect, createServer } from "node:net"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { startNode } from "@rat/server"
import { Effect, References } from "effect"
import { temporaryFolder, testNode } from "../support/TestNode.ts"

/** Starting, stopping and starting again, and what a person reads when it does not work. */

const start = (options: { readonly data: string; readonly listen: string }) =>
  startNode({ ...options, environment: { PATH: process.env.PATH, HOME: process.env.HOME } }).pipe(
    Effect.provideService(References.MinimumLogLevel, "Error"),
  )

const taken = Effect.acquireRelease(
  Effect.promise(
    () =>
      new Promise<{ readonly port: number; readonly close: () => void }>((resolve) => {
        const server = createServer()
        server.listen(0, "127.0.0.1", () => {
          resolve({ port: (server.address() as { port: number }).port, close: () => server.close() })
        })
      }),
  ),
  ({ close }) => Effect.sync(close),
)

describe("a node", () => {
  it.live(
    "finds everything as it was when it starts again on its folder",
    () =>
      Effect.gen(function* () {
        const data = join(yield* temporaryFolder, "data")
        const files = [{ path: "pipelines/bronze/one/pipeline.sql", content: "select 42 as answer" }]
        yield* Effect.scoped(
          Effect.gen(function* () {
            const { client } = yield* testNode({ store: "file", data })
            yield* Effect.promise(async () => {
              await client.projects.push("default", { files })
              const { run_id } = await client.runs.create({ namespace: "default", layer: "bronze", pipeline: "one" })
              const run = await client.runs.wait(run_id)
              assert.deepStrictEqual([run.status, run.error], ["success", null])
            })
          }),
        )
        const startedAt = performance.now()
        const { client } = yield* testNode({ store: "file", data })
        // Quick enough to be restarted without a thought; 0.4 s on an idle machine.
        assert.isBelow(performance.now() - startedAt, 5000)
        yield* Effect.promise(async () => {
          assert.deepStrictEqual((await client.query.arrays("select answer from bronze.one")).rows, [[42]])
          assert.strictEqual((await client.runs.list()).total, 1)
        })
      }).pipe(Effect.scoped),
    60_000,
  )

  it.live(
    "stops while a client keeps a connection open that never asked anything",
    () =>
      Effect.gen(function* () {
        const data = join(yield* temporaryFolder, "data")
        let stoppedAt = 0
        yield* Effect.scoped(
          Effect.gen(function* () {
            const { port } = yield* testNode({ store: "file", data })
            yield* Effect.promise(
              () =>
                new Promise<void>((resolve) => {
                  connect(port, "127.0.0.1", resolve).on("error", () => {})
                }),
            )
            yield* Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 50)))
            stoppedAt = performance.now()
          }),
        )
        assert.isBelow(performance.now() - stoppedAt, 5000)
      }).pipe(Effect.scoped),
    60_000,
  )

  it.live(
    "says which port is taken and how to choose another, and leaves its folder free",
    () =>
      Effect.gen(function* () {
        const data = join(yield* temporaryFolder, "data")
        const { port } = yield* taken
        const error = yield* Effect.flip(Effect.scoped(start({ data, listen: `127.0.0.1:${port}` })))
        assert.strictEqual(error._tag, "AddressInUse")
        assert.strictEqual(
          error.message,
          `Port ${port} is already in use on 127.0.0.1. Stop what listens there, or choose another address with --listen HOST:PORT (RAT_LISTEN_ADDR).`,
        )
        const again = yield* start({ data, listen: "127.0.0.1:0" })
        assert.include(again.url, "http://127.0.0.1:")
      }).pipe(Effect.scoped),
    60_000,
  )

  it.live(
    "refuses a folder that another node works in, and says where that one listens",
    () =>
      Effect.gen(function* () {
        const data = join(yield* temporaryFolder, "data")
        const first = yield* start({ data, listen: "127.0.0.1:0" })
        const error = yield* Effect.flip(Effect.scoped(start({ data, listen: "127.0.0.1:0" })))
        assert.strictEqual(error._tag, "DataFolderInUse")
        assert.include(error.message, first.url)
      }).pipe(Effect.scoped),
    60_000,
  )

  it.live("names a setting that cannot be used", () =>
    Effect.gen(function* () {
      const data = join(yield* temporaryFolder, "data")
      const error = yield* startNode({ data, listen: "127.0.0.1:0", environment: { RAT_LEASE_SECONDS: "ten" } }).pipe(
        Effect.flip,
      )
      assert.strictEqual(error._tag, "SettingInvalid")
      assert.include(error.message, "RAT_LEASE_SECONDS")
    }).pipe(Effect.scoped),
  )
})
