import { spawn } from "node:child_process"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import { SqlClient } from "effect/sql"
import { type Migration, migrate } from "./Migrator.ts"
import { Pg } from "./Pg.ts"
import { PgConfig } from "./PgConfig.ts"
import { slowSteps } from "./TestMigration.ts"
import { TestPostgres } from "./TestPostgres.ts"

const first: Migration = {
  id: 1,
  name: "first",
  sql: `
    create table thing (id integer primary key);
    -- Text that would end a carelessly quoted string: $migration$ '
    create function answer() returns integer language sql as $$ select 42 $$;
    insert into thing values (1);`,
}
const second: Migration = { id: 2, name: "second", sql: "insert into thing values (2)" }

/** Each test has an empty database. */
const test = (name: string, body: Effect.Effect<void, unknown, SqlClient.SqlClient | PgConfig>) =>
  it.live(name, () => body.pipe(Effect.provide(Layer.fresh(TestPostgres.layer([])))))

const things = Effect.flatMap(SqlClient.SqlClient, (sql) => sql<{ id: number }>`select id from thing order by id`).pipe(
  Effect.map((rows) => rows.map((row) => row.id)),
)

describe("migrate", () => {
  test(
    "applies each step once, in order, and only the new ones later",
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      assert.deepStrictEqual(yield* migrate([first]), [1])
      assert.deepStrictEqual(yield* migrate([first, second]), [2])
      assert.deepStrictEqual(yield* migrate([first, second]), [])
      assert.deepStrictEqual(yield* things, [1, 2])
      const [row] = yield* sql<{ answer: number }>`select answer()`
      assert.strictEqual(row?.answer, 42)
    }),
  )

  test(
    "by eight nodes that start together is done once, and all of them see it finished", // Shows F-25
    Effect.gen(function* () {
      const config = yield* PgConfig
      const slow: Migration = { id: 3, name: "slow", sql: "select pg_sleep(0.2); insert into thing values (3)" }
      const node = migrate([first, second, slow]).pipe(
        Effect.andThen(things),
        Effect.provide(Layer.fresh(Pg.layer).pipe(Layer.provide(Layer.succeed(PgConfig, config)))),
      )
      const seen = yield* Effect.all(Array(8).fill(node) as Array<typeof node>, { concurrency: "unbounded" })
      assert.deepStrictEqual(seen, Array(8).fill([1, 2, 3]))
    }),
  )

  test(
    "by processes that start together is done once, also when the one that works is killed", // Shows F-25
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const { url } = yield* PgConfig
      const nodes = Array.from({ length: 4 }, () => {
        const child = spawn(process.execPath, [join(import.meta.dirname, "TestMigration.ts")], {
          env: { ...process.env, TEST_DATABASE_URL: Redacted.value(url) },
          stdio: ["ignore", "pipe", "pipe"],
        })
        let printed = ""
        child.stdout.on("data", (text) => {
          printed += text
        })
        child.stderr.on("data", (text) => {
          printed += text
        })
        const ended = new Promise<string>((resolve) => child.on("close", () => resolve(printed)))
        return { pid: child.pid!, kill: () => child.kill("SIGKILL"), ended }
      })
      let killed = 0
      while (killed === 0) {
        yield* Effect.sleep("20 millis")
        const [worker] = yield* sql<{ application_name: string }>`
          select application_name
          from pg_stat_activity
          where datname = current_database() and query like '%pg_sleep(0.4)%' and pid <> pg_backend_pid()`
        const victim = nodes.find(({ pid }) => worker?.application_name === `migrating/${pid}`)
        if (victim === undefined) continue
        killed = victim.pid
        victim.kill()
      }
      for (const { pid, ended } of nodes) {
        const printed = yield* Effect.promise(() => ended)
        assert.strictEqual(printed.includes("migrated"), pid !== killed, printed)
      }
      assert.deepStrictEqual(yield* migrate(slowSteps), [])
      for (const { name } of slowSteps) assert.lengthOf(yield* sql`select id from ${sql(name)}`, 1)
    }),
  )

  test(
    "lets a program of the version before start, and only it, where the newer steps are compatible with it",
    Effect.gen(function* () {
      const added: Migration = {
        id: 3,
        name: "added",
        sql: "alter table thing add column word text not null default '';\n-- compatible-since: 2\ncreate table more ()",
      }
      const moreAdded: Migration = {
        id: 4,
        name: "more_added",
        sql: "-- compatible-since: 2\ncreate index on thing (word)",
      }
      const contracted: Migration = { id: 5, name: "contracted", sql: "alter table thing drop column word" }
      yield* migrate([first, second, added, moreAdded])
      assert.deepStrictEqual(yield* migrate([first, second]), [])
      assert.deepStrictEqual(yield* migrate([first, second, added]), [])
      const older = yield* Effect.flip(migrate([first]))
      assert.deepInclude(older, { _tag: "MigrationRefused", reason: "newer", migration: "0002_second" })
      // A step that this program lacks although it knows a later one is no newer version's.
      const gap = yield* Effect.flip(migrate([first, second, moreAdded]))
      assert.deepInclude(gap, { reason: "newer", migration: "0003_added" })
      yield* migrate([first, second, added, moreAdded, contracted])
      const refused = yield* Effect.flip(migrate([first, second, added, moreAdded]))
      assert.deepInclude(refused, { reason: "newer", migration: "0005_contracted" })
      assert.include(refused.message, "which this program does not know and cannot work with")
    }),
  )

  test(
    "takes up a database of the time before steps said what they are compatible with",
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      yield* migrate([first])
      yield* sql`alter table migration drop column compatible_since`
      assert.deepStrictEqual(yield* migrate([first, second]), [2])
    }),
  )

  test(
    "refuses a step whose text changed after it was applied, and changes nothing",
    Effect.gen(function* () {
      yield* migrate([first])
      const error = yield* Effect.flip(migrate([{ ...first, sql: `${first.sql} ` }, second]))
      assert.deepInclude(error, { _tag: "MigrationRefused", reason: "changed" })
      assert.include(error.message, "Migration 0001_first was applied to this database with another text")
      assert.deepStrictEqual(yield* things, [1])
    }),
  )

  test(
    "refuses a database that a newer version wrote",
    Effect.gen(function* () {
      yield* migrate([first, second])
      const error = yield* Effect.flip(migrate([first]))
      assert.deepInclude(error, { _tag: "MigrationRefused", reason: "newer" })
      assert.include(error.message, "it has migration 0002_second")
    }),
  )

  test(
    "refuses a step that was put before applied ones, and numbers that do not rise",
    Effect.gen(function* () {
      yield* migrate([{ ...second, sql: "select 1" }])
      assert.deepInclude(yield* Effect.flip(migrate([first, { ...second, sql: "select 1" }])), { reason: "missing" })
      assert.deepInclude(yield* Effect.flip(migrate([second, first])), { reason: "disorder" })
    }),
  )

  test(
    "rolls a failing step back as a whole and says which and why",
    Effect.gen(function* () {
      const bad: Migration = { id: 2, name: "bad", sql: "insert into thing values (7); insert into nowhere values (1)" }
      const error = yield* Effect.flip(migrate([first, bad]))
      assert.strictEqual(error._tag, "MigrationFailed")
      assert.include(error.message, `Migration 0002_bad failed and was rolled back: relation "nowhere" does not exist`)
      assert.deepStrictEqual(yield* things, [1])
      assert.deepStrictEqual(yield* migrate([first, second]), [2])
    }),
  )
})
