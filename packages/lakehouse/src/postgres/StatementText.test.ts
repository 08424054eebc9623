import { assert, describe, it } from "@effect/vitest"
import { isRepeatable } from "./StatementText.ts"

describe("A statement may be sent again", () => {
  it("when it only reads", () => {
    for (const sql of [
      "select 1",
      "\n  select count(*), coalesce(max(a), 0) from run where id in ($1, $2) and exists (select 1 from t)",
      "with x as (select 1) select * from x",
      "with x as materialized (select id from unnest($1::int[]) as id) select * from x order by id limit 3",
      "values (1)",
      "select extract(epoch from now() - min(at)) * 1000 from outbox",
    ]) {
      assert.isTrue(isRepeatable(sql), sql)
    }
  })

  it("not when it changes, locks, tells somebody, or calls what nobody knows", () => {
    for (const sql of [
      "insert into t values (1)",
      "update t set a = 1",
      "delete from t",
      "with x as (insert into t values (1) returning a) select * from x",
      "WITH x AS (DELETE FROM t RETURNING a) SELECT * FROM x",
      "select * from t for update skip locked",
      "select 1 from t for no key update",
      "select 1 from t for share",
      "select nextval('s')",
      "select pg_notify('a', 'b')",
      "select pg_advisory_xact_lock(1)",
      'select "offset" from event_relay($1, $2)',
      "select catalog_merge($1)",
      "select set_config('a', 'b', false)",
      "select * from dblink ('x')",
      "lock table t",
      "listen a",
      "begin",
      "commit",
      "",
    ]) {
      assert.isFalse(isRepeatable(sql), sql)
    }
  })
})
