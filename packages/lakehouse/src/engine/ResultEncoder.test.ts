import { type DuckDBConnection, DuckDBInstance } from "@duckdb/node-api"
import { assert, beforeAll, describe, it } from "@effect/vitest"
import * as Arrow from "apache-arrow"
import fc from "fast-check"
import { arrowRows, csvRows, jsonRows, type ResultColumn, type ResultEncoder } from "./ResultEncoder.ts"

let connection: DuckDBConnection
beforeAll(async () => {
  connection = await (await DuckDBInstance.create(":memory:", { threads: "2" })).connect()
  await connection.run("set TimeZone = 'America/New_York'") // what is written is UTC whatever the session's zone
})

const encode = async (
  sql: string,
  make: (columns: ReadonlyArray<ResultColumn>) => ResultEncoder | Promise<ResultEncoder>,
) => {
  const result = await connection.stream(sql)
  const encoder = await make(
    Array.from({ length: result.columnCount }, (_, index) => ({
      name: result.columnName(index),
      type: result.columnType(index),
    })),
  )
  const parts = [encoder.start()]
  for (;;) {
    const chunk = await result.fetchChunk()
    if (chunk === null || chunk.rowCount === 0) break
    parts.push(encoder.chunk(chunk, chunk.rowCount))
  }
  parts.push(encoder.end())
  return Buffer.concat(parts)
}

const json = async (sql: string, shape: "objects" | "arrays" = "arrays") =>
  (await encode(sql, (columns) => jsonRows(columns, shape))).toString()
const csv = async (sql: string) => (await encode(sql, csvRows)).toString()
const arrow = async (sql: string) => Arrow.tableFromIPC(await encode(sql, arrowRows))

/** SQL of a value, and its JSON as the type table says. */
const cells: ReadonlyArray<readonly [sql: string, json: string]> = [
  ["true", "true"],
  ["false", "false"],
  ["(-128)::tinyint", "-128"],
  ["32767::smallint", "32767"],
  ["(-2147483648)::integer", "-2147483648"],
  ["255::utinyint", "255"],
  ["65535::usmallint", "65535"],
  ["4294967295::uinteger", "4294967295"],
  ["1::bigint", '"1"'],
  ["9223372036854775807::bigint", '"9223372036854775807"'],
  ["(-9223372036854775808)::bigint", '"-9223372036854775808"'],
  ["-9007199254740993::bigint", '"-9007199254740993"'],
  ["18446744073709551615::ubigint", '"18446744073709551615"'],
  ["170141183460469231731687303715884105727::hugeint", '"170141183460469231731687303715884105727"'],
  ["-1::hugeint", '"-1"'],
  ["340282366920938463463374607431768211455::uhugeint", '"340282366920938463463374607431768211455"'],
  ["sum(1) from range(3)", '"3"'],
  ["1.50::decimal(4,2)", '"1.50"'],
  ["-0.05::decimal(4,2)", '"-0.05"'],
  ["123456.789::decimal(9,3)", '"123456.789"'],
  ["-12345678901234.5678::decimal(18,4)", '"-12345678901234.5678"'],
  ["12345678901234567890123456789012345678::decimal(38,0)", '"12345678901234567890123456789012345678"'],
  ["-0.00000000000000000000000000000000000001::decimal(38,38)", '"-0.00000000000000000000000000000000000001"'],
  ["0.1::float", "0.1"],
  ["16777216::float", "16777216"],
  ["3.4028235e38::float", "3.4028234663852886e+38"],
  ["0.1::double", "0.1"],
  ["1e300::double", "1e+300"],
  ["'nan'::double", '"NaN"'],
  ["'inf'::double", '"Infinity"'],
  ["'-inf'::float", '"-Infinity"'],
  ["'say \"hi\"\n\\ ünïcode 🦆'", '"say \\"hi\\"\\n\\\\ ünïcode 🦆"'],
  ["''", '""'],
  ["'exactly 12 b'", '"exactly 12 b"'],
  ["'thirteen byte'", '"thirteen byte"'],
  ["'b'::enum('a', 'b')", '"b"'],
  ["'{\"k\": 1}'::json", '"{\\"k\\": 1}"'],
  ["'\\x00\\xFF\\xAB'::blob", '"AP+r"'],
  ["'f0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid", '"f0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"'],
  ["'00000000-0000-0000-0000-000000000001'::uuid", '"00000000-0000-0000-0000-000000000001"'],
  ["'10101'::bit", '"10101"'],
  ["date '2024-02-29'", '"2024-02-29"'],
  ["date '1969-12-31'", '"1969-12-31"'],
  ["date '0001-01-01'", '"0001-01-01"'],
  ["date '12345-06-07'", '"+012345-06-07"'],
  ["date '0044-03-15 (BC)'", '"-000043-03-15"'],
  ["'infinity'::date", '"infinity"'],
  ["'-infinity'::timestamp", '"-infinity"'],
  ["'infinity'::timestamptz", '"infinity"'],
  ["time '23:59:59.123456'", '"23:59:59.123456"'],
  ["time '24:00:00'", '"24:00:00.000000"'],
  ["'23:59:59.1+02:30'::timetz", '"23:59:59.100000+02:30"'],
  ["'00:00:00-08:00:01'::timetz", '"00:00:00.000000-08:00:01"'],
  ["timestamp '2024-02-29 23:59:59.123456'", '"2024-02-29T23:59:59.123456"'],
  ["timestamp '1969-12-31 23:59:59.999999'", '"1969-12-31T23:59:59.999999"'],
  ["timestamp '290309-12-22 (BC) 00:00:00'", '"-290308-12-22T00:00:00.000000"'],
  ["timestamp '294247-01-10 04:00:54.775806'", '"+294247-01-10T04:00:54.775806"'],
  ["'2024-02-29 01:02:03'::timestamp_s", '"2024-02-29T01:02:03"'],
  ["'2024-02-29 01:02:03.004'::timestamp_ms", '"2024-02-29T01:02:03.004"'],
  ["'2024-02-29 01:02:03.000000001'::timestamp_ns", '"2024-02-29T01:02:03.000000001"'],
  ["'1900-01-01 00:00:00.000000001'::timestamp_ns", '"1900-01-01T00:00:00.000000001"'],
  ["timestamptz '2024-02-29 23:59:59.123456+02'", '"2024-02-29T21:59:59.123456Z"'],
  ["interval '1 year 2 months -3 days 4 hours 5 minutes 6.5 seconds'", '"P1Y2M-3DT4H5M6.5S"'],
  ["interval '-0.25 seconds'", '"PT-0.25S"'],
  ["interval '0 days'", '"PT0S"'],
  ["interval '-14 months'", '"P-1Y-2M"'],
  ["[1, null, 3]", "[1,null,3]"],
  ["[]::integer[]", "[]"],
  ["[[1], [], null]", "[[1],[],null]"],
  ["array_value('a', 'b')", '["a","b"]'],
  ["{'a': 1, 'b \"c\"': {'d': [timestamp '2020-01-01']}}", '{"a":1,"b \\"c\\"":{"d":["2020-01-01T00:00:00.000000"]}}'],
  ["map {'k': 1.5::double, 'l': null}", '{"k":1.5,"l":null}'],
  ["map {1::bigint: 'x', 2: 'y'}", '{"1":"x","2":"y"}'],
  ["map {date '2020-01-01': 1}", '{"2020-01-01":1}'],
  ["map {[1, 2]: 1}", '{"[1,2]":1}'],
  ["map {}::map(varchar, integer)", "{}"],
  ["union_value(num := 1)", '{"num":1}'],
  ["union_value(txt := 'a')::union(num integer, txt varchar)", '{"txt":"a"}'],
  ["{'a': 1, 'b': ['x']}::variant", '{"a":1,"b":["x"]}'],
  ["timestamp_ns '2024-02-29 01:02:03.123456789'::variant", '"2024-02-29 01:02:03.123456789"'],
  ["9007199254740993::variant", '"9007199254740993"'],
  ["1.50::decimal(4,2)::variant", '"1.50"'],
  ["'POINT(1 2)'::geometry", '"POINT (1 2)"'],
  ["'POINT EMPTY'::geometry", '"POINT EMPTY"'],
  ["'POINT ZM(1 2 3 4.5)'::geometry", '"POINT ZM (1 2 3 4.5)"'],
  ["'LINESTRING(0 0, -1.5 1e300)'::geometry", '"LINESTRING (0 0, -1.5 1e+300)"'],
  [
    "'POLYGON((0 0, 1 0, 1 1, 0 0), (2 2, 3 2, 3 3, 2 2))'::geometry",
    '"POLYGON ((0 0, 1 0, 1 1, 0 0), (2 2, 3 2, 3 3, 2 2))"',
  ],
  ["'MULTIPOINT(1 2, 3 4)'::geometry", '"MULTIPOINT (1 2, 3 4)"'],
  ["'MULTIPOLYGON Z(((0 0 1, 1 0 1, 1 1 1, 0 0 1)))'::geometry", '"MULTIPOLYGON Z (((0 0 1, 1 0 1, 1 1 1, 0 0 1)))"'],
  [
    "'GEOMETRYCOLLECTION(POINT(1 2), LINESTRING EMPTY)'::geometry",
    '"GEOMETRYCOLLECTION (POINT (1 2), LINESTRING EMPTY)"',
  ],
  ["null", "null"],
]

describe("ResultEncoder", () => {
  it.each(cells)("%s is %s in JSON", async (sql, expected) => {
    assert.strictEqual(await json(`select ${sql}`), `[\n[${expected}]\n]`)
  })

  it.each(cells.filter(([sql]) => !/ from |^null$|^array_value/.test(sql)))(
    "a NULL of the type of %s is null",
    async (sql) => {
      const text = await json(`select case when i = 1 then v end from (select ${sql} as v), range(2) t(i) order by i`)
      assert.isTrue(text.startsWith("[\n[null],\n["), text)
    },
  )

  it("in shape objects 64-bit integers are numbers with all their digits, wider ones and decimals are text", async () => {
    assert.strictEqual(
      await json("select 9223372036854775807 as a, 1::hugeint as b, 1.5 as c, [1::bigint] as d", "objects"),
      '[\n{"a":9223372036854775807,"b":"1","c":"1.5","d":[1]}\n]',
    )
  })

  it("equal column names are kept apart in arrays, and the last one is kept in objects", async () => {
    assert.strictEqual(await json("select 1 as a, 2 as a, 3 as b"), "[\n[1,2,3]\n]")
    assert.strictEqual(await json("select 1 as a, 2 as a, 3 as b", "objects"), '[\n{"a":2,"b":3}\n]')
  })

  it("an empty result is an empty array, a header or a schema", async () => {
    assert.strictEqual(await json("select 1 as a where false"), "[]")
    assert.strictEqual(await csv('select 1 as a, 2 as "b,c" where false'), 'a,"b,c"\n')
    const table = await arrow("select 1 as a, 'x' as b where false")
    assert.deepStrictEqual(
      table.schema.fields.map(({ name, type }) => `${name} ${type}`),
      ["a Int32", "b Utf8"],
    )
  })

  it("results of many chunks are one array with every row in its place", async () => {
    const text = await json(
      "select i, 'row number ' || i, case when i % 3 = 0 then [i, i + 1] end from range(10000) t(i) order by i",
      "objects",
    )
    const parsed = JSON.parse(text) as ReadonlyArray<Record<string, unknown>>
    assert.strictEqual(parsed.length, 10_000)
    for (const [index, row] of parsed.entries()) {
      assert.deepStrictEqual(Object.values(row), [
        index,
        `row number ${index}`,
        index % 3 === 0 ? [index, index + 1] : null,
      ])
    }
  })

  it("timestamps of any microsecond are what DuckDB itself prints", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.bigInt(-9_000_000_000_000_000n, 9_000_000_000_000_000n), { minLength: 1 }),
        async (ticks) => {
          const list = ticks.map((tick) => `make_timestamp(${tick})`).join(", ")
          const rows = JSON.parse(
            await json(`select v, strftime(v, '%Y-%m-%dT%H:%M:%S.%f') from (select unnest([${list}]) as v)`),
          ) as ReadonlyArray<readonly [string, string]>
          for (const [ours, theirs] of rows) assert.strictEqual(ours, theirs)
        },
      ),
      { numRuns: 20 },
    )
  })

  it("any text survives JSON, CSV and Arrow", async () => {
    const text = fc.string({ unit: "grapheme" }).filter((value) => !value.includes("\0"))
    await fc.assert(
      fc.asyncProperty(fc.array(text, { minLength: 1, maxLength: 20 }), async (values) => {
        const list = values.map((value) => `'${value.replaceAll("'", "''")}'`).join(", ")
        const sql = `select unnest([${list}]::varchar[]) as v`
        assert.deepStrictEqual(
          JSON.parse(await json(sql)),
          values.map((value) => [value]),
        )
        assert.deepStrictEqual(Array.from((await arrow(sql)).getChild("v") ?? []), values)
      }),
      { numRuns: 30 },
    )
  })

  it("CSV quotes what needs it, tells NULL from an empty text, and writes nested values as JSON", async () => {
    assert.strictEqual(
      await csv(
        `select * from (values (1, 'plain', null, [1, 2], 1.5, 'nan'::double), (2, 'a "q", b', '', null, null, null), (3, e'two\\nlines', ' padded ', [], -1, 0.5)) t(id, "te,xt", "n", list, dec, d)`,
      ),
      'id,"te,xt",n,list,dec,d\n1,plain,,"[1,2]",1.5,NaN\n2,"a ""q"", b","",,,\n3,"two\nlines"," padded ",[],-1.0,0.5\n',
    )
  })

  it("Arrow holds every native type exactly", async () => {
    const table = await arrow(`
      select * from (values
        (true, 1::tinyint, 2::smallint, 3, 9223372036854775807::bigint, 4::utinyint, 18446744073709551615::ubigint,
         0.5::float, 1e300::double, -1.50::decimal(4,2), 170141183460469231731687303715884105::hugeint, 'text longer than twelve bytes',
         '\\x00\\xFF'::blob, date '2024-02-29', timestamp '2024-02-29 01:02:03.000004', timestamptz '2024-02-29 01:02:03+00',
         [1, null], {'a': 1, 'b': 'x'}, map {'k': 1}, [5, 6]::integer[2], 'f0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid, 'b'::enum('a','b'), interval '1 month 2 days 3 seconds'),
        (null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null)
      ) t(bool, tiny, small, int, big, utiny, ubig, f, d, dec, huge, text, blob, date, ts, tz, list, struct, map, arr, uuid, enum, iv)`)
    const first = table.get(0)!.toJSON()
    const second = table.get(1)!.toJSON()
    for (const value of Object.values(second)) assert.isNull(value)
    assert.deepStrictEqual(
      table.schema.fields.map(({ name, type }) => `${name} ${type}`),
      [
        "bool Bool", "tiny Int8", "small Int16", "int Int32", "big Int64", "utiny Uint8", "ubig Uint64", "f Float32",
        "d Float64", "dec Decimal[4e+2]", "huge Decimal[38e0]", "text Utf8", "blob Binary", "date Date32<DAY>",
        "ts Timestamp<MICROSECOND>", "tz Timestamp<MICROSECOND, UTC>", "list List<Int32>", "struct Struct<{a:Int32, b:Utf8}>",
        "map Map<{key:Utf8, value:Int32}>", "arr FixedSizeList[2]<Int32>", "uuid Utf8", "enum Utf8", "iv Interval<MONTH_DAY_NANO>",
      ],
    ) // biome-ignore format: a list of words
    assert.strictEqual(first.bool, true)
    assert.deepStrictEqual(
      [first.tiny, first.small, first.int, first.utiny, first.f, first.d],
      [1, 2, 3, 4, 0.5, 1e300],
    )
    assert.deepStrictEqual([first.big, first.ubig], [9223372036854775807n, 18446744073709551615n])
    assert.strictEqual(String(first.text), "text longer than twelve bytes")
    assert.deepStrictEqual([...(first.blob as Uint8Array)], [0, 255])
    assert.strictEqual(Number(first.date), Date.UTC(2024, 1, 29))
    assert.deepStrictEqual([...(first.list as Iterable<unknown>)], [1, null])
    assert.deepStrictEqual([...(first.arr as Iterable<unknown>)], [5, 6])
    assert.deepStrictEqual({ ...first.struct.toJSON() }, { a: 1, b: "x" })
    assert.deepStrictEqual({ ...first.map.toJSON() }, { k: 1 })
    assert.deepStrictEqual([first.uuid, first.enum], ["f0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "b"])
    const words = (name: string) => [...(table.getChild(name)!.data[0]!.values as Iterable<number>)].slice(0, 4)
    assert.deepStrictEqual(words("dec"), [0xffff_ff6a, 0xffff_ffff, 0xffff_ffff, 0xffff_ffff]) // -150
    const huge = words("huge").reduceRight((sum, word) => (sum << 32n) + BigInt(word), 0n)
    assert.strictEqual(huge, 170141183460469231731687303715884105n)
    assert.deepStrictEqual(words("iv"), [1, 2, 3_000_000_000 | 0, 0])
    const ticks = (name: string) => (table.getChild(name)!.data[0]!.values as BigInt64Array)[0]
    assert.strictEqual(ticks("ts"), BigInt(Date.UTC(2024, 1, 29, 1, 2, 3)) * 1000n + 4n)
    assert.strictEqual(ticks("tz"), BigInt(Date.UTC(2024, 1, 29, 1, 2, 3)) * 1000n)
  })

  it("Arrow numbers equal column names and holds the rows of all batches", async () => {
    const table = await arrow("select i as a, [i] as a, {'n': 'v' || i} as s from range(5000) t(i) order by i")
    assert.deepStrictEqual(
      table.schema.fields.map(({ name }) => name),
      ["a", "a_1", "s"],
    )
    assert.strictEqual(table.numRows, 5000)
    for (const index of [0, 2047, 2048, 4999]) {
      assert.deepStrictEqual([...table.getChildAt(1)!.get(index)], [BigInt(index)])
      assert.deepStrictEqual({ ...table.getChildAt(2)!.get(index)!.toJSON() }, { n: `v${index}` })
    }
  })
})
