import { outcomeWithoutTable, NamespaceName } from "@rat/domain"
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { readdirSync, readFileSync } from "node:fs"
const base = process.argv[2]!
const { RunRepository } = await import(`${base}/packages/server/src/run/RunRepository.ts`)
const { testRuns } = await import(`${base}/packages/server/src/run/TestRuns.ts`)
const finished = Number(process.argv[3] ?? 100000), queued = Number(process.argv[4] ?? 10000)
const batch = Number(process.argv[5] ?? 16)
const cpu = (pid: number) => {
  let ns = 0
  for (const t of readdirSync(`/proc/${pid}/task`)) ns += Number(readFileSync(`/proc/${pid}/task/${t}/schedstat`, "utf8").split(" ")[0])
  return ns / 1e6
}
const program = Effect.gen(function* () {
  const sql: any = yield* SqlClient.SqlClient
  const runs: any = yield* RunRepository as any
  yield* sql.unsafe(`insert into run (id, kind, namespace, trigger, status, started_at, finished_at)
    select (lpad(to_hex(1700000000000 + g), 12, '0') || '70008000' || lpad(to_hex(g), 12, '0'))::uuid, 'noop', 'default', 't', 'succeeded', now(), now()
    from generate_series(1, ${finished}) g`)
  yield* sql`vacuum analyze run`.pipe(Effect.ignore)
  const pids = () => Effect.map(sql`select pid from pg_stat_activity where datname = current_database()`, (rows: any) => rows.map((r: any) => r.pid))
  const pgCpu = Effect.map(pids() as any, (list: any) => list.reduce((s: number, p: number) => { try { return s + cpu(p) } catch { return s } }, 0))
  const own = () => { const u = process.cpuUsage(); return (u.user + u.system) / 1000 }
  const wish = { kind: "noop", namespace: NamespaceName.make("default"), pipelineId: null, trigger: "manual", idempotencyKey: null, traceparent: null }
  yield* Effect.replicateEffect(runs.submit(wish), 64, { concurrency: "unbounded" })
  let p0 = (yield* pgCpu) as number, n0 = own(), t0 = performance.now()
  yield* Effect.forEach(Array.from({ length: queued }), () => runs.submit(wish), { concurrency: 128, discard: true })
  console.log(`submit: pg ${(((yield* pgCpu) as number - p0) / queued * 1000).toFixed(0)} us/run, node ${((own() - n0) / queued * 1000).toFixed(0)} us/run, wall ${((performance.now() - t0) / queued * 1000).toFixed(0)} us/run`)
  const took: number[] = []
  let claimPg = 0, endPg = 0
  for (;;) {
    p0 = (yield* pgCpu) as number
    t0 = performance.now()
    const claimed: any = yield* runs.claim("n", batch)
    took.push(performance.now() - t0)
    const p1 = (yield* pgCpu) as number
    claimPg += p1 - p0
    if (claimed.length === 0) break
    yield* Effect.forEach(claimed, (c: any) => runs.succeed(c.lease, outcomeWithoutTable([])), { concurrency: "unbounded", discard: true })
    endPg += ((yield* pgCpu) as number) - p1
  }
  const n = took.length, tenth = Math.floor(n / 10)
  const med = (a: number[]) => a.toSorted((x, y) => x - y)[Math.floor(a.length / 2)]!
  console.log(`claims of ${batch}: ${n}, median first tenth ${med(took.slice(0, tenth)).toFixed(2)} ms, last tenth ${med(took.slice(-tenth)).toFixed(2)} ms; pg per run: claim ${(claimPg / queued * 1000).toFixed(0)} us, end ${(endPg / queued * 1000).toFixed(0)} us`)
})
await Effect.runPromise((program as any).pipe(Effect.provide(RunRepository.layer.pipe(Layer.provideMerge(testRuns({ maxPendingPerNamespace: 100000 })))), Effect.scoped))
process.exit(0)
