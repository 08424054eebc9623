import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, afterEach, assert, beforeAll, describe, it } from "@effect/vitest"
import { SlotError } from "../slot/SlotServer.ts"
import { DuckDb } from "./DuckDb.ts"
import type { Policy } from "./ForbiddenSql.ts"
import { checkedStatements } from "./Lockdown.ts"
import { sqlError } from "./SqlError.ts"

let folder: string
let engine: DuckDb

const memoryLimitBytes = 200_000_000
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "rat-engine-"))
  for (const name of ["in", "out", "spill"]) mkdirSync(join(folder, name))
  writeFileSync(join(folder, "in", "mine.csv"), "a,b\n1,2\n")
  writeFileSync(join(folder, "secret.csv"), "a,b\n3,4\n")
  engine = await DuckDb.open({ folder, memoryLimitBytes, spillLimitBytes: 50_000_000, threads: 2 })
})
afterEach(() => engine.reset())
afterAll(() => {
  engine.close()
  rmSync(folder, { recursive: true })
})

/** Executes a person's text the way a slot does: rows of the last statement. */
const execute = async (sql: string, policy: Policy = "pipeline") => {
  const session = await engine.begin(["run"])
  let rows: ReadonlyArray<ReadonlyArray<unknown>> = []
  for (const statement of checkedStatements(sql, policy)) {
    const { prepared } = await session.prepare(statement, policy, sql)
    try {
      rows = (await prepared.runAndReadAll()).getRowsJson()
    } catch (error) {
      throw sqlError(error, session.limits, { text: sql, offset: statement.offset, statement: statement.text })
    } finally {
      prepared.destroySync()
    }
  }
  return rows
}

const refused = async (sql: string, policy: Policy = "pipeline"): Promise<SlotError> => {
  try {
    await execute(sql, policy)
  } catch (error) {
    if (error instanceof SlotError) return error
    throw error
  }
  throw new Error(`This was not refused: ${sql}`)
}

describe("DuckDb", () => {
  it("a pipeline builds its result in several statements and reads files that were planned for it", async () => {
    const rows = await execute(`
      create table t as select * from read_csv('${join(folder, "in", "*.csv")}');
      insert into t values (10, 20);
      create temp table u as select a * 2 as a from t; -- comment; with semicolon
      set variable least = 2;
      update t set b = 0 where a = 1;
      select t.a, u.a, t.b from t join u on u.a = t.a * 2 where u.a >= getvariable('least') order by 1`)
    assert.deepStrictEqual(rows, [
      ["1", "2", "0"],
      ["10", "20", "20"],
    ])
  })

  it("nothing of a holder reaches the next one", async () => {
    await execute(`
      create table t as select 1 as a; create schema s; create macro m(x) as x + 1; create type mood as enum ('ok');
      create sequence q; create view v as select 1; create temp table tt as select 1; set variable secret = 'x'; select 1`)
    await engine.reset()
    const left = await execute(
      "select table_name from duckdb_tables() union all select view_name from duckdb_views() where not internal union all select function_name from duckdb_functions() where not internal",
    )
    assert.deepStrictEqual(left, [])
    await engine.reset()
    assert.deepStrictEqual(await execute("select getvariable('secret')"), [[null]])
    for (const sql of ["from t", "from tt", "from v", "select m(1)", "select 'ok'::mood", "select nextval('q')"]) {
      await engine.reset()
      assert.match((await refused(sql)).message, /does not exist/, sql)
    }
  })

  it("there is no database but the holder's own, so none that could keep something", async () => {
    const names = await execute("select database_name from duckdb_databases() where not internal")
    assert.deepStrictEqual(names, [["run"]])
    for (const [sql, message] of [
      ["create table memory.t as select 1", /does not exist/],
      ["create table memory.main.t as select 1", /does not exist/],
      ["create table system.main.t as select 1", /system catalog/],
      ["create macro system.main.abs(x) as 1", /system catalog|Cannot/],
    ] as const) {
      await engine.reset()
      assert.match((await refused(sql)).message, message, sql)
    }
  })

  it("an error names its place in the whole text, in characters and not in bytes", async () => {
    const sql = "select 'ü';\nselect 'ö🦆', nope\nfrom (select 1 as a)"
    const error = await refused(sql)
    assert.strictEqual(error.code, "sql.error")
    assert.deepStrictEqual(error.details, { line: 2, column: 15, position: sql.indexOf("nope") })
    await engine.reset()
    const syntax = await refused("select 1;\n\n  selec 2")
    assert.deepStrictEqual(syntax.details, { line: 3, column: 3, position: 13 })
  })

  it("a statement that needs more than the memory limit fails with a clean error, and the engine goes on", async () => {
    const error = await refused("select list(repeat('x', 1000) || range) from range(1000000)")
    assert.strictEqual(error.code, "limit.memory")
    assert.match(error.message, /191 MiB/)
    assert.notMatch(error.message, /SET /)
    await engine.reset()
    assert.deepStrictEqual(await execute("select 1"), [[1]])
    assert.deepStrictEqual(readdirSync(join(folder, "spill")), [])
  })

  it("an interrupt ends a statement within milliseconds", async () => {
    const started = performance.now()
    setTimeout(() => engine.interrupt(), 50)
    const error = await refused("select count(*) from range(100000000000) a where a.range % 7 = 3")
    assert.match(error.message, /Interrupt/i)
    assert.isBelow(performance.now() - started, 250)
  })

  it("text that is no statement, or asks for parameters, is an error and no crash", async () => {
    for (const [sql, message] of [
      ["", /no SQL/],
      ["  -- only a comment\n ; ;", /no SQL/],
      ["select ?", /parameters/],
      ["select $1 + 1", /parameters/],
      ["select 'open", /unterminated/],
      ["/* open", /no SQL|unterminated/],
    ] as const) {
      await engine.reset()
      assert.match((await refused(sql)).message, message, sql)
    }
  })
})
