import { assert, describe, it } from "@effect/vitest"
import { withoutServerPaths } from "./ServerPath.ts"

describe("a message for people who use the server", () => {
  it.each([
    ["the disk that holds /srv/rat/store is full.", "the disk that holds the data folder is full."],
    ["calls to file:/srv/rat/store are held back", "calls to the data folder are held back"],
    ["open 'file:///srv/rat/a-b/c.parquet'", "open 'the data folder'"],
  ])("names no folder of it: %s", (message, shown) => {
    assert.strictEqual(withoutServerPaths(message), shown)
  })

  it.each([
    "default/silver/one/data/x.parquet is missing",
    "http://127.0.0.1:9000/bucket/key did not answer",
    "write it like `layer/name`, and/or 1/2",
  ])("keeps keys, addresses and fractions: %s", (message) => {
    assert.strictEqual(withoutServerPaths(message), message)
  })
})
