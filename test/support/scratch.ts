import { Effect } from "effect"
import { testNode } from "./TestNode.ts"
const p = Effect.scoped(Effect.gen(function* () {
  const { client } = yield* testNode({ store: "file" })
  yield* Effect.promise(async () => {
    for (let i = 0; i < 2; i++) {
    const leave = new AbortController()
    const t0 = performance.now()
    const asked = client.query.execute("select count(*) from range(1000000000) a, range(1000000) b", { signal: leave.signal, maxRetries: 0 }).catch((e) => e)
    await new Promise((resolve) => setTimeout(resolve, 300))
    leave.abort()
    await asked
    console.log("aborted", performance.now() - t0)
    await Promise.all([1, 2, 3, 4].map(async (n) => { await client.query.arrays(`select ${n} as n`); console.log(n, performance.now() - t0) }))
    }
  })
  console.log("closing", performance.now())
}))
await Effect.runPromise(p)
console.log("closed", performance.now())
