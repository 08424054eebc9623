import { createHash, randomUUID } from "node:crypto"
import { createConnection } from "node:net"
import type { PgClient } from "@effect/sql-pg"
import { Duration, Effect, Layer, Redacted } from "effect"
import { SqlClient } from "effect/sql"
import { type Migration, migrate, migrationChecksum } from "./Migrator.ts"
import { Pg } from "./Pg.ts"
import { PgConfig } from "./PgConfig.ts"
import { startTestPostgres, testPostgresVariable } from "./TestPostgresServer.ts"

const askBroker = (port: number) =>
  Effect.callback<string>((resume) => {
    let answer = ""
    const socket = createConnection(port, "127.0.0.1")
    socket.setEncoding("utf8")
    socket.on("data", (chunk) => {
      answer += chunk
    })
    socket.on("error", (error) => resume(Effect.die(error)))
    socket.on("end", () => resume(answer.startsWith("error: ") ? Effect.die(answer) : Effect.succeed(answer)))
  })

/** Under vitest the run's server; elsewhere (a script) one of our own for as long as the scope. */
const serverUrl = Effect.gen(function* () {
  const port = process.env[testPostgresVariable]
  if (port !== undefined) return yield* askBroker(Number(port))
  const { url } = yield* Effect.acquireRelease(
    Effect.promise(() => startTestPostgres()),
    (server) => Effect.promise(() => server.stop()),
  )
  return url
})

/** Fresh, because one build must not share a pool between databases. */
const poolOn = (url: string, database: string, maxConnections: number) =>
  Layer.fresh(Pg.layer).pipe(Layer.provideMerge(configOf(url, database, maxConnections)))

const configOf = (url: string, database: string, maxConnections: number) =>
  Layer.succeed(
    PgConfig,
    PgConfig.of({
      url: Redacted.make(url.replace(/\/postgres$/, `/${database}`)),
      applicationName: `test/${process.pid}/${database}`.slice(0, 63),
      maxConnections,
      minConnections: 0,
      connectionTTL: Duration.hours(1),
      idleTimeout: Duration.minutes(1),
      keepAlive: Duration.minutes(1),
      connectTimeout: Duration.seconds(20),
      statementTimeout: Duration.seconds(30),
      idleInTransactionTimeout: Duration.minutes(1),
    }),
  )

/** `create database … template` refuses while somebody is connected to the template, so it is made under a name apart. */
const templateLock = 7_245_002n

const templateOf = (url: string, migrations: ReadonlyArray<Migration>) =>
  Effect.gen(function* () {
    if (migrations.length === 0) return "template1"
    const sql = yield* SqlClient.SqlClient
    const hash = createHash("sha256").update(migrations.map(migrationChecksum).join()).digest("hex").slice(0, 24)
    const name = `template_${hash}`
    const exists = sql`select 1 from pg_database where datname = ${name}`
    if ((yield* exists).length > 0) return name
    // The lock's transaction holds one session, `create database` (no transaction allowed) uses another one.
    yield* Effect.gen(function* () {
      yield* sql`select pg_advisory_xact_lock(${templateLock})`
      if ((yield* exists).length > 0) return
      yield* Effect.gen(function* () {
        const free = yield* SqlClient.SqlClient
        yield* free.unsafe(`drop database if exists ${name}_new with (force)`).unprepared
        yield* free.unsafe(`create database ${name}_new`).unprepared
      }).pipe(Effect.provide(poolOn(url, "postgres", 1)))
      yield* migrate(migrations).pipe(Effect.provide(poolOn(url, `${name}_new`, 2)))
      yield* sql`alter database ${sql(`${name}_new`)} rename to ${sql(name)}`
    }).pipe(sql.withTransaction)
    return name
  })

/**
 * A database of its own for one test file: an empty schema with `migrations` applied, on a real Postgres without fsync.
 * Takes about 30 ms once another file of the run has used the same migrations.
 */
const layer = (
  migrations: ReadonlyArray<Migration>,
  options: { readonly maxConnections?: number } = {},
): Layer.Layer<Pg | PgConfig | PgClient.PgClient | SqlClient.SqlClient> =>
  Layer.unwrap(
    Effect.gen(function* () {
      const url = yield* serverUrl
      const name = `test_${randomUUID().replaceAll("-", "")}`
      const asAdministrator = Effect.provide(poolOn(url, "postgres", 2))
      yield* Effect.acquireRelease(
        Effect.gen(function* () {
          const template = yield* templateOf(url, migrations)
          const sql = yield* SqlClient.SqlClient
          yield* sql.unsafe(`create database ${name} template ${template} strategy file_copy`).unprepared
        }).pipe(asAdministrator),
        () =>
          SqlClient.SqlClient.use((sql) => sql.unsafe(`drop database if exists ${name} with (force)`).unprepared).pipe(
            asAdministrator,
            Effect.ignore,
          ),
      )
      return poolOn(url, name, options.maxConnections ?? 10)
    }),
  ).pipe(Layer.orDie)

export const TestPostgres = { layer }
