import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Layer } from "effect"
import { startFauxqs } from "fauxqs"
import { ObjectStore } from "./ObjectStore.ts"
import { StoreConfig } from "./StoreConfig.ts"

const folder = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "rat-config-"))),
  (path) => Effect.promise(() => rm(path, { recursive: true, force: true })),
)

const storeOf = (env: Record<string, string>) =>
  Effect.gen(function* () {
    const dataFolder = yield* folder
    const store = yield* ObjectStore.pipe(
      Effect.provide(
        StoreConfig.layerFromConfig({ dataFolder }).pipe(
          Layer.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env }))),
        ),
      ),
    )
    return { store, dataFolder }
  })

describe("StoreConfig", () => {
  it.live("keeps objects as files in the data folder unless S3 is asked for", () =>
    Effect.gen(function* () {
      const { dataFolder, store } = yield* storeOf({})
      assert.strictEqual(store.kind, "file")
      assert.strictEqual(store.root, `file://${dataFolder}/store/`)
    }).pipe(Effect.scoped),
  )

  it.live("uses the S3 server at host and port, with times as people write them", () =>
    Effect.gen(function* () {
      const server = yield* Effect.acquireRelease(
        Effect.promise(() => startFauxqs({ port: 0, host: "127.0.0.1", logger: false })),
        (started) => Effect.promise(() => started.stop()),
      )
      const { store } = yield* storeOf({
        S3_ENDPOINT: `127.0.0.1:${server.port}`,
        S3_ACCESS_KEY: "test",
        S3_SECRET_KEY: "test",
        S3_METADATA_TIMEOUT: "2s",
        S3_DATA_TIMEOUT: "1m",
      })
      assert.strictEqual(store.root, "s3://rat/")
      assert.deepStrictEqual(yield* store.health, { circuit: "closed" })
    }).pipe(Effect.scoped),
  )

  for (const [name, env, expected] of [
    ["half of the credentials", { S3_BUCKET: "b", S3_ACCESS_KEY: "a" }, "S3_SECRET_KEY"],
    ["an endpoint that is no address", { S3_ENDPOINT: "ftp://somewhere" }, "S3_ENDPOINT"],
    ["a time that is none", { S3_BUCKET: "b", S3_DATA_TIMEOUT: "soon" }, "S3_DATA_TIMEOUT"],
  ] as const) {
    it.live(`refuses ${name} and names the setting`, () =>
      Effect.gen(function* () {
        const refused = yield* Effect.flip(storeOf(env))
        assert.include(String(refused.message), expected)
      }).pipe(Effect.scoped),
    )
  }
})
