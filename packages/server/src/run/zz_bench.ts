import { NamespaceName, RunOutcome, LogEntry } from "@rat/domain"
import { PostgresCatalog, TestPostgres } from "@rat/lakehouse"
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { Outbox } from "../event/Outbox.ts"
import { migrations } from "../sql/migrations.ts"
import { RunHub } from "./RunHub.ts"
import { RunRepository } from "./RunRepository.ts"
import { RunSettings } from "./RunSettings.ts"

const nothing = new RunOutcome({ branch: null, rowsWritten: 0, snapshotId: null, phases: [], quality: [], landingFileIds: [] })
const timed = <A, E, R>(name: string, n: number, e: Effect.Effect<A, E, R>) => Effect.gen(function* () {
  const t = performance.now(); const a = yield* e; const ms = performance.now() - t
  console.log(name, ms.toFixed(1), "ms", (ms / n).toFixed(3), "ms each", (n / ms * 1000).toFixed(0), "/s"); return a
})
const program = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const runs = yield* RunRepository
  yield* sql`insert into namespace (name) select 'n' || i from generate_series(1, 20) i`
  const finished = Number(process.argv[2] ?? 0)
  if (finished) {
    yield* sql`insert into run (id, kind, namespace, status, trigger, finished_at) select uuidv7(), 'noop', 'default', 'succeeded', 't', now() from generate_series(1, ${finished})`
    yield* sql`analyze run`
  }
  const wish = (ns = "default") => ({ kind: "noop" as const, namespace: NamespaceName.make(ns), pipelineId: null, trigger: "t", idempotencyKey: null, traceparent: null })
  for (let i = 0; i < 30; i++) yield* runs.submit(wish())
  yield* timed("submit serial", 200, Effect.forEach(Array.from({ length: 200 }), () => runs.submit(wish())))
  yield* timed("submit 32 conc", 2000, Effect.forEach(Array.from({ length: 2000 }), (_, i) => runs.submit(wish("n" + (1 + i % 20))), { concurrency: 32 }))
  let n = 0
  yield* timed("claim 1 + succeed 1", 100, Effect.gen(function* () {
    for (let i = 0; i < 100; i++) { const c = yield* runs.claim("a", 1); yield* runs.succeed(c[0]!.lease, nothing) }
  }))
  yield* timed("claim 8 + report + succeed 8", 1600, Effect.gen(function* () {
    for (let i = 0; i < 200; i++) {
      const c = yield* runs.claim("a", 8)
      n += c.length
      yield* Effect.forEach(c, (r) => runs.report({ lease: r.lease, phase: "execute", logs: [new LogEntry({ seq: 1, timestamp: new Date().toISOString(), level: "info", message: "x" })] }), { concurrency: "unbounded" })
      yield* Effect.forEach(c, (r) => runs.succeed(r.lease, nothing), { concurrency: "unbounded" })
    }
  }))
  console.log(n)
  const ps = (yield* sql`select generic_plans::int g, custom_plans::int c, left(regexp_replace(statement, '\\s+', ' ', 'g'), 90) s from pg_prepared_statements order by 2 desc limit 8`) as any
  for (const r of ps) console.log(r.g, r.c, r.s)
  yield* timed("find", 200, Effect.forEach(yield* Effect.map(runs.list({ limit: 200, offset: 0 }), (p) => p.runs), (r) => runs.find(r.id)))
  yield* timed("list", 20, Effect.forEach(Array.from({ length: 20 }), () => runs.list({ limit: 50, offset: 0 })))
})
const cpu0 = process.cpuUsage()
await Effect.runPromise(Effect.scoped(Effect.provide(program, RunRepository.layer.pipe(
  Layer.provideMerge(Layer.mergeAll(RunHub.layer, Outbox.layer, RunSettings.layerWith({ maxPendingPerNamespace: 5000 }), PostgresCatalog.layer)),
  Layer.provideMerge(TestPostgres.layer(migrations)),
))))

const cpu = process.cpuUsage(cpu0); console.log("node cpu ms", (cpu.user + cpu.system) / 1000)
