import { assert, describe, it } from "@effect/vitest"
import type { ScanPredicate, Schema } from "@rat/lakehouse"
import { Result } from "effect"
import * as fc from "fast-check"
import { scanPredicate } from "./Expression.ts"

const schema: Schema = {
  schemaId: 0,
  identifierFieldIds: [],
  fields: [
    { id: 1, name: "n", required: false, type: "long" },
    { id: 2, name: "s", required: false, type: "string" },
    {
      id: 3,
      name: "nested",
      required: false,
      type: { type: "struct", fields: [{ id: 4, name: "x", required: false, type: "int" }] },
    },
  ],
}

type Row = { readonly n: number | null; readonly s: string | null }
// biome-ignore lint/suspicious/noExplicitAny: expressions as they come over the wire
type Wire = any

/** Iceberg's meaning of an expression: two-valued, a comparison with NULL is false and so is its opposite. */
const holds = (wire: Wire, row: Row, isNegated = false): boolean => {
  if (typeof wire === "boolean") return wire !== isNegated
  switch (wire.type) {
    case "not":
      return holds(wire.child, row, !isNegated)
    case "and":
    case "or": {
      const [left, right] = [holds(wire.left, row, isNegated), holds(wire.right, row, isNegated)]
      return (wire.type === "and") !== isNegated ? left && right : left || right
    }
  }
  const value: Wire = row[wire.term as keyof Row]
  if (wire.type === "is-null" || wire.type === "not-null")
    return ((value === null) === (wire.type === "is-null")) !== isNegated
  // The opposite of an equality holds for NULL in Iceberg.
  const isEquality = ["eq", "in", "starts-with"].includes(wire.type)
  if (value === null) return isEquality ? isNegated : wire.type.startsWith("not-") && !isNegated
  const found = {
    eq: () => value === wire.value,
    "not-eq": () => value !== wire.value,
    lt: () => value < wire.value,
    "lt-eq": () => value <= wire.value,
    gt: () => value > wire.value,
    "gt-eq": () => value >= wire.value,
    in: () => wire.values.includes(value),
    "not-in": () => !wire.values.includes(value),
    "starts-with": () => value.startsWith(wire.value),
    "not-starts-with": () => !value.startsWith(wire.value),
  }[wire.type as "eq"]()
  return found !== isNegated
}

/** The planner's meaning of a predicate: three-valued, as SQL has it; null is unknown. */
const judged = (predicate: ScanPredicate, row: Row): boolean | null => {
  switch (predicate.op) {
    case "not": {
      const child = judged(predicate.of, row)
      return child === null ? null : !child
    }
    case "and": {
      const parts = predicate.of.map((part) => judged(part, row))
      return parts.includes(false) ? false : parts.includes(null) ? null : true
    }
    case "or": {
      const parts = predicate.of.map((part) => judged(part, row))
      return parts.includes(true) ? true : parts.includes(null) ? null : false
    }
  }
  const value: Wire = row[predicate.column as keyof Row]
  if (predicate.op === "is null") return value === null
  if (predicate.op === "is not null") return value !== null
  if (value === null) return null
  if (predicate.op === "in") return predicate.values.includes(value)
  if (predicate.op === "starts with") return value.startsWith(predicate.value)
  const other = predicate.value as Wire
  return { "=": value === other, "<": value < other, "<=": value <= other, ">": value > other, ">=": value >= other }[
    predicate.op
  ]
}

const number = fc.integer({ min: -2, max: 2 })
const text = fc.constantFrom("", "a", "ab", "b")
const leaf = fc.oneof(
  fc.record({
    type: fc.constantFrom("eq", "not-eq", "lt", "lt-eq", "gt", "gt-eq"),
    term: fc.constant("n"),
    value: number,
  }),
  fc.record({
    type: fc.constantFrom("in", "not-in"),
    term: fc.constant("n"),
    values: fc.array(number, { maxLength: 3 }),
  }),
  fc.record({ type: fc.constantFrom("starts-with", "not-starts-with", "eq"), term: fc.constant("s"), value: text }),
  fc.record({ type: fc.constantFrom("is-null", "not-null"), term: fc.constantFrom("n", "s") }),
  fc.boolean(),
)
const expression = fc.letrec<{ tree: Wire }>((tie) => ({
  tree: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    leaf,
    fc.record({ type: fc.constantFrom("and", "or"), left: tie("tree"), right: tie("tree") }),
    fc.record({ type: fc.constant("not"), child: tie("tree") }),
  ),
})).tree
const row: fc.Arbitrary<Row> = fc.record({ n: fc.option(number), s: fc.option(text) })

describe("filters of scan requests", () => {
  it("never leave out a row that satisfies the whole filter", () => {
    fc.assert(
      fc.property(expression, row, (wire, each) => {
        const predicate = Result.getOrThrow(scanPredicate(wire, schema, true))
        if (predicate !== null && holds(wire, each)) assert.isTrue(judged(predicate, each), JSON.stringify(predicate))
      }),
      { numRuns: 5000 },
    )
  })

  it("understands the newer form with references and literals", () => {
    const wire = {
      type: "gt",
      left: { type: "reference", name: "N" },
      right: { type: "literal", value: 5, "data-type": "long" },
    }
    assert.deepStrictEqual(scanPredicate(wire, schema, false), Result.succeed({ column: "n", op: ">", value: 5 }))
    assert.isTrue(Result.isFailure(scanPredicate(wire, schema, true)))
    const byId = { ...wire, left: { type: "reference", id: 1 } }
    assert.deepStrictEqual(scanPredicate(byId, schema, true), Result.succeed({ column: "n", op: ">", value: 5 }))
  })

  it("says nothing about nested columns, transforms and columns compared with columns", () => {
    for (const wire of [
      { type: "eq", term: "nested.x", value: 1 },
      { type: "eq", term: { type: "transform", transform: "bucket[4]", term: "n" }, value: 1 },
      { type: "lt", left: { type: "reference", name: "n" }, right: { type: "reference", name: "n" } },
    ]) {
      assert.deepStrictEqual(scanPredicate(wire, schema, true), Result.succeed(null))
    }
  })

  it("refuses in words what is no predicate, a number that JavaScript cannot hold exactly included", () => {
    for (const wire of [2n ** 60n, [2n ** 60n], { type: "eq", term: 2n ** 60n, value: 1 }]) {
      assert.isTrue(Result.isFailure(scanPredicate(wire, schema, true)))
    }
  })
})
