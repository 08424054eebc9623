import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import * as fc from "fast-check"
import { quoteName } from "../scan/SqlText.ts"
import { withIds } from "../write/SchemaEvolution.ts"
import { TestDuckDb } from "../write/TestTable.ts"
import { parseDuckType, printDuckType } from "./DuckType.ts"
import { duckTypeOf, storedColumn, unwritable, widens } from "./TypeMap.ts"

const ids = () => {
  let last = 0
  return () => ++last
}
const stored = (duckType: string, formatVersion: 2 | 3 = 2) => {
  const result = storedColumn("c", duckType, formatVersion)
  if ("problem" in result) return assert.fail(result.problem)
  const type = withIds(result.column.type, ids())
  return { type, expression: (column: string) => result.column.expression(column, type) }
}
const problem = (type: string, formatVersion: 2 | 3 = 2) => {
  const result = storedColumn("c", type, formatVersion)
  return "problem" in result ? result.problem : assert.fail(`${type} was accepted`)
}

layer(TestDuckDb.layer, { excludeTestServices: true })("TypeMap", (it) => {
  it.effect("every type of the table is stored as documented and can be cast by DuckDB", () =>
    Effect.gen(function* () {
      const duck = yield* TestDuckDb
      const expected: ReadonlyArray<readonly [duck: string, iceberg: string, back: string]> = [
        ["BOOLEAN", "boolean", "BOOLEAN"],
        ["TINYINT", "int", "INTEGER"],
        ["SMALLINT", "int", "INTEGER"],
        ["INTEGER", "int", "INTEGER"],
        ["UTINYINT", "int", "INTEGER"],
        ["USMALLINT", "int", "INTEGER"],
        ["BIGINT", "long", "BIGINT"],
        ["UINTEGER", "long", "BIGINT"],
        ["UBIGINT", "decimal(20,0)", "DECIMAL(20,0)"],
        ["HUGEINT", "decimal(38,0)", "DECIMAL(38,0)"],
        ["UHUGEINT", "decimal(38,0)", "DECIMAL(38,0)"],
        ["FLOAT", "float", "FLOAT"],
        ["DOUBLE", "double", "DOUBLE"],
        ["DECIMAL(10,2)", "decimal(10,2)", "DECIMAL(10,2)"],
        ["VARCHAR", "string", "VARCHAR"],
        ["JSON", "string", "VARCHAR"],
        ["ENUM('a', 'it''s, (b)')", "string", "VARCHAR"],
        ["BLOB", "binary", "BLOB"],
        ["UUID", "uuid", "UUID"],
        ["DATE", "date", "DATE"],
        ["TIME", "time", "TIME"],
        ["TIMESTAMP", "timestamp", "TIMESTAMP"],
        ["TIMESTAMP_S", "timestamp", "TIMESTAMP"],
        ["TIMESTAMP_MS", "timestamp", "TIMESTAMP"],
        ["TIMESTAMP_NS", "timestamp", "TIMESTAMP"],
        ["TIMESTAMP WITH TIME ZONE", "timestamptz", "TIMESTAMP WITH TIME ZONE"],
        ['"NULL"', "int", "INTEGER"],
      ]
      for (const [type, iceberg, back] of expected) {
        const column = stored(type)
        assert.strictEqual(column.type, iceberg)
        const value = type === '"NULL"' ? "null" : `cast(null as ${type})`
        const [described] = yield* duck.columns(`select ${column.expression("v")} as v from (select ${value} as v)`)
        assert.strictEqual(described!.type, back, type)
      }
    }),
  )

  it.effect("types that only version 3 has are stored there, and refused with the way out elsewhere", () =>
    Effect.gen(function* () {
      const duck = yield* TestDuckDb
      for (const [type, iceberg] of [
        ["TIMESTAMP_NS", "timestamp_ns"],
        ["VARIANT", "variant"],
        ["GEOMETRY", "geometry"],
      ] as const) {
        const column = stored(type, 3)
        assert.strictEqual(column.type, iceberg)
        const [described] = yield* duck.columns(
          `select ${column.expression("v")} as v from (select cast(null as ${type}) as v)`,
        )
        assert.strictEqual(described!.type, type)
      }
      assert.include(problem("VARIANT"), "set format_version: 3")
      assert.include(problem("GEOMETRY"), "set format_version: 3")
      assert.include(problem("TIMESTAMP_NS[]"), "or set format_version: 3")
      assert.deepInclude(stored("TIMESTAMP_NS[]", 3).type as object, { element: "timestamp_ns" })
      assert.include(problem("GEOMETRY[]", 3), "ST_AsWKB")
      assert.include(problem("STRUCT(v VARIANT)", 3), "cast the VARIANT inside it to JSON")
    }),
  )

  it.effect("columns of other engines that cannot be written are named, at any depth", () =>
    Effect.sync(() => {
      for (const type of ["fixed[16]", "timestamptz_ns", "unknown", "geography", "geometry(srid:4326)"]) {
        assert.include(unwritable(type), type)
        assert.include(unwritable({ type: "list", elementId: 1, elementRequired: false, element: type }), type)
      }
      for (const type of ["int", "geometry", "timestamp_ns", "decimal(38,0)"]) assert.isNull(unwritable(type))
    }),
  )

  it.effect("types without a counterpart are refused with the column's name and what to cast to", () =>
    Effect.sync(() => {
      assert.include(
        problem("INTERVAL"),
        'column "c" has the type INTERVAL, which Iceberg v2 lacks: cast it to VARCHAR',
      )
      assert.include(problem("TIME WITH TIME ZONE"), "cast it to TIME")
      assert.include(problem("BIT"), "VARCHAR")
      assert.include(problem("BIGNUM"), "DECIMAL(38,0)")
      assert.include(problem("UNION(num INTEGER, str VARCHAR)"), "STRUCT")
      assert.include(problem("STRUCT(a INTEGER, b INTERVAL[])"), 'field "b"')
      assert.include(problem("STRUCT(INTEGER, VARCHAR)"), "a name")
      assert.include(problem("TIMESTAMP_NS[]"), "TIMESTAMP")
      assert.include(problem("MAP(INTEGER, TIMESTAMP_NS)"), "TIMESTAMP")
      assert.include(problem("GEOMETRY('OGC:CRS84')"), "ST_AsWKB")
      for (const nonsense of ["", "STRUCT(", "DECIMAL(1)", "INTEGER[", "MAP(INTEGER)", "a;b", "INTEGER extra", "[]"]) {
        assert.include(problem(nonsense), "not understood")
      }
    }),
  )

  it.effect("a nested type keeps its shape, and every level has an id of its own", () =>
    Effect.sync(() => {
      const type = `STRUCT("a b" INTEGER, "c""d" MAP(VARCHAR, STRUCT("select" TIMESTAMP WITH TIME ZONE, x UTINYINT)[]), e ENUM('x')[3])`
      const column = stored(type)
      assert.strictEqual(
        duckTypeOf(column.type),
        `STRUCT("a b" INTEGER, "c""d" MAP(VARCHAR, STRUCT("select" TIMESTAMP WITH TIME ZONE, "x" INTEGER)[]), "e" VARCHAR[])`,
      )
      const found = JSON.stringify(column.type).match(/"(id|elementId|keyId|valueId)":\d+/g)!
      const numbers = found.map((text) => text.split(":")[1])
      assert.strictEqual(new Set(numbers).size, numbers.length)
      assert.strictEqual(numbers.length, 3 + 2 + 1 + 2 + 1)
      assert.include(column.expression("v"), "cast(v as STRUCT")
    }),
  )

  it.effect("any type that DuckDB describes is parsed and printed so that DuckDB means the same by it", () =>
    Effect.gen(function* () {
      const duck = yield* TestDuckDb
      const name = fc.string({ unit: "grapheme", minLength: 1, maxLength: 6 }).filter((text) => !text.includes("\0"))
      const { type } = fc.letrec<{ type: string }>((tie) => ({
        type: fc.oneof(
          { depthSize: "small", withCrossShrink: true },
          fc.constantFrom(
            "INTEGER",
            "DECIMAL(9,3)",
            "TIMESTAMPTZ",
            "VARCHAR",
            "UUID",
            "TIME",
            "JSON",
            "ENUM('a''(', 'b')",
          ),
          tie("type").map((element) => `${element}[]`),
          tie("type").map((element) => `${element}[3]`),
          fc.tuple(tie("type"), tie("type")).map(([key, value]) => `MAP(${key}, ${value})`),
          fc
            .uniqueArray(fc.tuple(name, tie("type")), {
              minLength: 1,
              maxLength: 3,
              selector: ([text]) => text.toLowerCase(),
            })
            .map((fields) => `STRUCT(${fields.map(([text, field]) => `${quoteName(text)} ${field}`).join(", ")})`),
        ),
      }))
      for (const sample of fc.sample(type, 100)) {
        const [described] = yield* duck.columns(`select cast(null as ${sample}) as v`)
        const parsed = parseDuckType(described!.type)
        assert.isNotNull(parsed, described!.type)
        const printed = printDuckType(parsed!).replaceAll("ENUM", "ENUM('a''(', 'b')")
        const [again] = yield* duck.columns(`select cast(null as ${printed}) as v`)
        assert.strictEqual(again!.type, described!.type)
      }
    }),
  )

  it.effect("nanoseconds and integers that do not fit fail instead of being rounded", () =>
    Effect.gen(function* () {
      const duck = yield* TestDuckDb
      const store = (type: string, literal: string) =>
        duck.rows(`select (${stored(type).expression("v")})::varchar as v from (select ${literal} as v)`)
      const exact = yield* store("TIMESTAMP_NS", "timestamp_ns '2020-01-01 00:00:00.123456000'")
      assert.deepStrictEqual(exact, [{ v: "2020-01-01 00:00:00.123456" }])
      assert.deepStrictEqual(yield* store("TIMESTAMP_NS", "null::timestamp_ns"), [{ v: null }])
      assert.deepStrictEqual(yield* store("TIMESTAMP_NS", "'infinity'::timestamp_ns"), [{ v: "infinity" }])
      const nanos = yield* Effect.flip(store("TIMESTAMP_NS", "timestamp_ns '2020-01-01 00:00:00.123456789'"))
      assert.include(nanos.message, 'column "c" holds nanoseconds')
      assert.deepStrictEqual(yield* store("HUGEINT", `${"9".repeat(38)}::hugeint`), [{ v: "9".repeat(38) }])
      const huge = yield* Effect.flip(store("HUGEINT", "170141183460469231731687303715884105727::hugeint"))
      assert.include(huge.message, "DECIMAL(38,0)")
    }),
  )

  it.effect("only types whose every value fits are widened", () =>
    Effect.sync(() => {
      for (const [from, to] of [
        ["int", "long"],
        ["int", "double"],
        ["float", "double"],
        ["int", "decimal(10,0)"],
        ["long", "decimal(38,0)"],
        ["decimal(9,2)", "decimal(12,3)"],
      ] as const) {
        assert.isTrue(widens(from, to), `${from} ${to}`)
      }
      for (const [from, to] of [
        ["long", "int"],
        ["long", "double"],
        ["double", "float"],
        ["int", "float"],
        ["int", "decimal(9,0)"],
        ["decimal(9,2)", "decimal(9,3)"],
        ["decimal(9,2)", "decimal(12,1)"],
        ["int", "string"],
        ["date", "timestamp"],
      ] as const) {
        assert.isFalse(widens(from, to), `${from} ${to}`)
      }
    }),
  )
})
