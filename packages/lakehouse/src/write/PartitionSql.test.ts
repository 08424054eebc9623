import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import * as fc from "fast-check"
import { duckTypeOf } from "../engine/TypeMap.ts"
import type { SingleValue } from "../iceberg/SingleValue.ts"
import { printSingleValue } from "../iceberg/SingleValueText.ts"
import { applyTransform, parseTransform, resultType } from "../iceberg/Transform.ts"
import { quoteText } from "../scan/SqlText.ts"
import { partitionTextSql, partitionValue, transformSql } from "./PartitionSql.ts"
import { TestDuckDb } from "./TestTable.ts"

const bits = (size: number) => fc.bigInt({ min: -(2n ** BigInt(size - 1)), max: 2n ** BigInt(size - 1) - 1n })
const microsecond = fc.bigInt({ min: -62_135_596_800_000_000n, max: 253_402_300_799_999_999n })
const text = fc.string({ unit: "grapheme", maxLength: 40 }).filter((value) => !value.includes("\0"))

const valuesOf: Record<string, fc.Arbitrary<SingleValue>> = {
  int: bits(32),
  long: bits(64),
  "decimal(9,2)": fc.bigInt({ min: -999_999_999n, max: 999_999_999n }),
  "decimal(38,4)": fc.bigInt({ min: -(10n ** 38n) + 1n, max: 10n ** 38n - 1n }),
  date: fc.bigInt({ min: -719_162n, max: 2_932_896n }),
  time: fc.bigInt({ min: 0n, max: 86_399_999_999n }),
  timestamp: microsecond,
  timestamptz: microsecond,
  string: text,
  uuid: fc.uuid(),
  binary: fc.uint8Array({ maxLength: 20 }),
}

const literal = (type: string, value: SingleValue): string =>
  value instanceof Uint8Array
    ? `unhex('${Buffer.from(value).toString("hex")}')`
    : `cast(${quoteText(printSingleValue(type, value))} as ${duckTypeOf(type)})`

const transforms = [
  "identity",
  "year",
  "month",
  "day",
  "hour",
  "void",
  "bucket[16]",
  "bucket[7]",
  "truncate[10]",
  "truncate[3]",
]

layer(TestDuckDb.layer, { excludeTestServices: true })("PartitionSql", (it) => {
  for (const [type, arbitrary] of Object.entries(valuesOf)) {
    it.effect(`transforms of ${type} in SQL give what the specification's transforms give`, () =>
      Effect.gen(function* () {
        const duck = yield* TestDuckDb
        const seed = Date.now() % 1_000_000
        const values: ReadonlyArray<SingleValue | null> = [...fc.sample(arbitrary, { numRuns: 200, seed }), null]
        const rows = values.map((value, index) => `(${index}, ${value === null ? "null" : literal(type, value)})`)
        for (const name of transforms) {
          const transform = parseTransform(name)
          const result = resultType(transform, type)
          if (result === null) continue
          const sql = partitionTextSql(transform, type, "p")
          const found = yield* duck.values(
            `select ${sql} from (select i, ${transformSql(transform, type, "c")} as p from (values ${rows.join(", ")}) t(i, c)) order by i`,
          )
          for (const [index, value] of values.entries()) {
            const expected = applyTransform(transform, type, value)
            const actual = partitionValue(transform, result, found[index]![0] as string | null)
            assert.deepStrictEqual(
              actual instanceof Uint8Array ? new Uint8Array(actual) : actual,
              expected instanceof Uint8Array ? new Uint8Array(expected) : expected,
              `${name} of ${String(value)} (seed ${seed})`,
            )
          }
        }
      }),
    )
  }
})
