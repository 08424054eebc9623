import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import * as fc from "fast-check"
import { icebirdRows } from "../iceberg/Icebird.ts"
import { ScanPlanner } from "../scan/ScanPlanner.ts"
import { randomTable, shownNumber } from "./RandomRows.ts"
import { pathOfLocation, TestDuckDb, TestTables, writeTable } from "./TestTable.ts"

/** What another reader gives, in the words of `RandomValue.seen`. */
const seen = (value: unknown): unknown => {
  if (value === null || value === undefined) return null
  if (typeof value === "bigint") return String(value)
  if (typeof value === "number") return shownNumber(value)
  if (value instanceof Date) return value.toISOString()
  if (value instanceof Uint8Array) return Buffer.from(value).toString("hex")
  if (Array.isArray(value)) return value.map(seen)
  if (typeof value === "object")
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, seen(inner)]))
  return value
}

const seed = Date.now() % 2 ** 31
const samples = 25

layer(TestTables, { excludeTestServices: true })("RoundTrip", (it) => {
  it.effect("the types of version 3 come back with all their digits, NULLs too, and prune by nanoseconds", () =>
    Effect.gen(function* () {
      const duck = yield* TestDuckDb
      const planner = yield* ScanPlanner
      const query = `select 1 as n, timestamp_ns '2024-02-29 01:02:03.000000001' as t, [timestamp_ns '1960-01-01 00:00:00.5'] as l,
          {'a': 1, 'b': ['x']}::variant as v, 'POINT(1 2)'::geometry as g
        union all select 2, null, null, null, null
        union all select 3, timestamp_ns '2024-02-29 01:02:03.000000002', [], 'text'::variant, 'LINESTRING(0 0, 1 1)'::geometry`
      const written = yield* writeTable({
        name: "version-3",
        query,
        runId: "run-0",
        operation: "overwrite",
        base: null,
        formatVersion: 3,
      })
      assert.strictEqual(written.metadata.formatVersion, 3)
      const plan = yield* planner.plan(written.metadataLocation)
      const shown = (source: string) =>
        duck.rows(`select n, t::varchar as t, l, v::json::varchar as v, g::varchar as g from (${source}) order by n`)
      assert.deepStrictEqual(yield* shown(plan.relation(pathOfLocation)), yield* shown(query))
      const after = (value: string) =>
        Effect.map(
          planner.plan(written.metadataLocation, { predicates: [{ column: "t", op: ">", value }] as never }),
          ({ files }) => files.length,
        )
      assert.strictEqual(yield* after("2024-02-29 01:02:03.000000002"), 0)
      assert.strictEqual(yield* after("2024-02-29 01:02:03.000000001"), 1)
    }),
  )

  for (const formatVersion of [2, 3] as const) {
    it.effect(`random columns and rows come back from a table of version ${formatVersion} (seed ${seed})`, () =>
      Effect.gen(function* () {
        const duck = yield* TestDuckDb
        const planner = yield* ScanPlanner
        for (const [index, table] of fc
          .sample(randomTable, { numRuns: samples, seed: seed + formatVersion })
          .entries()) {
          const written = yield* writeTable({
            name: `random-${formatVersion}-${index}`,
            query: table.query,
            runId: "run-0",
            operation: "overwrite",
            base: null,
            formatVersion,
          })
          const plan = yield* planner.plan(written.metadataLocation)
          const types = plan.columns.map(({ name, type }) => `cast("${name}" as ${type}) as "${name}"`).join(", ")
          const expected = `select ${types} from (${table.query})`
          const actual = plan.relation(pathOfLocation)
          const differing = yield* duck.rows(
            `select count(*)::integer as n from ((${expected} except all ${actual}) union all (${actual} except all ${expected}))`,
          )
          assert.deepStrictEqual(differing, [{ n: 0 }], table.query)
          const others = (yield* icebirdRows(written.metadataLocation)).toSorted((a, b) => Number(a.n) - Number(b.n))
          assert.deepStrictEqual(others.map(seen), [...table.rows], table.query)
        }
      }),
    )
  }
})
