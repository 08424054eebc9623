import { readFileSync } from "node:fs"
import { PgClient } from "@effect/sql-pg"
import { Effect, Redacted } from "effect"
import { Reactivity } from "effect/reactivity"
const dir = "/tmp/idle/data/postgres"
const pw = readFileSync(dir + "/password", "utf8").trim()
const port = readFileSync(dir + "/port", "utf8").trim()
const program = Effect.gen(function* () {
  const sql = yield* PgClient.make({ url: Redacted.make(`postgres://rat:${pw}@127.0.0.1:${port}/postgres`) })
  const rows = yield* sql.unsafe(process.argv[2]!)
  console.log(rows)
})
Effect.runPromise(Effect.scoped(program).pipe(Effect.provide(Reactivity.layer))).catch((e) => { console.error(String(e)); process.exit(1) })
