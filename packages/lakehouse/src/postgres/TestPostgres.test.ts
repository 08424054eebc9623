import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import { Pg } from "./Pg.ts"
import { TestPostgres } from "./TestPostgres.ts"

const migrations = [
  {
    id: 1,
    name: "first",
    sql: "create table thing (id bigint primary key, at timestamptz default now()); create index thing_at on thing (at);",
  },
]

layer(TestPostgres.layer(migrations), { excludeTestServices: true })("A test database", (it) => {
  it.effect("has the migrations applied and returns bigints and dates", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const [row] = yield* sql<{
        id: bigint
        at: Date
      }>`insert into thing (id) values (${9_007_199_254_740_993n}) returning *`
      assert.strictEqual(row?.id, 9_007_199_254_740_993n)
      assert.instanceOf(row?.at, Date)
    }),
  )
  it.effect("tells its round trip and its sessions", () =>
    Effect.gen(function* () {
      const pg = yield* Pg
      assert.isBelow(yield* pg.ping, 2000)
      const sessions = yield* pg.sessions
      assert.deepStrictEqual([sessions.max, sessions.active], [10, 1])
    }),
  )
})
