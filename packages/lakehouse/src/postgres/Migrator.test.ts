import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { type Migration, migrate } from "./Migrator.ts"
import { Pg } from "./Pg.ts"
import { PgConfig } from "./PgConfig.ts"
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
