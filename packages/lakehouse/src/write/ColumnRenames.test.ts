import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { type Renames, renameCircles, renamesOf } from "./ColumnRenames.ts"

const chosen = (hints: Renames, table: string, result: string, done: ReadonlyArray<string> = [], path = "") =>
  Object.fromEntries(renamesOf(hints, path, table.split(" "), result.split(" "), (circle) => done.includes(circle)))

describe("ColumnRenames", () => {
  const cases: ReadonlyArray<
    readonly [sentence: string, hints: Renames, table: string, result: string, expected: Renames]
  > = [
    ["a rename applies when the result has the new name only", { a: "b" }, "a x", "b x", { a: "b" }],
    ["it does nothing when it was carried out", { a: "b" }, "b x", "b x", {}],
    ["it does nothing when the result still has the old name", { a: "b" }, "a x", "a b x", {}],
    ["it does nothing when the table has both", { a: "b" }, "a b", "b", {}],
    ["it does nothing when nobody has such columns", { p: "q" }, "a", "a", {}],
    ["names are compared without regard to case", { A: "B" }, "a x", "b x", { a: "b" }],
    ["two hints in a row lead to the last name when no run came between", { a: "b", b: "c" }, "a", "c", { a: "c" }],
    ["they lead to the first new name when the query has that", { a: "b", b: "c" }, "a", "b", { a: "b" }],
    ["they end when the last name is reached", { a: "b", b: "c" }, "c", "c", {}],
    ["two columns move up by one", { a: "b", b: "c" }, "a b", "b c", { a: "b", b: "c" }],
    ["and stay there", { a: "b", b: "c" }, "b c", "b c", {}],
    ["two columns swap their names", { a: "b", b: "a" }, "a b", "a b", { a: "b", b: "a" }],
    ["two columns cannot become one", { a: "c", b: "c" }, "a b", "c", {}],
    ["a hint of another level does nothing", { "s.a": "b" }, "a", "b", {}],
  ]
  for (const [sentence, hints, table, result, expected] of cases) {
    it(sentence, () => assert.deepStrictEqual(chosen(hints, table, result), expected))
  }

  it("a swap that was done is not undone by the next run", () => {
    const hints = { a: "b", B: "a", x: "y" }
    assert.deepStrictEqual(renameCircles(hints), [">a>b"])
    assert.deepStrictEqual(chosen(hints, "a b x", "a b y", [">a>b"]), { x: "y" })
  })

  it("fields of structs are named by their path, the new name with it or without", () => {
    for (const to of ["s.b", "b"]) {
      assert.deepStrictEqual(chosen({ "s.a": to }, "a", "b", [], "s"), { a: "b" })
    }
    assert.deepStrictEqual(renameCircles({ "S.a": "b", "s.b": "s.a" }), ["s>a>b"])
  })

  it("whatever the hints: names stay apart, go where they were sent, and a second run changes nothing", () => {
    const names = fc.constantFrom("a", "b", "c", "d", "e")
    // Settings with two names that become one are refused when they are read.
    const hintsOf = fc
      .dictionary(names, names)
      .filter((hints) => new Set(Object.values(hints)).size === Object.keys(hints).length)
    const columns = fc.uniqueArray(names, { minLength: 1 })
    fc.assert(
      fc.property(hintsOf, columns, columns, (hints, table, result) => {
        const renames = renamesOf(hints, "", table, result, () => false)
        const after = table.map((name) => renames.get(name) ?? name)
        assert.strictEqual(new Set(after).size, after.length)
        for (const [from, to] of renames) {
          assert.include(table, from)
          assert.include(result, to)
        }
        const circles = renameCircles(hints)
        const again = renamesOf(hints, "", after, result, (circle) => circles.includes(circle))
        const names = after.map((name) => again.get(name) ?? name)
        assert.deepStrictEqual(names, after)
      }),
      { numRuns: 2000 },
    )
  })
})
