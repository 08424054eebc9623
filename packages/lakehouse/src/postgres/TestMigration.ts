import { Duration, Effect, Layer, Redacted } from "effect"
import { type Migration, migrate } from "./Migrator.ts"
import { Pg } from "./Pg.ts"
import { PgConfig } from "./PgConfig.ts"

/** A node's start as far as the schema goes, as a process of its own that can be killed. Test support only. */

export const slowSteps: ReadonlyArray<Migration> = [1, 2, 3].map((id) => ({
  id,
  name: `step${id}`,
  sql: `create table step${id} (id integer primary key); select pg_sleep(0.4); insert into step${id} values (1)`,
}))

const config = (url: string) =>
  PgConfig.of({
    url: Redacted.make(url),
    applicationName: `migrating/${process.pid}`,
    maxConnections: 2,
    minConnections: 0,
    connectionTTL: Duration.hours(1),
    idleTimeout: Duration.minutes(1),
    keepAlive: Duration.seconds(10),
    connectTimeout: Duration.seconds(20),
    statementTimeout: Duration.seconds(1),
    idleInTransactionTimeout: Duration.seconds(1),
  })

if (process.argv[1] === import.meta.filename) {
  const url = process.env.TEST_DATABASE_URL
  if (url === undefined) throw new Error("TEST_DATABASE_URL says which database")
  const program = migrate(slowSteps).pipe(
    Effect.provide(Pg.layer.pipe(Layer.provide(Layer.succeed(PgConfig, config(url))))),
    Effect.andThen(Effect.sync(() => process.stdout.write("migrated\n"))),
  )
  await Effect.runPromise(program)
}
