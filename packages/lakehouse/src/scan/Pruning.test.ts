import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import type { DataFile } from "../iceberg/DataFile.ts"
import {
  compareSingleValues,
  encodeSingleValue,
  type SingleValue,
  truncateLowerBound,
  truncateUpperBound,
} from "../iceberg/SingleValue.ts"
import { printSingleValue } from "../iceberg/SingleValueText.ts"
import type { Schema } from "../iceberg/TableMetadata.ts"
import type { PredicateValue } from "./Predicate.ts"
import { pruneFiles } from "./Pruning.ts"

type Row = SingleValue | null
type Op = "=" | "<" | "<=" | ">" | ">=" | "is null" | "is not null"

const schemaOf = (type: string): Schema => ({
  schemaId: 0,
  fields: [{ id: 1, name: "c", required: false, type }],
  identifierFieldIds: [],
})

/** DuckDB's order: NaN is equal to NaN and above all else. */
const compare = (left: SingleValue, right: SingleValue): number => {
  if (Number.isNaN(left) || Number.isNaN(right)) return Number(Number.isNaN(left)) - Number(Number.isNaN(right))
  return compareSingleValues(left, right)
}

const matches = (row: Row, op: Op, value: SingleValue): boolean => {
  if (op === "is null") return row === null
  if (op === "is not null") return row !== null
  if (row === null) return false
  const order = compare(row, value)
  return { "=": order === 0, "<": order < 0, "<=": order <= 0, ">": order > 0, ">=": order >= 0 }[op]
}

/** A file as our writer describes it (`honest`), or with as little as a foreign writer may say. */
const fileOf = (type: string, rows: ReadonlyArray<Row>, says: "all" | "no counts" | "no bounds"): DataFile => {
  const values = rows.filter((row) => row !== null)
  const nans = values.filter((value) => Number.isNaN(value)).length
  const ordered = values.filter((value) => !Number.isNaN(value)).toSorted(compare)
  const upper = ordered.length === 0 ? undefined : truncateUpperBound(type, ordered.at(-1)!)
  const hasBounds = says !== "no bounds" && ordered.length > 0
  const counts = (count: number): ReadonlyMap<number, number> => new Map(says === "no counts" ? [] : [[1, count]])
  return {
    content: "data",
    specId: 0,
    partition: [],
    filePath: "f",
    recordCount: rows.length,
    fileSizeBytes: 1,
    columnSizes: new Map(),
    valueCounts: counts(rows.length),
    nullValueCounts: counts(rows.length - values.length),
    nanValueCounts: type === "float" || type === "double" ? counts(nans) : new Map(),
    lowerBounds: new Map(hasBounds ? [[1, encodeSingleValue(type, truncateLowerBound(type, ordered[0]!))]] : []),
    upperBounds: new Map(hasBounds && upper !== undefined ? [[1, encodeSingleValue(type, upper)]] : []),
  }
}

// Few distinct values, so that predicates hit bounds often.
const small = fc.integer({ min: -4, max: 4 })
const texts = fc
  .tuple(
    fc.constantFrom("", "a", "b", "é", "\u{1F600}", "\uFFFD", "x".repeat(15), "x".repeat(16)),
    fc.constantFrom("", "y", "z"),
  )
  .map((parts) => parts.join(""))
const types: ReadonlyArray<readonly [type: string, values: fc.Arbitrary<SingleValue>]> = [
  ["int", small.map(BigInt)],
  ["long", small.map((value) => BigInt(value) * 2n ** 60n)],
  ["decimal(9,2)", small.map((value) => BigInt(value) * 25n)],
  ["double", fc.oneof(small, fc.constantFrom(-0, Number.NaN, Number.POSITIVE_INFINITY, 0.5))],
  ["float", fc.oneof(small, fc.constantFrom(Math.fround(0.1), Number.NaN))],
  ["string", texts],
  ["boolean", fc.boolean()],
  ["date", small.map(BigInt)],
  ["timestamp", small.map((value) => BigInt(value) * 43_200_000_000n)],
  ["timestamptz", small.map((value) => BigInt(value) * 43_200_000_000n)],
  ["uuid", fc.constantFrom("00000000-0000-0000-0000-000000000000", "80000000-0000-4000-8000-000000000000")],
  ["binary", fc.uint8Array({ maxLength: 2 })],
]
const op = fc.constantFrom<Op>("=", "<", "<=", ">", ">=", "is null", "is not null")

/** The value as a caller may give it. */
const given = (type: string, value: SingleValue): ReadonlyArray<PredicateValue> => {
  const text = printSingleValue(type, value)
  if (type === "date") return [text, new Date(Number(value) * 86_400_000)]
  if (type.startsWith("timestamp")) return [text, new Date(Number(value) / 1000)]
  if (type === "int" || type === "long") return [text, value as bigint]
  if (type === "double" || type === "float") return [text, value as number]
  return typeof value === "boolean" ? [text, value] : [text]
}

describe("Pruning", () => {
  for (const [type, values] of types) {
    it(`no file that holds a matching ${type} row is left out`, () => {
      const row = fc.option(values, { freq: 4 })
      const says = fc.constantFrom("all" as const, "no counts" as const, "no bounds" as const)
      fc.assert(
        fc.property(fc.array(row, { minLength: 1, maxLength: 4 }), says, op, values, (rows, known, operator, value) => {
          const file = fileOf(type, rows, known)
          for (const form of given(type, value)) {
            const kept = pruneFiles(schemaOf(type), [], [file], [{ column: "C", op: operator, value: form }])
            if (rows.some((each) => matches(each, operator, value))) assert.strictEqual(kept.length, 1)
          }
        }),
        { numRuns: 500 },
      )
    })
  }

  it("files whose bounds or counts exclude every row are left out", () => {
    const left = (type: string, rows: ReadonlyArray<Row>, operator: Op, value?: string | number) =>
      pruneFiles(
        schemaOf(type),
        [],
        [fileOf(type, rows, "all")],
        [{ column: "c", op: operator, ...(value === undefined ? {} : { value }) }],
      ).length === 0
    assert.isTrue(left("int", [1n, 5n], ">", 5))
    assert.isFalse(left("int", [1n, 5n], ">=", 5))
    assert.isTrue(left("int", [1n, 5n], "=", "6"))
    assert.isTrue(left("int", [1n, 5n], "<", 1))
    assert.isTrue(left("int", [null, null], "=", 1))
    assert.isTrue(left("int", [null, null], "is not null"))
    assert.isTrue(left("int", [1n], "is null"))
    assert.isTrue(left("double", [1, 2], ">", 2))
    assert.isFalse(left("double", [1, Number.NaN], ">", 2))
    assert.isTrue(left("string", [`${"x".repeat(20)}`], "<", "x"))
    assert.isFalse(left("string", [`${"x".repeat(20)}`], ">", "x".repeat(19)))
    assert.isTrue(left("timestamp", [0n], ">", "1970-01-01 00:00:01"))
  })

  it("values that are none of the column's type, and unknown columns, prune nothing", () => {
    const kept = (type: string, row: Row, column: string, value: string | number | bigint | boolean | Date) =>
      pruneFiles(schemaOf(type), [], [fileOf(type, [row], "all")], [{ column, op: "=", value }]).length === 1
    assert.isTrue(kept("int", 1n, "c", 1.5))
    assert.isTrue(kept("int", 1n, "c", "abc"))
    assert.isTrue(kept("date", 1n, "c", new Date(1000)))
    assert.isTrue(kept("timestamptz", 1n, "c", "2020-01-01 00:00:00"))
    assert.isTrue(kept("float", 1, "c", 0.1))
    assert.isTrue(kept("int", 1n, "other", 5))
  })

  it("files must satisfy all predicates", () => {
    const files = [1n, 2n, 3n].map((value) => fileOf("int", [value], "all"))
    const kept = pruneFiles(schemaOf("int"), [], files, [
      { column: "c", op: ">", value: 1 },
      { column: "c", op: "<", value: 3 },
    ])
    assert.deepStrictEqual(kept, [files[1]!])
  })
})
