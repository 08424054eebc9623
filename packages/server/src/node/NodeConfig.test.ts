import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Layer } from "effect"
import { type NodeOptions, nodeConfigProvider, nodeSettings, parseListen } from "./NodeConfig.ts"
import { settings, unknownSettings } from "./Settings.ts"

const packages = fileURLToPath(new URL("../../../", import.meta.url))

const sources = (folder: string): ReadonlyArray<string> =>
  readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(".ts") && !entry.name.endsWith(".test.ts"))
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => !path.includes("node_modules"))

const read = (options: NodeOptions) =>
  nodeSettings.pipe(
    Effect.provide(Layer.succeed(ConfigProvider.ConfigProvider, nodeConfigProvider({ environment: {}, ...options }))),
  )

describe("NodeConfig", () => {
  it.effect("listens on this machine only unless told otherwise", () =>
    Effect.gen(function* () {
      const plain = yield* read({})
      assert.deepStrictEqual(plain.listen, { host: "127.0.0.1", port: 8080 })
      const byPort = yield* read({ environment: { PORT: "9000" } })
      assert.deepStrictEqual(byPort.listen, { host: "0.0.0.0", port: 9000 })
      const both = yield* read({ environment: { PORT: "9000", RAT_LISTEN_ADDR: "10.0.0.1:1" } })
      assert.deepStrictEqual(both.listen, { host: "10.0.0.1", port: 1 })
      const flag = yield* read({ environment: { RAT_LISTEN_ADDR: "10.0.0.1:1" }, listen: "127.0.0.1:0" })
      assert.deepStrictEqual(flag.listen, { host: "127.0.0.1", port: 0 })
    }),
  )

  it.effect("says which setting is wrong and what it should look like", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(read({ listen: "nonsense" }))
      assert.strictEqual(
        error.message,
        `The setting RAT_LISTEN_ADDR (--listen) cannot be used: "nonsense" is not an address such as 127.0.0.1:8080.`,
      )
      const size = yield* Effect.flip(read({ environment: { RAT_UPLOAD_LIMIT: "lots" } }))
      assert.include(size.message, "RAT_UPLOAD_LIMIT")
    }),
  )

  it("reads addresses as people write them", () => {
    assert.deepStrictEqual(parseListen(":80"), { host: "127.0.0.1", port: 80 })
    assert.deepStrictEqual(parseListen("8081"), { host: "127.0.0.1", port: 8081 })
    assert.deepStrictEqual(parseListen("[::1]:5"), { host: "::1", port: 5 })
    assert.deepStrictEqual(parseListen("0.0.0.0:65535"), { host: "0.0.0.0", port: 65535 })
    for (const wrong of ["", "a:b", "host:70000", "1:2:3", "host"]) assert.isNull(parseListen(wrong))
  })

  it("warns about variables that nothing reads and names the one that was meant", () => {
    assert.deepStrictEqual(unknownSettings({ RAT_LISTEN_ADR: "x", RAT_DATA: "y", HOME: "z", RAT_ZZZZZZZZZZ: "q" }), [
      { name: "RAT_LISTEN_ADR", nearest: "RAT_LISTEN_ADDR" },
      { name: "RAT_ZZZZZZZZZZ", nearest: null },
    ])
  })

  it("knows every setting that code reads, and no others", () => {
    const read = new Set<string>()
    for (const room of ["lakehouse", "server", "runner", "query"]) {
      for (const path of sources(join(packages, room, "src"))) {
        if (path.endsWith("node/Settings.ts")) continue
        for (const [, name] of readFileSync(path, "utf8").matchAll(
          /"((?:RAT|DB|S3)_[A-Z0-9_]+|DATABASE_URL|CORS_ORIGINS|PORT|QUALITY_TEST_TIMEOUT_SECS)"/g,
        )) {
          read.add(name!)
        }
      }
    }
    assert.deepStrictEqual([...read].sort(), settings.map(({ env }) => env).sort())
  })
})
