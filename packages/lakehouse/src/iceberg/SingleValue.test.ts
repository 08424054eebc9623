import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import {
  compareSingleValues,
  decodeSingleValue,
  encodeSingleValue,
  type SingleValue,
  truncateLowerBound,
  truncateUpperBound,
} from "./SingleValue.ts"

const int64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })
const int32 = fc.integer().map(BigInt)
/** Any text without lone surrogates, which UTF-8 cannot hold. */
const text = fc.string({ unit: "binary", maxLength: 60 })
const bytes = fc.uint8Array({ maxLength: 60 })
const valuesOf: ReadonlyArray<readonly [type: string, values: fc.Arbitrary<SingleValue>]> = [
  ["boolean", fc.boolean()],
  ["int", int32],
  ["long", int64],
  ["float", fc.float({ noNaN: true })],
  ["double", fc.double({ noNaN: true })],
  ["date", int32],
  ["time", fc.bigInt({ min: 0n, max: 86_400_000_000n })],
  ["timestamp", int64],
  ["timestamptz", int64],
  ["timestamp_ns", int64],
  ["timestamptz_ns", int64],
  ["string", text],
  ["uuid", fc.uuid()],
  ["binary", bytes],
  ["decimal(38,10)", fc.bigInt({ min: -(10n ** 38n) + 1n, max: 10n ** 38n - 1n })],
]

describe("SingleValue", () => {
  for (const [type, values] of valuesOf) {
    it(`${type} values hold no more memory than their binary form, for caches keep them`, () => {
      fc.assert(
        fc.property(values, (value) => {
          const encoded = encodeSingleValue(type, value instanceof Uint8Array ? Buffer.from(value) : value)
          assert.strictEqual(encoded.buffer.byteLength, encoded.byteLength)
        }),
      )
    })

    it(`${type} values come back exactly from their binary form`, () => {
      fc.assert(
        fc.property(values, (value) => {
          const decoded = decodeSingleValue(type, encodeSingleValue(type, value))
          if (value instanceof Uint8Array) assert.deepStrictEqual(Array.from(decoded as Uint8Array), Array.from(value))
          else assert.isTrue(Object.is(decoded, value), `${String(decoded)} is not ${String(value)}`)
        }),
      )
    })

    it(`shortened ${type} bounds enclose the value`, () => {
      fc.assert(
        fc.property(values, (value) => {
          const lower = truncateLowerBound(type, value)
          const upper = truncateUpperBound(type, value)
          assert.isAtMost(compareSingleValues(lower, value), 0)
          if (upper !== undefined) assert.isAtLeast(compareSingleValues(upper, value), 0)
          for (const bound of [lower, upper]) {
            if (type === "string" && bound !== undefined) assert.isAtMost(Array.from(bound as string).length, 16)
            if (type === "binary" && bound !== undefined) assert.isAtMost((bound as Uint8Array).length, 16)
          }
        }),
      )
    })
  }

  it("bytes are those of the specification's table", () => {
    const hex = (type: string, value: SingleValue) => Buffer.from(encodeSingleValue(type, value)).toString("hex")
    assert.strictEqual(hex("boolean", true), "01")
    assert.strictEqual(hex("int", 34n), "22000000")
    assert.strictEqual(hex("long", -1n), "ffffffffffffffff")
    assert.strictEqual(hex("date", 1n), "01000000")
    assert.strictEqual(hex("double", 1), "000000000000f03f")
    assert.strictEqual(hex("string", "iceberg"), Buffer.from("iceberg").toString("hex"))
    assert.strictEqual(hex("uuid", "f79c3e09-677c-4bbd-a479-3f349cb785e7"), "f79c3e09677c4bbda4793f349cb785e7")
    // Decimals: two's complement, big-endian, as few bytes as possible.
    assert.strictEqual(hex("decimal(9,2)", 1420n), "058c")
    assert.strictEqual(hex("decimal(9,2)", 128n), "0080")
    assert.strictEqual(hex("decimal(9,2)", -128n), "80")
    assert.strictEqual(hex("decimal(9,2)", 0n), "00")
  })

  it("an upper bound whose characters cannot be raised is left out, or raised before them", () => {
    const last = "\u{10FFFF}"
    assert.isUndefined(truncateUpperBound("string", last.repeat(17)))
    assert.strictEqual(truncateUpperBound("string", `a${last.repeat(17)}`), "b")
    assert.strictEqual(truncateUpperBound("string", `${"x".repeat(15)}\uD7FFz`), `${"x".repeat(15)}\uE000`)
    assert.isUndefined(truncateUpperBound("binary", new Uint8Array(17).fill(0xff)))
  })

  it("strings are ordered by their UTF-8 bytes, not by UTF-16 units", () => {
    assert.isBelow(compareSingleValues("\uFFFD", "\u{1F600}"), 0)
    assert.isTrue("\uFFFD" > "\u{1F600}")
  })

  it("bounds written before a promotion are read as the wider type, malformed ones as none", () => {
    assert.strictEqual(decodeSingleValue("long", encodeSingleValue("int", -5n)), -5n)
    assert.strictEqual(decodeSingleValue("double", encodeSingleValue("float", 1.5)), 1.5)
    assert.isUndefined(decodeSingleValue("int", new Uint8Array(3)))
    assert.isUndefined(decodeSingleValue("uuid", new Uint8Array(15)))
  })
})
