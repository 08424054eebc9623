import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { hasDuckDb, hasSpark, type Lake, namespace, skips, startLake } from "./Lake.ts"

/*
 * Tables that DuckDB and Spark make and change over REST, on main and on a branch. After each statement we and every engine
 * have the rows of a plain table that went through the same statements.
 */

/** `{t}` is the table. `model` is the same for the plain table, when its dialect differs; null when it changes no rows. */
interface Step {
  readonly sql: string
  readonly model?: string | null
  readonly columns?: ReadonlyArray<string>
}

const first = ["id", "part", "v"]
const evolved = ["id", "label", "v", "extra"]

/** Statements that both engines understand; `made` are the values that the table begins with. */
const changes: ReadonlyArray<Step> = [
  { sql: "insert into {t} values (1, 'a', 1), (2, 'a', 2), (3, 'b', 3), (4, null, 4), (null, 'b', 5), (6, 'b/ü', 6)" },
  { sql: "delete from {t} where id = 2" },
  { sql: "update {t} set v = v + 10 where part = 'b'" },
  {
    sql: "merge into {t} as t using (select 4 as id, 'a' as part, 9 as v union all select 7, 'c', 7) as u on t.id = u.id when matched then update set part = u.part, v = u.v when not matched then insert (id, part, v) values (u.id, u.part, u.v)",
  },
  { sql: "delete from {t} where part = 'a' and v > 5" },
  { sql: "insert into {t} values (8, 'a', 8)" },
]

const evolutions: ReadonlyArray<Step> = [
  { sql: "alter table {t} add column extra bigint", columns: [...first, "extra"] },
  { sql: "insert into {t} values (9, 'z', 9, 9007199254740993)", columns: [...first, "extra"] },
  { sql: "alter table {t} rename column part to label", columns: evolved },
  { sql: "update {t} set extra = 0 where label = 'b'", columns: evolved },
]

interface Script {
  readonly name: string
  readonly engine: "duckdb" | "spark"
  readonly create: string
  readonly steps: ReadonlyArray<Step>
}

const sparkTable = (version: number, mode: string, partition: string) =>
  `create table {t} (id bigint, part string, v int) using iceberg ${partition} tblproperties (
    'format-version' = '${version}', 'write.delete.mode' = '${mode}', 'write.update.mode' = '${mode}', 'write.merge.mode' = '${mode}')`

const sparkEvolutions: ReadonlyArray<Step> = [
  ...evolutions,
  { sql: "alter table {t} alter column v type bigint", columns: evolved },
  { sql: "insert into {t} values (10, 'y', 5000000000, null)", columns: evolved },
  { sql: "alter table {t} add partition field truncate(1, label)", model: null, columns: evolved },
  { sql: "insert into {t} values (11, 'yes', 1, 1), (12, null, 2, 2)", columns: evolved },
  { sql: "delete from {t} where label = 'yes' or id = 8", columns: evolved },
  {
    sql: "insert overwrite {t} values (20, 'new', 1, 1)",
    model: "delete from {t}; insert into {t} values (20, 'new', 1, 1)",
    columns: evolved,
  },
  { sql: "alter table {t} drop column extra", columns: ["id", "label", "v"] },
  { sql: "insert into {t} values (21, 'last', 2)", columns: ["id", "label", "v"] },
]

const scripts: ReadonlyArray<Script> = [
  {
    name: "DuckDB, v2",
    engine: "duckdb",
    create: "create table {t} as select 0::bigint as id, 'old' as part, 0::integer as v",
    steps: [...changes, ...evolutions],
  },
  {
    name: "DuckDB, v3",
    engine: "duckdb",
    create: "create table {t} (id bigint, part varchar, v integer) with ('format-version' = 3)",
    steps: changes,
  },
  ...[2, 3].flatMap((version) =>
    ["merge-on-read", "copy-on-write"].map((mode): Script => {
      const partition = mode === "merge-on-read" ? "" : "partitioned by (part)"
      return {
        name: `Spark, v${version}, ${mode}`,
        engine: "spark",
        create: sparkTable(version, mode, partition),
        // Overwriting is dynamic in no session of ours: partitioned or not, all rows go.
        steps: partition === "" ? [...changes, ...sparkEvolutions] : changes,
      }
    }),
  ),
  {
    name: "Spark, v2, merge-on-read, partitioned",
    engine: "spark",
    create: sparkTable(2, "merge-on-read", "partitioned by (bucket(2, id), part)"),
    steps: changes,
  },
  {
    name: "Spark, v3, merge-on-read, partitioned",
    engine: "spark",
    create: sparkTable(3, "merge-on-read", "partitioned by (bucket(2, id), part)"),
    steps: changes,
  },
]

describe.skipIf(!hasDuckDb)(`Tables that other engines write${skips}`, () => {
  let lake: Lake
  beforeAll(async () => {
    lake = await startLake()
  }, 180_000)
  afterAll(() => lake?.stop())

  const engineOf = (name: "duckdb" | "spark") => lake.engines.find((engine) => engine.name === name)!

  /** The table's name in an engine's own spelling. */
  const named = (engine: "duckdb" | "spark", catalog: string, table: string) =>
    engine === "duckdb" ? `${catalog}."${namespace.join(".")}".${table}` : `${catalog}.${namespace.join(".")}.${table}`

  const play = async (script: Script, catalog: "rat" | "dev", table: string) => {
    const { compare, duckdb } = lake
    const writer = engineOf(script.engine)
    const target = named(script.engine, catalog, table)
    const model = `model_${table}`
    await writer.sql(script.create.replaceAll("{t}", target))
    await duckdb.sql(
      script.create.includes(" as select ")
        ? script.create.replaceAll("{t}", model)
        : `create table ${model} (id bigint, part varchar, v integer)`,
    )
    await compare({ catalog, columns: first, label: "made", model, table })
    for (const { columns = first, model: ofModel, sql } of script.steps) {
      await writer.sql(sql.replaceAll("{t}", target))
      if (ofModel !== null) await duckdb.sql((ofModel ?? sql).replaceAll("{t}", model))
      await compare({ catalog, columns, label: sql, model, table })
    }
    const [snapshots] = await lake.ours(
      `select count(*) from silver."${table}$snapshots"`,
      catalog === "dev" ? "team/interop" : undefined,
    )
    assert.isAtLeast(Number(snapshots?.[0]), 5)
  }

  for (const [index, script] of scripts.entries()) {
    for (const catalog of ["rat", "dev"] as const) {
      it.skipIf(script.engine === "spark" && !hasSpark)(
        `${script.name}, ${catalog === "rat" ? "main" : "a branch"}`,
        { timeout: 180_000 },
        () => play(script, catalog, `${catalog}_${index}`),
      )
    }
  }

  it("a table of a branch is not on main, and a change on the branch leaves main as it was", async () => {
    const { compare, duckdb, engines } = lake
    await duckdb.sql(`create table dev."default.silver".only_dev as select 1 as id`)
    for (const engine of engines) {
      const seen = await engine.read("rat", namespace, "only_dev", ["id"]).catch(() => "refused")
      assert.strictEqual(seen, "refused", engine.name)
    }
    const branch = "team/second"
    await duckdb.sql(`create table rat."default.silver".shared as select i as id from range(5) t(i)`)
    await lake.client.branches.create({ name: branch })
    await duckdb.attach("second", branch)
    await duckdb.sql(`delete from second."default.silver".shared where id < 3`)
    await duckdb.sql(`insert into second."default.silver".shared values (10)`)
    await compare({ table: "shared", columns: ["id"], model: "(select i as id from range(5) t(i))", label: "main" })
    assert.deepStrictEqual(await lake.ours("select id from silver.shared", branch), [["10"], ["3"], ["4"]])
    await lake.client.branches.merge(branch)
    await compare({
      table: "shared",
      columns: ["id"],
      model: "(select unnest([3, 4, 10]) as id)",
      label: "main after the merge",
    })
  })

  for (const partition of ["", "partitioned by (part)"]) {
    it.skipIf(!hasSpark)(
      `equality deletes hold for older rows only, NULL equals NULL${partition === "" ? "" : ", within their partition"}`,
      { timeout: 120_000 },
      async () => {
        const { compare, duckdb, engines } = lake
        const spark = lake.spark!
        const table = partition === "" ? "equal" : "equal_parts"
        const target = named("spark", "rat", table)
        await spark.sql(`create table ${target} (id int, part string, v int) using iceberg ${partition}`)
        await duckdb.sql(`create table model_${table} (id bigint, part varchar, v integer)`)
        const both = async (sql: string) => {
          await spark.sql(sql.replaceAll("{t}", target))
          await duckdb.sql(sql.replaceAll("{t}", `model_${table}`))
        }
        // PyIceberg refuses equality deletes. DuckDB 1.5.5 compares with `=`, where NULL is neither equal nor different.
        let readers = engines.filter(({ name }) => name !== "pyiceberg")
        const check = (label: string) => compare({ table, columns: first, model: `model_${table}`, label, readers })
        await both("insert into {t} values (1, 'a', 1), (1, 'b', 2), (2, 'a', 3)")
        await spark.equalityDelete("rat", namespace, table, ["id", "part"], [[1, "a"]])
        await duckdb.sql(`delete from model_${table} where id = 1 and part = 'a'`)
        await check("two columns")
        await both("insert into {t} values (1, 'a', 10), (3, 'c', 12)")
        await check("rows that came later stay")
        readers = [spark]
        await both("insert into {t} values (null, 'b', 4), (null, null, 5)")
        await spark.equalityDelete("rat", namespace, table, ["id", "part"], [[null, "b"]])
        await duckdb.sql(`delete from model_${table} where id is null and part = 'b'`)
        await check("NULL")
        await both("insert into {t} values (null, 'b', 11)")
        await check("NULL that came later stays")
        if (partition === "") {
          await spark.equalityDelete("rat", namespace, table, ["id"], [[1], [2]])
          await duckdb.sql(`delete from model_${table} where id in (1, 2)`)
          await check("one column")
        }
        await both("delete from {t} where id = 3")
        await check("and other deletes beside them")
        // The deletes know columns by their ids. Spark reads them with another name of the column, not always with a wider type.
        const model = `(select id as key, part, v from model_${table})`
        const renamed = { table, columns: ["key", "part", "v"], model }
        await spark.sql(`alter table ${target} rename column id to key`)
        await compare({ ...renamed, label: "the deletes' column has another name", readers })
        await spark.sql(`alter table ${target} alter column key type bigint`)
        await compare({ ...renamed, label: "and another type", readers: [] })
      },
    )
  }
})
