import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { runPipeline } from "../support/Pipelines.ts"
import { hasDuckDb, hasSpark, type Lake, namespace, skips, startLake } from "./Lake.ts"

/* Every type there and back: written by us and read by the others, written by the others and read by us. */

interface TypedColumn {
  readonly name: string
  /** DuckDB's type, and the value of a usual and of an extreme row as its literals; a third row is all NULL. */
  readonly type: string
  readonly values: readonly [string, string]
}

/** Types that every engine has. */
const common: ReadonlyArray<TypedColumn> = [
  { name: "n", type: "INTEGER", values: ["1", "'-2147483648'"] },
  { name: "flag", type: "BOOLEAN", values: ["true", "false"] },
  { name: "big", type: "BIGINT", values: ["9007199254740993", "'-9223372036854775808'"] },
  { name: "f", type: "FLOAT", values: ["1.5", "'infinity'"] },
  { name: "d", type: "DOUBLE", values: ["0.1", "'nan'"] },
  { name: "zero", type: "DOUBLE", values: ["-0.0", "1.7976931348623157e308"] },
  { name: "small", type: "DECIMAL(4,2)", values: ["-1.23", "99.99"] },
  { name: "middle", type: "DECIMAL(18,6)", values: ["-1.234567", "999999999999.999999"] },
  { name: "large", type: "DECIMAL(38,10)", values: ["0.0000000001", "'-9999999999999999999999999999.9999999999'"] },
  { name: "word", type: "VARCHAR", values: ["'héllo \"x\" 🚀 and much longer than bounds are'", "''"] },
  { name: "bytes", type: "BLOB", values: ["'\\x00\\xFF'", "''"] },
  { name: "day", type: "DATE", values: ["'2020-02-29'", "'0001-01-01'"] },
  { name: "ts", type: "TIMESTAMP", values: ["'2020-01-02 03:04:05.123456'", "'1969-12-31 23:59:59.999999'"] },
  { name: "tz", type: "TIMESTAMPTZ", values: ["'2020-01-02 03:04:05.5+02'", "'1960-01-01 00:00:00+00'"] },
  { name: "list", type: "INTEGER[]", values: ["[1, null, 3]", "[]"] },
  {
    name: "pair",
    type: "STRUCT(a INTEGER, b STRUCT(c VARCHAR))",
    values: ["{a: 1, b: {c: 'x'}}", "{a: null, b: null}"],
  },
  { name: "dict", type: "MAP(VARCHAR, DOUBLE)", values: ["map {'k': 1.5, 'l': null}", "map {}"] },
]

/** PyIceberg 0.12 reads a list of structs with lists as empty where it is NULL, whoever wrote it. */
const nested: ReadonlyArray<TypedColumn> = [
  { name: "n", type: "INTEGER", values: ["1", "2"] },
  {
    name: "deep",
    type: "STRUCT(p BIGINT, q DATE[])[]",
    values: ["[{p: 1, q: [date '2020-01-01']}, null]", "[{p: null, q: []}]"],
  },
]

/** Spark has no time of day; it reads a uuid as text, and refuses a table for one column of these. */
const others: ReadonlyArray<TypedColumn> = [
  { name: "n", type: "INTEGER", values: ["1", "2"] },
  { name: "tod", type: "TIME", values: ["'12:34:56.123456'", "'00:00:00'"] },
  {
    name: "id",
    type: "UUID",
    values: ["'f0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "'00000000-0000-0000-0000-000000000000'"],
  },
]

const queryOf = (columns: ReadonlyArray<TypedColumn>) => {
  const row = (pick: (column: TypedColumn) => string) =>
    `select ${columns.map((column) => `${pick(column)}::${column.type} as ${column.name}`).join(", ")}`
  return `${row(({ values }) => values[0])} union all ${row(({ values }) => values[1])} union all ${row(() => "null")}`
}

const sparkQuery = `select 1 as n, true as flag, 9007199254740993 as big, cast(1.5 as float) as f, double('nan') as d,
    cast(-1.23 as decimal(4,2)) as small, cast('0.0000000001' as decimal(38,10)) as large, 'ü' as word, x'00ff' as bytes,
    date'2020-02-29' as day, timestamp_ntz'2020-01-02 03:04:05.123456' as ts, timestamp'2020-01-02 03:04:05.5+02:00' as tz,
    array(1, null, 3) as list, named_struct('a', 1, 'b', named_struct('c', 'x')) as pair, map('k', 1.5D, 'l', cast(null as double)) as dict
  union all select -2147483648, false, -9223372036854775807 - 1, float('-infinity'), -0.0D, 99.99, -1, '', x'',
    date'0001-01-01', timestamp_ntz'1969-12-31 23:59:59.999999', timestamp'1960-01-01 00:00:00Z',
    array(), named_struct('a', cast(null as int), 'b', cast(null as struct<c: string>)), map()
  union all select null, null, null, null, null, null, null, null, null, null, null, null, null, null, null`

/** The same rows for the model. */
const sparkModel = `select unnest([1, -2147483648, null])::integer as n, unnest([true, false, null]) as flag,
    unnest(['9007199254740993', '-9223372036854775808', null])::bigint as big, unnest(['1.5', '-infinity', null])::float as f,
    unnest(['nan', '-0.0', null])::double as d, unnest(['-1.23', '99.99', null])::decimal(4,2) as small,
    unnest(['0.0000000001', '-1', null])::decimal(38,10) as large, unnest(['ü', '', null]) as word,
    unnest(['\\x00\\xFF', '', null])::blob as bytes, unnest(['2020-02-29', '0001-01-01', null])::date as day,
    unnest(['2020-01-02 03:04:05.123456', '1969-12-31 23:59:59.999999', null])::timestamp as ts,
    unnest(['2020-01-02 03:04:05.5+02', '1960-01-01 00:00:00+00', null])::timestamptz as tz,
    unnest([[1, null, 3], [], null]) as list, unnest([{a: 1, b: {c: 'x'}}, {a: null, b: null}, null]) as pair,
    unnest([map {'k': 1.5, 'l': null}, map {}, null])::map(varchar, double) as dict`

describe.skipIf(!hasDuckDb)(`Types in foreign engines${skips}`, () => {
  let lake: Lake
  beforeAll(async () => {
    lake = await startLake()
  }, 180_000)
  afterAll(() => lake?.stop())

  const names = (columns: ReadonlyArray<TypedColumn>) => columns.map(({ name }) => name)

  const written = async (table: string, version: 2 | 3, sql: string) => {
    const folder = `pipelines/silver/${table}`
    await lake.client.projects.push("default", {
      files: [
        { path: `${folder}/pipeline.sql`, content: sql },
        { path: `${folder}/config.yaml`, content: `format_version: ${version}\n` },
      ],
    })
    const end = await runPipeline(lake.client, table)
    assert.strictEqual(end.status, "success", `${table}: ${end.error}`)
  }

  const groups = [
    { name: "common", columns: common, unread: null },
    { name: "nested", columns: nested, unread: "pyiceberg" },
    { name: "others", columns: others, unread: "spark" },
  ]

  const compareGroup = (table: string, { columns, unread }: (typeof groups)[number]) =>
    lake.compare({
      table,
      columns: names(columns),
      model: `(${queryOf(columns)})`,
      label: table,
      readers: lake.engines.filter(({ name }) => name !== unread),
    })

  for (const version of [2, 3] as const) {
    it(`ours of version ${version} are read by all with the same values`, { timeout: 120_000 }, async () => {
      for (const group of groups) {
        const table = `${group.name}_v${version}`
        await written(table, version, queryOf(group.columns))
        await compareGroup(table, group)
      }
    })
  }

  it("DuckDB's are read by all with the same values", { timeout: 120_000 }, async () => {
    for (const group of groups) {
      const table = `duck_${group.name}`
      await lake.duckdb.sql(`create table rat."${namespace.join(".")}".${table} as ${queryOf(group.columns)}`)
      await compareGroup(table, group)
    }
  })

  it.skipIf(!hasSpark)("Spark's are read by all with the same values", { timeout: 120_000 }, async () => {
    for (const version of [2, 3]) {
      const table = `spark_v${version}`
      await lake.spark!.sql(
        `create table rat.${namespace.join(".")}.${table} using iceberg tblproperties ('format-version' = '${version}') as ${sparkQuery}`,
      )
      const columns = names(common).filter((name) => sparkModel.includes(` as ${name}`))
      await lake.compare({ table, columns, model: `(${sparkModel})`, label: table })
    }
  })
})
