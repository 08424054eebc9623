import type { DuckDBDateValue, DuckDBTimestampValue } from "@duckdb/node-api"
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import * as fc from "fast-check"
import { TestDuckDb } from "../write/TestTable.ts"
import type { SingleValue } from "./SingleValue.ts"
import { parseSingleValue, printSingleValue } from "./SingleValueText.ts"

/** Values with DuckDB's constructor of each from its stored number; DuckDB's text is what is expected. */
const cases: ReadonlyArray<{
  readonly type: string
  readonly values: fc.Arbitrary<SingleValue>
  readonly sql: (value: SingleValue) => string
}> = [
  {
    type: "date",
    values: fc.bigInt({ min: -2_147_483_646n, max: 2_147_483_646n }).filter((days) => days > -1_000_000_000n),
    sql: (days) => `(date '1970-01-01' + (${days})::integer)::varchar`,
  },
  {
    type: "time",
    values: fc.bigInt({ min: 0n, max: 86_399_999_999n }),
    sql: (micros) => `make_timestamp(${micros})::time::varchar`,
  },
  {
    type: "timestamp",
    values: fc.bigInt({ min: -200_000_000_000_000_000n, max: 9_223_372_036_854_775_806n }),
    sql: (micros) => `make_timestamp(${micros})::varchar`,
  },
  {
    type: "timestamp_ns",
    values: fc.bigInt({ min: -9_000_000_000_000_000_000n, max: 9_000_000_000_000_000_000n }),
    sql: (nanos) => `make_timestamp_ns(${nanos})::varchar`,
  },
  {
    type: "decimal(18,4)",
    values: fc.bigInt({ min: -(10n ** 17n), max: 10n ** 17n }),
    sql: (unscaled) => `((${unscaled})::decimal(22,0) * 0.0001::decimal(5,4))::decimal(18,4)::varchar`,
  },
  {
    type: "double",
    values: fc.double({ noNaN: true, min: -1e15, max: 1e15 }).filter((value) => value === 0 || Math.abs(value) > 1e-4),
    sql: (value) => `'${Object.is(value, -0) ? "-0" : value}'::double::varchar`,
  },
  { type: "boolean", values: fc.boolean(), sql: (value) => `${value}::varchar` },
  { type: "uuid", values: fc.uuid(), sql: (value) => `'${value}'::uuid::varchar` },
]

layer(TestDuckDb.layer, { excludeTestServices: true })("SingleValueText", (it) => {
  for (const { sql, type, values } of cases) {
    it.effect(`${type} values are printed and parsed as DuckDB does`, () =>
      Effect.gen(function* () {
        const duck = yield* TestDuckDb
        const samples = fc.sample(values, 300)
        const rows = yield* duck.rows(`select unnest([${samples.map(sql).join(", ")}]) as text`)
        samples.forEach((value, index) => {
          const text = rows[index]!.text as string
          assert.strictEqual(printSingleValue(type, value), text)
          assert.isTrue(Object.is(parseSingleValue(type, text), value), `${text} is not ${String(value)}`)
        })
      }),
    )
  }

  it.effect("infinite dates and timestamps are the numbers that DuckDB stores", () =>
    Effect.gen(function* () {
      const duck = yield* TestDuckDb
      const [[late, early, day]] = (yield* duck.values(
        "select timestamp 'infinity', timestamp '-infinity', date 'infinity'",
      )) as [[DuckDBTimestampValue, DuckDBTimestampValue, DuckDBDateValue]]
      assert.strictEqual(parseSingleValue("timestamp", "infinity"), late.micros)
      assert.strictEqual(parseSingleValue("timestamp", "-infinity"), early.micros)
      assert.strictEqual(parseSingleValue("date", "infinity"), BigInt(day.days))
      assert.strictEqual(printSingleValue("timestamptz", late.micros), "infinity")
      assert.strictEqual(parseSingleValue("date", "-infinity"), -2147483647n)
    }),
  )

  it.effect("texts of other types, and decimals with too many digits, are no values", () =>
    Effect.sync(() => {
      for (const [type, text] of [
        ["int", "1.5"],
        ["date", "yesterday"],
        ["timestamp", "12:00"],
        ["decimal(5,2)", "1.234"],
        ["uuid", "x"],
        ["double", "many"],
        ["boolean", "yes"],
        ["binary", "0g"],
      ] as const) {
        assert.isUndefined(parseSingleValue(type, text), `${type} ${text}`)
      }
      assert.strictEqual(parseSingleValue("decimal(5,2)", "-1.200"), -120n)
      assert.strictEqual(
        parseSingleValue("timestamptz", "2020-01-01 00:00:00+05:30"),
        parseSingleValue("timestamptz", "2019-12-31 18:30:00+00"),
      )
      assert.strictEqual(printSingleValue("float", Math.fround(0.1)), "0.1")
    }),
  )
})
