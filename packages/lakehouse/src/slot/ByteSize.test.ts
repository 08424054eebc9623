import { assert, describe, it } from "@effect/vitest"
import { parseBytes } from "./ByteSize.ts"

describe("A size", () => {
  it.each([
    ["512MB", 512_000_000],
    ["1.5 GB", 1_500_000_000],
    ["2GiB", 2_147_483_648],
    ["1.5 kb", 1_500],
    [" 32MiB ", 33_554_432],
    ["1tib", 1_099_511_627_776],
    ["7b", 7],
    ["1024", 1024],
    ["-1", null],
    ["0", null],
    ["0MB", null],
    ["0.5 b", null],
    ["1.5", null],
    ["MB", null],
    ["10 parsecs", null],
    ["", null],
    ["9007199254740993", null],
  ])("%j is %j bytes", (text, bytes) => {
    assert.strictEqual(parseBytes(text), bytes)
  })
})
