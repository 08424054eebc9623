import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import type { SingleValue } from "./SingleValue.ts"
import { parseSingleValue } from "./SingleValueText.ts"
import { applyTransform, hashOf, parseTransform, printTransform, resultType } from "./Transform.ts"

const at = (text: string) => parseSingleValue("timestamp", text) as bigint
const apply = (transform: string, type: string, value: SingleValue | null) =>
  applyTransform(parseTransform(transform), type, value)

/** Iceberg spec, "Appendix B: 32-bit Hash Requirements". */
const hashes: ReadonlyArray<readonly [type: string, value: SingleValue, hash: number]> = [
  ["int", 34n, 2017239379],
  ["long", 34n, 2017239379],
  ["decimal(9,2)", 1420n, -500754589],
  ["date", parseSingleValue("date", "2017-11-16")!, -653330422],
  ["time", parseSingleValue("time", "22:31:08")!, -662762989],
  ["timestamp", at("2017-11-16 22:31:08"), -2047944441],
  ["timestamp", at("2017-11-16 22:31:08.000001"), -1207196810],
  ["timestamptz", at("2017-11-16 14:31:08-08"), -2047944441],
  ["timestamp_ns", at("2017-11-16 22:31:08") * 1000n, -2047944441],
  ["timestamptz_ns", at("2017-11-16 22:31:08.000001") * 1000n + 1n, -1207196810],
  ["string", "iceberg", 1210000089],
  ["uuid", "f79c3e09-677c-4bbd-a479-3f349cb785e7", 1488055340],
  ["fixed[4]", Uint8Array.of(0, 1, 2, 3), -188683207],
  ["binary", Uint8Array.of(0, 1, 2, 3), -188683207],
]

describe("Transform", () => {
  it.each(hashes)("the hash of a %s is the spec's", (type, value, hash) => {
    assert.strictEqual(hashOf(type, value), hash)
    assert.strictEqual(apply("bucket[16]", type, value), BigInt((hash & 0x7fffffff) % 16))
  })

  it("buckets lie between 0 and their number, and equal values of int and long share one", () => {
    fc.assert(
      fc.property(
        fc.bigInt({ min: -(2n ** 31n), max: 2n ** 31n - 1n }),
        fc.integer({ min: 1, max: 5000 }),
        (value, n) => {
          const bucket = apply(`bucket[${n}]`, "int", value) as bigint
          assert.isTrue(bucket >= 0n && bucket < BigInt(n))
          assert.strictEqual(apply(`bucket[${n}]`, "long", value), bucket)
        },
      ),
    )
  })

  it("truncation goes down to a multiple of the width, to characters or to bytes", () => {
    assert.strictEqual(apply("truncate[10]", "int", 1n), 0n)
    assert.strictEqual(apply("truncate[10]", "long", -1n), -10n)
    assert.strictEqual(apply("truncate[50]", "decimal(9,2)", 1065n), 1050n)
    assert.strictEqual(apply("truncate[3]", "string", "iceberg"), "ice")
    assert.strictEqual(apply("truncate[2]", "string", "🧊é!"), "🧊é") // characters, not UTF-16 units
    assert.deepStrictEqual(apply("truncate[3]", "binary", Uint8Array.of(1, 2, 3, 4, 5)), Uint8Array.of(1, 2, 3))
    fc.assert(
      fc.property(
        fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
        fc.integer({ min: 1, max: 2 ** 31 - 1 }),
        (value, width) => {
          const down = apply(`truncate[${width}]`, "long", value) as bigint
          assert.isTrue(down <= value && value - down < BigInt(width) && down % BigInt(width) === 0n)
        },
      ),
    )
  })

  it("years, months, days and hours count from 1970, before it downwards, as the calendar of Date says", () => {
    const limit = 8.64e15
    fc.assert(
      fc.property(fc.integer({ min: -limit, max: limit }), fc.nat({ max: 999 }), (millis, rest) => {
        const date = new Date(millis)
        const micros = BigInt(millis) * 1000n + BigInt(rest)
        const days = BigInt(Math.floor(millis / 86_400_000))
        const expected = {
          year: BigInt(date.getUTCFullYear() - 1970),
          month: BigInt((date.getUTCFullYear() - 1970) * 12 + date.getUTCMonth()),
          day: days,
          hour: BigInt(Math.floor(millis / 3_600_000)),
        }
        for (const [transform, value] of Object.entries(expected)) {
          assert.strictEqual(apply(transform, "timestamp", micros), value)
          assert.strictEqual(apply(transform, "timestamptz_ns", micros * 1000n + 999n), value)
          if (transform !== "hour") assert.strictEqual(apply(transform, "date", days), value)
        }
      }),
      { numRuns: 500 },
    )
  })

  it("NULL stays NULL, void makes everything NULL, identity nothing else", () => {
    for (const transform of ["identity", "bucket[4]", "truncate[4]", "year", "month", "day", "hour", "void"]) {
      assert.isNull(apply(transform, "timestamp", null))
    }
    assert.isNull(apply("void", "string", "a"))
    assert.strictEqual(apply("identity", "string", "a"), "a")
  })

  it("a transform that is not known is carried over as it is written and never applied", () => {
    for (const text of ["zorder", "bucket[0]", "truncate[-1]", "bucket", "days", "bucket[99999999999]"]) {
      const transform = parseTransform(text)
      assert.strictEqual(transform.kind, "unknown")
      assert.strictEqual(printTransform(transform), text)
      assert.isUndefined(applyTransform(transform, "int", 1n))
    }
    for (const text of ["identity", "year", "month", "day", "hour", "void", "bucket[16]", "truncate[4]"]) {
      assert.strictEqual(printTransform(parseTransform(text)), text)
    }
  })

  it("transforms fit the types that the spec lists and no others", () => {
    const types = [
      "boolean",
      "int",
      "long",
      "float",
      "double",
      "decimal(9,2)",
      "date",
      "time",
      "timestamp",
      "timestamptz",
      "timestamp_ns",
      "timestamptz_ns",
      "string",
      "uuid",
      "fixed[4]",
      "binary",
      "variant",
      "geometry(srid:4326)",
    ]
    const fitting = (transform: string) => types.filter((type) => resultType(parseTransform(transform), type) !== null)
    assert.deepStrictEqual(fitting("identity"), types.slice(0, 16))
    assert.deepStrictEqual(
      fitting("bucket[2]"),
      types.filter((type) => !/^(bool|float|double|variant|geo)/.test(type)),
    )
    assert.deepStrictEqual(fitting("truncate[2]"), ["int", "long", "decimal(9,2)", "string", "binary"])
    assert.deepStrictEqual(fitting("hour"), types.slice(8, 12))
    for (const unit of ["year", "month", "day"]) assert.deepStrictEqual(fitting(unit), ["date", ...types.slice(8, 12)])
  })
})
