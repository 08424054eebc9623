import { assert, layer } from "@effect/vitest"
import { mainRef, TableKey } from "@rat/domain"
import { Catalog } from "@rat/lakehouse"
import { Effect, References } from "effect"
import { SqlClient } from "effect/sql"
import { appendCommit, newTestTable, rest, testRest } from "./TestRest.ts"

/**
 * Ends the session of the next commits in the middle of their transaction: after the pointers moved, before the commit. A sequence
 * counts, because it is not rolled back.
 */
const endSessions = Effect.fnUntraced(function* (times: number) {
  const sql = yield* SqlClient.SqlClient
  yield* sql`drop trigger if exists end_session on outbox`
  yield* sql`create sequence if not exists ended_sessions`
  yield* sql`alter sequence ended_sessions restart`
  yield* sql.unsafe(`
    create or replace function end_session() returns trigger language plpgsql as $$
    begin
      if nextval('ended_sessions') <= ${times} then
        perform pg_terminate_backend(pg_backend_pid());
      end if;
      return new;
    end $$`).unprepared
  yield* sql`create trigger end_session before insert on outbox for each row execute function end_session()`
})

layer(testRest(), { excludeTestServices: true })("commits while the database goes away", (it) => {
  it.effect("a session that ends within the transaction costs a try: the commit is made once, its event too", () =>
    Effect.gen(function* () {
      const catalog = yield* Catalog
      const sql = yield* SqlClient.SqlClient
      const table = yield* newTestTable()
      const key = new TableKey({ namespace: "default", layer: "silver", name: table.name } as never)
      yield* endSessions(2)
      const commit = yield* appendCommit(table.metadata, { rows: 1, operation: "overwrite" })
      const made = yield* rest("POST", table.path, commit)
      assert.strictEqual(made.status, 200, made.text)
      assert.strictEqual((yield* catalog.history(mainRef, { limit: 10, table: key })).length, 2)
      const events = yield* sql`select 1 from outbox where key = ${key.toString()}`
      assert.strictEqual(events.length, 2)
    }),
  )

  it.effect("when it does not come back the state is called unknown, and nothing was changed", () =>
    Effect.gen(function* () {
      const table = yield* newTestTable()
      yield* endSessions(1000)
      const commit = yield* appendCommit(table.metadata, { rows: 1 })
      const unknown = yield* rest("POST", table.path, commit)
      assert.deepInclude(unknown.body.error, { type: "CommitStateUnknownException", code: 500 })
      yield* endSessions(0)
      assert.deepStrictEqual((yield* rest("GET", table.path)).body.metadata, table.metadata)
      assert.strictEqual((yield* rest("POST", table.path, commit)).status, 200, "the same commit goes through later")
    }).pipe(Effect.provideService(References.MinimumLogLevel, "None")),
  )
})
