import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { mergeKeyOf } from "./MergeKey.ts"
import { TestTables, writeTable } from "./TestTable.ts"

layer(TestTables, { excludeTestServices: true })("MergeKey", (it) => {
  it.effect("a table remembers the key of its last run, changes nothing while it stays, and forgets it", () =>
    Effect.gen(function* () {
      const table = { name: "keyed", query: "select 1 as id, 'a' as part", operation: "append" } as const
      const run = (runId: string, base: typeof first | null, identifier: ReadonlyArray<string>) =>
        writeTable({ ...table, runId, base, evolution: { identifier } })
      const first = yield* writeTable({ ...table, runId: "r1", base: null, evolution: { identifier: ["id", "PART"] } })
      assert.deepStrictEqual(mergeKeyOf(first.metadata), ["id", "PART"])
      const again = yield* run("r2", first, ["id", "PART"])
      assert.deepStrictEqual(again.metadata.properties, first.metadata.properties)
      assert.deepStrictEqual(mergeKeyOf((yield* run("r3", again, ["id"])).metadata), ["id"])
      assert.deepStrictEqual(mergeKeyOf((yield* run("r4", again, [])).metadata), [])
    }),
  )

  it.effect("what somebody else wrote there is no key", () =>
    Effect.sync(() => {
      for (const text of ["id", '"id"', "{}", "[1]", ""])
        assert.deepStrictEqual(mergeKeyOf({ properties: { "rat.unique-key": text } }), [])
      assert.deepStrictEqual(mergeKeyOf({ properties: {} }), [])
    }),
  )
})
