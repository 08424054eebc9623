import { Effect } from "effect"
import { OtlpCollector } from "../support/OtlpCollector.ts"
import { startBenchServer } from "./BenchServer.ts"
const collector = await Effect.runPromise(Effect.gen(function* () { return yield* OtlpCollector }).pipe(Effect.provide(OtlpCollector.layer), Effect.scoped)).catch(() => undefined)
const cpu = async (url: string) => Number(/^rat_process_cpu_seconds (\S+)/m.exec(await (await fetch(url + "/metrics")).text())![1])
const modes: Record<string, Record<string, string>> = { native: {}, disabled: { NODE_OPTIONS: "--import file:///work/main/node_modules/.tmp-pre.mjs" }, quiet: { RAT_LOG_LEVEL: "warn" } }
void collector
for (const mode of process.argv.slice(2)) {
  const s = await startBenchServer({ RAT_RUNS_MAX_PER_PIPELINE: "1000000", ...modes[mode] })
  const batch = async (n: number) => {
    let i = 0
    await Promise.all([...Array(16)].map(async () => { while (i++ < n) await s.call("POST", "/api/v1/runs", { namespace: "default", kind: "noop" }) }))
    for (;;) { let open = 0; for (const st of ["pending", "running"]) open += (await s.call<{ total: number }>("GET", `/api/v1/runs?status=${st}&limit=1`)).total; if (open === 0) return; await new Promise((r) => setTimeout(r, 100)) }
  }
  await batch(1000)
  const a = await cpu(s.url), t = performance.now()
  await batch(1000)
  console.log(mode, ((await cpu(s.url)) - a).toFixed(2), "s CPU", (1000 / ((performance.now() - t) / 1000)).toFixed(0), "runs/s")
  await s.close()
}
