import { assert, it } from "@effect/vitest"
import { Schema } from "effect"
import fc from "fast-check"
import { mergedFromJson, mergedToJson } from "./MergedJson.ts"
import type { Merged } from "./MergeProgram.ts"

const isJson = Schema.is(Schema.Json)

/** Anything that a merge may hold, in any combination; keys that look like ours included. */
const value = fc.letrec<{ readonly any: unknown }>((tie) => ({
  any: fc.oneof(
    { depthSize: "small" },
    fc.bigInt(),
    fc.double(),
    fc.string(),
    fc.boolean(),
    fc.constant(null),
    fc.uint8Array({ maxLength: 20 }).map((bytes) => new Uint8Array(bytes)),
    fc.array(tie("any"), { maxLength: 4 }),
    fc.array(fc.tuple(fc.integer(), tie("any")), { maxLength: 4 }).map((entries) => new Map(entries)),
    fc.array(fc.string(), { maxLength: 4 }).map((keys) => new Set(keys)),
    fc.dictionary(fc.oneof(fc.string(), fc.constantFrom("$n", "$b", "$m", "$s", "$f", "$o")), tie("any"), {
      maxKeys: 3,
      noNullPrototype: true,
    }),
  ),
})).any

it("A merge's result comes back from JSON text as it was", () => {
  fc.assert(
    fc.property(value, (given) => {
      // Only the outermost shape is the merge's; everything in it may be anything.
      const merged = { updates: given } as unknown as Merged
      const json = mergedToJson(merged)
      assert.isTrue(isJson(json))
      assert.deepStrictEqual(mergedFromJson(JSON.parse(JSON.stringify(json))), merged)
    }),
    { numRuns: 300 },
  )
})

it("A merge's result of another version, or something else, is none", () => {
  for (const json of [{ version: 2, merged: {} }, { version: 1 }, null, 3, "x", []]) assert.isNull(mergedFromJson(json))
})
