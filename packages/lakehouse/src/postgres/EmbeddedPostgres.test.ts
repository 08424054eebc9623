import { spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { ConfigProvider, Context, Duration, Effect, Layer, Redacted, Schedule } from "effect"
import { SqlClient } from "effect/sql"
import { EmbeddedPostgres } from "./EmbeddedPostgres.ts"
import { Pg } from "./Pg.ts"
import { PgConfig } from "./PgConfig.ts"
import { isPostmasterOf, startPostgres } from "./PostgresServer.ts"

/** Making a cluster takes most of a second; the tests that don't look at that share one. */
const cluster = mkdtempSync(join(tmpdir(), "rat-pg-made-"))
chmodSync(cluster, 0o711)
beforeAll(async () => {
  const server = await startPostgres({ folder: join(cluster, "postgres"), isDurable: true })
  await server.stop()
})
afterAll(() => rmSync(cluster, { recursive: true, force: true }))
const copyCluster = (folder: string) =>
  Effect.sync(() => {
    spawnSync("cp", ["-a", join(cluster, "postgres"), folder])
    rmSync(join(folder, "port"))
  })

const withFolder = <A, E, R>(use: (folder: string) => Effect.Effect<A, E, R>) =>
  Effect.acquireUseRelease(
    Effect.sync(() => {
      const parent = mkdtempSync(join(tmpdir(), "rat-pg-"))
      // Postgres of root runs as somebody else, who has to get there.
      chmodSync(parent, 0o711)
      return parent
    }),
    (parent) => use(join(parent, "postgres")),
    (parent) => Effect.sync(() => rmSync(parent, { recursive: true, force: true })),
  )

/** Real settings, fsync included. */
const start = (folder: string) =>
  Layer.build(Layer.fresh(EmbeddedPostgres.layer({ folder }))).pipe(
    Effect.map((context) => Context.get(context, EmbeddedPostgres)),
  )

/** A pool on the server of `folder`, which may come and go. */
const pool = (server: EmbeddedPostgres["Service"]) =>
  Layer.build(Layer.fresh(Pg.layer).pipe(Layer.provide(Layer.fresh(PgConfig.layerUrl(server.url))))).pipe(
    Effect.map((context) => Context.get(context, SqlClient.SqlClient)),
  )

const isAlive = (pid: number) => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

describe("EmbeddedPostgres", () => {
  it.live(
    "keeps its data, port and password over a restart; speaks UTF-8, wants a password, writes durably",
    () =>
      withFolder((folder) =>
        Effect.gen(function* () {
          const port = yield* Effect.gen(function* () {
            const server = yield* start(folder)
            const sql = yield* pool(server)
            yield* sql`create table note (text text)`
            yield* sql`insert into note values ('größer 🐀')`
            const [settings] = yield* sql<Record<string, string>>`
              select
                current_setting('server_encoding') as encoding,
                current_setting('fsync') as fsync,
                current_setting('wal_level') as wal_level,
                current_setting('statement_timeout') as statement_timeout,
                (select datlocprovider::text from pg_database where datname = 'postgres') as provider`
            assert.deepStrictEqual(settings, {
              encoding: "UTF8",
              fsync: "on",
              wal_level: "replica",
              statement_timeout: "30s",
              provider: "b",
            })
            assert.strictEqual(statSync(join(folder, "password")).mode & 0o077, 0)
            assert.strictEqual(statSync(join(folder, "cluster")).mode & 0o077, 0)
            const password = readFileSync(join(folder, "password"), "utf8")
            const url = Redacted.make(Redacted.value(server.url).replace(password, "guess"))
            const wrong = yield* Effect.flip(pool({ ...server, url }))
            assert.include(wrong.message, `Postgres at 127.0.0.1:${server.port}/postgres cannot be used: password`)
            return server.port
          }).pipe(Effect.scoped)
          assert.isFalse(existsSync(join(folder, "cluster", "postmaster.pid")))

          const again = yield* start(folder)
          assert.strictEqual(again.port, port)
          assert.deepStrictEqual(yield* (yield* pool(again))`select text from note`, [{ text: "größer 🐀" }])
        }).pipe(Effect.scoped),
      ),
    30_000,
  )

  it.live(
    "is started again when it is killed, and the pool goes on",
    () =>
      withFolder((folder) =>
        Effect.gen(function* () {
          yield* copyCluster(folder)
          const server = yield* start(folder)
          const sql = yield* pool(server)
          yield* sql`create table note (id integer)`
          yield* sql`insert into note values (1)`
          for (let round = 0; round < 3; round++) {
            const before = yield* server.pid
            process.kill(before, "SIGKILL")
            yield* server.pid.pipe(
              Effect.flatMap((pid) => (pid === before ? Effect.fail("not yet") : Effect.void)),
              Effect.retry({ schedule: Schedule.spaced("20 millis"), times: 500 }),
            )
            // Connections are taken now; the pool must not sleep over it.
            const [took, rows] = yield* sql`select id from note`.pipe(
              Effect.retry({ schedule: Schedule.spaced("20 millis"), times: 100 }),
              Effect.timed,
            )
            assert.deepStrictEqual(rows, [{ id: 1 }])
            assert.isBelow(Duration.toMillis(took), 2000)
          }
        }).pipe(Effect.scoped),
      ),
    30_000,
  )

  it.live(
    "ends when the process that started it is killed, and a stale lock of a reused process number is no obstacle",
    () =>
      withFolder((folder) =>
        Effect.gen(function* () {
          yield* copyCluster(folder)
          const parent = spawn(
            process.execPath,
            [
              "--input-type=module",
              "-e",
              `const { startPostgres } = await import(${JSON.stringify(new URL("./PostgresServer.ts", import.meta.url).href)})
               const server = await startPostgres({ folder: ${JSON.stringify(folder)}, isDurable: true })
               process.stdout.write(String(server.pid))
               setInterval(() => {}, 1000)`,
            ],
            { stdio: ["ignore", "pipe", "inherit"] },
          )
          const pid = Number(yield* Effect.promise(() => once(parent.stdout, "data").then(String)))
          assert.isTrue(isAlive(pid))
          parent.kill("SIGKILL")
          yield* Effect.suspend(() => (isAlive(pid) ? Effect.fail("alive") : Effect.void)).pipe(
            Effect.retry({ schedule: Schedule.spaced("20 millis"), times: 200 }),
          )
          // As a crash of the whole machine leaves it, with a number that some other program has now.
          writeFileSync(join(folder, "cluster", "postmaster.pid"), `${process.pid}\n/elsewhere\n0\n5432\n`)
          yield* start(folder)
        }).pipe(Effect.scoped),
      ),
    30_000,
  )

  it.live(
    "stops a server that outlived its process, and starts its own",
    () =>
      withFolder((folder) =>
        Effect.gen(function* () {
          yield* copyCluster(folder)
          // As after a crash: a server that nobody looks after, with a session in the middle of a statement.
          const orphan = yield* Effect.promise(() => startPostgres({ folder, isDurable: true }))
          const url = `postgres://rat:${orphan.password}@127.0.0.1:${orphan.port}/postgres`
          const busy = yield* Effect.gen(function* () {
            const sql = yield* pool({ url: Redacted.make(url) } as EmbeddedPostgres["Service"])
            const [row] = yield* sql<{ readonly pid: number }>`select pg_backend_pid() as pid`
            yield* Effect.forkScoped(Effect.ignore(sql`select count(*) from generate_series(1, 1e10::bigint)`))
            return row!.pid
          })
          process.kill(orphan.pid, "SIGKILL")
          yield* Effect.promise(() => orphan.exited)
          const successor = yield* start(folder)
          assert.notStrictEqual(yield* successor.pid, orphan.pid)
          assert.isFalse(isPostmasterOf(busy, join(folder, "cluster")), "a session of the killed server still writes")
        }).pipe(Effect.scoped),
      ),
    30_000,
  )

  it.live(
    "takes another port when its own is taken",
    () =>
      withFolder((folder) =>
        Effect.gen(function* () {
          yield* copyCluster(folder)
          const { port } = yield* Effect.scoped(start(folder))
          const squatter = createServer().listen(port, "127.0.0.1")
          yield* Effect.promise(() => once(squatter, "listening"))
          const server = yield* start(folder)
          assert.notStrictEqual(server.port, port)
          assert.strictEqual(readFileSync(join(folder, "port"), "utf8"), String(server.port))
          squatter.close()
        }).pipe(Effect.scoped),
      ),
    30_000,
  )

  it.live(
    "of root below a folder closed to others keeps its files where its user can reach them",
    () =>
      withFolder((folder) =>
        Effect.gen(function* () {
          if (process.getuid?.() !== 0) return
          let place = ""
          yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(place, { recursive: true, force: true })))
          mkdirSync(join(folder, "closed"), { recursive: true })
          chmodSync(join(folder, "closed"), 0o700)
          const inner = join(folder, "closed", "postgres")
          const server = yield* start(inner)
          assert.isTrue(lstatSync(join(inner, "cluster")).isSymbolicLink())
          assert.deepStrictEqual(yield* (yield* pool(server))`select 1 as one`, [{ one: 1 }])
          place = dirname(realpathSync(join(inner, "cluster")))
        }).pipe(Effect.scoped),
      ),
    30_000,
  )

  it.live("says in a sentence what is wrong when it cannot start", () =>
    withFolder((folder) =>
      Effect.gen(function* () {
        mkdirSync(join(folder, "cluster"), { recursive: true })
        writeFileSync(join(folder, "cluster", "PG_VERSION"), "12\n")
        writeFileSync(join(folder, "password"), "secret")
        const error = yield* Effect.flip(start(folder))
        assert.strictEqual(error._tag, "PostgresUnavailable")
        assert.match(error.message, /^The embedded Postgres in .* cannot start: .*\. .*\.$/s)
        writeFileSync(join(folder, "..", "file"), "")
        const blocked = yield* Effect.flip(start(join(folder, "..", "file")))
        assert.match(blocked.message, /cannot start/)
      }).pipe(Effect.scoped),
    ),
  )
})

describe("PgConfig", () => {
  const settingsWith = (env: Record<string, string>) =>
    Layer.build(Layer.fresh(PgConfig.layer("/dev/null/postgres"))).pipe(
      Effect.map((context) => Context.get(context, PgConfig)),
      Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromEnv({ env })),
      Effect.scoped,
    )

  it.live("has the ancestor's defaults, and each variable changes its setting", () =>
    Effect.gen(function* () {
      const url = { DATABASE_URL: "postgres://u:p@h/d" }
      assert.include(yield* settingsWith(url), { maxConnections: 25, minConnections: 5 })
      const changed = yield* settingsWith({ ...url, DB_MAX_CONNS: "7", DB_STATEMENT_TIMEOUT: "2 seconds" })
      assert.strictEqual(changed.maxConnections, 7)
      assert.strictEqual(Duration.toMillis(changed.statementTimeout), 2000)
    }),
  )

  it.live("an empty DATABASE_URL is none, and another kind of address is refused in words", () =>
    Effect.gen(function* () {
      const none = yield* Effect.flip(settingsWith({ DATABASE_URL: "" }))
      assert.strictEqual(none._tag, "PostgresUnavailable")
      const wrong = yield* Effect.flip(settingsWith({ DATABASE_URL: "mysql://h/d" }))
      assert.strictEqual(wrong._tag, "DatabaseUrlInvalid")
    }),
  )
})
