import { Effect } from "effect"
import { testNode } from "./TestNode.ts"
const mode = process.argv[2]
const p = Effect.scoped(Effect.gen(function* () {
  const { client, url } = yield* testNode({ store: "file", data: "/tmp/ratg2" })
  yield* Effect.promise(async () => {
    if (mode === "live") await client.health.live()
    if (mode === "post") await (await fetch(url + "/api/v1/query", {method: "POST", body: '{"sql":"select 1"}', headers: {"content-type": "application/json"}})).text()
    if (mode === "par") await Promise.all([1,2,3,4].map((n) => client.query.arrays(`select ${n}`)))
    if (mode === "parlist") await Promise.all([1,2,3,4].map((n) => client.runs.list()))
    if (mode === "abortpar") { const a = new AbortController(); const q = client.query.execute("select count(*) from range(1000000000) a, range(1000000) b", { signal: a.signal, maxRetries: 0 }).catch(()=>{}); setTimeout(()=>a.abort(), 300); await q; await Promise.all([1,2,3,4].map((n) => client.query.arrays(`select ${n}`))) }
    if (mode === "list") await client.runs.list()
    if (mode === "sleep") { await client.runs.list(); await new Promise(r => setTimeout(r, 1000)) }
    if (mode === "abort") { const a = new AbortController(); const q = client.query.execute("select count(*) from range(1000000000) a, range(1000000) b", { signal: a.signal, maxRetries: 0 }).catch(()=>{}); setTimeout(()=>a.abort(), 300); await q }
    if (mode === "abortsleep") { const a = new AbortController(); const q = client.query.execute("select count(*) from range(1000000000) a, range(1000000) b", { signal: a.signal, maxRetries: 0 }).catch(()=>{}); setTimeout(()=>a.abort(), 300); await q; await new Promise(r => setTimeout(r, 1000)) }
  })
  return performance.now()
}))
const t = await Effect.runPromise(p)
console.log(mode, "closing took", performance.now() - t)
