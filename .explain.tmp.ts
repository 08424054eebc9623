import { NamespaceName } from "@rat/domain"
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { readFileSync } from "node:fs"
import { RunRepository } from "/work/main/packages/server/src/run/RunRepository.ts"
import { testRuns } from "/work/main/packages/server/src/run/TestRuns.ts"
const finished = Number(process.argv[2] ?? 100000), queued = Number(process.argv[3] ?? 10000)
const mode = process.argv[4] ?? "force_generic_plan"
const program = Effect.gen(function* () {
  const sql: any = yield* SqlClient.SqlClient
  yield* sql.unsafe(`insert into run (id, kind, namespace, trigger, status, started_at, finished_at)
    select (lpad(to_hex(1700000000000 + g), 12, '0') || '70008000' || lpad(to_hex(g), 12, '0'))::uuid, 'noop', 'default', 't', 'succeeded', now(), now()
    from generate_series(1, ${finished}) g`)
  if (process.argv[5] !== "noanalyze") yield* sql`analyze run`
  yield* sql.unsafe(`insert into run (id, kind, namespace, trigger)
    select (lpad(to_hex(1800000000000 + g), 12, '0') || '70008000' || lpad(to_hex(g), 12, '0'))::uuid, 'noop', 'default', 't'
    from generate_series(1, ${queued}) g`)
  if (process.argv[5] !== "noanalyze") yield* sql`analyze run_queue`
  const text = readFileSync("/work/main/packages/server/src/sql/migrations/0011_queue.sql", "utf8")
  const at = text.indexOf("    with recursive active as (")
  const query = text.slice(at, text.indexOf("order by c.turn;", at) + 15)
    .replaceAll("p_node", "$1").replaceAll("p_free", "$2").replaceAll("p_ahead", "$3").replaceAll("p_lease_seconds", "$4").replaceAll("p_max_running", "$5").replaceAll("v_now", "$6").replaceAll("v_nodes", "$7")
  yield* sql.unsafe(`prepare q(text, integer, integer, integer, integer, timestamptz, integer) as ${query}`).unprepared
  yield* Effect.gen(function* () {
    yield* sql.unsafe(`set local plan_cache_mode = ${mode}`).unprepared
    const rows = yield* sql.unsafe(`explain (analyze, buffers, costs) execute q('n', 16, 0, 10, 1000, now(), 1)`).unprepared
    console.log(rows.map((r: any) => r["QUERY PLAN"]).join("\n"))
  }).pipe(sql.withTransaction)
})
await Effect.runPromise((program as any).pipe(Effect.provide(RunRepository.layer.pipe(Layer.provideMerge(testRuns({ maxPendingPerNamespace: 100000 })))), Effect.scoped))
process.exit(0)
