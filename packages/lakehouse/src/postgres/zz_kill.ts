import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { EmbeddedPostgres } from "./EmbeddedPostgres.ts"
import { Pg } from "./Pg.ts"
import { PgConfig } from "./PgConfig.ts"
const folder = mkdtempSync(join(tmpdir(), "kill-"))
const embedded = EmbeddedPostgres.layer({ folder, isDurable: true })
const layer = Pg.layer.pipe(Layer.provide(Layer.unwrap(Effect.map(EmbeddedPostgres, ({ url }) => PgConfig.layerUrl(url)))), Layer.provideMerge(embedded))
await Effect.runPromise(Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const pg = yield* EmbeddedPostgres
  yield* sql`create table t (n int)`
  for (let i = 0; i < 4; i++) {
    // load
    const load = yield* Effect.forkChild(Effect.forever(Effect.ignore(sql`insert into t values (1)`).pipe(Effect.andThen(Effect.sleep(1)))))
    yield* Effect.sleep(i % 2 ? 300 : 1500)
    const pid = yield* pg.pid
    const at = Date.now()
    process.kill(pid, "SIGKILL")
    while ((yield* pg.pid) === pid) yield* Effect.sleep(5)
    console.log("restarted after ms", Date.now() - at)
    while (true) { const r = yield* Effect.result(sql`select 1`); if (r._tag === "Success") break; if (Date.now() - at > 8000) { console.log("STUCK", String(r.failure), (r.failure as any).reason?.cause); process.exit(1) } yield* Effect.sleep(5) }
    console.log("back after ms", Date.now() - at)
    load.interruptUnsafe()
  }
}).pipe(Effect.provide(layer)))
console.log((await import("node:fs")).readFileSync(folder + "/server.log","utf8").split("\n").slice(-30).join("\n"))
rmSync(folder, { recursive: true, force: true })
