import { spawnSync } from "node:child_process"
import { mkdirSync } from "node:fs"
import { join } from "node:path"
import { Effect } from "effect"
import { pushPipeline, runPipeline, slowSql, submitRun } from "../support/Pipelines.ts"
import { temporaryFolder, testNode } from "../support/TestNode.ts"
await Effect.runPromise(Effect.scoped(Effect.gen(function* () {
  const data = join(yield* temporaryFolder, "data")
  const path = join(data, "store")
  mkdirSync(path, { recursive: true }); console.log(spawnSync("mount", ["-t", "tmpfs", "-o", "size=6m", "tmpfs", path]).status)
  yield* Effect.addFinalizer(() => Effect.sync(() => spawnSync("umount", ["-l", path])))
  const { client } = yield* testNode({ store: "file", data })
  yield* Effect.promise(async () => {
    await pushPipeline(client, "one", "select 1 as id")
    console.log("first", (await runPipeline(client, "one")).status)
    await pushPipeline(client, "one", slowSql(600_000))
    const id = await submitRun(client, "one")
    for (let i = 0; i < 8; i++) { await new Promise((r) => setTimeout(r, 4000)); const run = await client.runs.get(id); console.log(run.status, run.phase, JSON.stringify(run).slice(0, 700)) ; if (run.status === "failed") break }
    const logs = await client.runs.logs(id); console.log(JSON.stringify(logs).slice(-1500))
  })
})))
process.exit(0)
