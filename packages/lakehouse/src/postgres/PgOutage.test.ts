import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Context, Duration, Effect, Exit, Fiber, Layer, Queue, Redacted } from "effect"
import { SqlClient, SqlError } from "effect/sql"
import { type Dependency, Outbound } from "../outbound/Outbound.ts"
import { defaultPolicies } from "../outbound/OutboundPolicy.ts"
import { makeTcpFaultProxy } from "../outbound/TcpFaultProxy.ts"
import { Pg } from "./Pg.ts"
import { PgConfig, type PgPoolSettings } from "./PgConfig.ts"
import { StatementLimit } from "./PgGuard.ts"
import { isPostgresOutage } from "./PostgresOutage.ts"
import { TestPostgres } from "./TestPostgres.ts"

const { millis, seconds } = Duration
const policy = { ...defaultPolicies.postgres, deadline: millis(500) }

/** A database of its own, and a node whose sessions go through a proxy. */
const setUp = Effect.fnUntraced(function* (settings: Partial<PgPoolSettings> = {}) {
  const direct = yield* Layer.build(
    Layer.fresh(TestPostgres.layer([{ id: 1, name: "t", sql: "create table t (n int)" }])),
  )
  const config = Context.get(direct, PgConfig)
  const url = new URL(Redacted.value(config.url))
  const proxy = yield* makeTcpFaultProxy({ host: url.hostname, port: Number(url.port) })
  url.port = String(proxy.port)
  const dependencies = new Set<Dependency>()
  const context = yield* Layer.build(
    Layer.fresh(Pg.layer).pipe(
      Layer.provide(
        Layer.succeed(
          PgConfig,
          PgConfig.of({
            ...config,
            url: Redacted.make(url.href),
            connectTimeout: seconds(2),
            keepAlive: seconds(1),
            ...settings,
          }),
        ),
      ),
    ),
  ).pipe(Effect.provideService(Outbound, { policies: { ...defaultPolicies, postgres: policy }, dependencies }))
  const sql = Context.get(context, SqlClient.SqlClient)
  const [dependency] = dependencies
  return {
    proxy,
    sql,
    pg: Context.get(context, PgClient.PgClient),
    ping: Context.get(context, Pg).ping,
    direct: Context.get(direct, SqlClient.SqlClient),
    circuit: dependency!.circuit,
  }
})

/** Exit and milliseconds of an effect. */
const timed = <A, E>(effect: Effect.Effect<A, E>) =>
  Effect.map(Effect.timed(Effect.exit(effect)), ([took, exit]) => ({ exit, ms: Duration.toMillis(took) }))

const isOutage = (exit: Exit.Exit<unknown, unknown>): boolean => {
  const error = Exit.findErrorOption(exit)
  const isDefect = Exit.isFailure(exit) && Cause.hasDies(exit.cause)
  return !isDefect && error._tag === "Some" && SqlError.isSqlError(error.value) && isPostgresOutage(error.value)
}

const pidOf = (sql: SqlClient.SqlClient) =>
  Effect.map(sql<{ pid: number }>`select pg_backend_pid() as pid`, ([row]) => row!.pid)

describe("A session that is ended", () => {
  it.live("inside a transaction, by itself, is an outage and no defect; the pool goes on", () =>
    Effect.gen(function* () {
      const { sql, direct } = yield* setUp()
      const exit = yield* Effect.gen(function* () {
        yield* sql`insert into t values (1)`
        yield* sql`select pg_terminate_backend(pg_backend_pid())`
        yield* sql`insert into t values (2)`
      }).pipe(sql.withTransaction, Effect.exit)
      assert.isTrue(isOutage(exit), String(exit))
      assert.lengthOf(yield* direct`select n from t`, 0)
      assert.lengthOf(yield* sql`select 1`, 1)
    }).pipe(Effect.scoped),
  )

  it.live("inside a transaction, between statements, fails the next one, a nested one and the commit alike", () =>
    Effect.gen(function* () {
      const { sql, direct } = yield* setUp()
      const kill = Effect.gen(function* () {
        yield* direct`select pg_terminate_backend(${yield* pidOf(sql)})`
        yield* Effect.sleep("50 millis")
      })
      const insert = sql`insert into t values (1)`
      for (const body of [
        Effect.andThen(kill, insert),
        Effect.andThen(insert, kill),
        sql.withTransaction(Effect.andThen(insert, kill)),
        Effect.andThen(kill, sql.withTransaction(insert)),
        Effect.andThen(kill, Effect.fail("a reason of its own")),
      ]) {
        const exit = yield* Effect.exit(sql.withTransaction(Effect.andThen(insert, body)))
        assert.isTrue(Exit.isFailure(exit) && !Cause.hasDies(exit.cause), String(exit))
        assert.isTrue(isOutage(exit) || String(exit).includes("a reason of its own"), String(exit))
      }
      assert.lengthOf(yield* direct`select n from t`, 0)
    }).pipe(Effect.scoped),
  )

  it.live("in the middle of a statement is replaced: a read is answered, a write is an outage and not repeated", () =>
    Effect.gen(function* () {
      const { sql, proxy, direct } = yield* setUp()
      // The lock makes both wait until the connection is cut.
      const gate = yield* Effect.forkChild(
        direct.withTransaction(
          Effect.andThen(direct`lock table t in access exclusive mode`, Effect.sleep("700 millis")),
        ),
      )
      yield* Effect.sleep("200 millis")
      const read = yield* Effect.forkChild(Effect.exit(sql`select count(*) as c from t`))
      const write = yield* Effect.forkChild(Effect.exit(sql`insert into t values (1)`))
      yield* Effect.sleep("200 millis")
      proxy.reset()
      const wrote = yield* Fiber.join(write)
      assert.isTrue(isOutage(wrote), String(wrote))
      assert.isTrue(Exit.isSuccess(yield* Fiber.join(read)))
      yield* Fiber.join(gate)
      yield* Effect.sleep("200 millis")
      assert.isAtMost((yield* direct`select n from t`).length, 1)
    }).pipe(Effect.scoped),
  )

  it.live("while it is idle is not noticed by anybody", () =>
    Effect.gen(function* () {
      const { sql, proxy } = yield* setUp({ minConnections: 5 })
      yield* Effect.forEach([1, 2, 3, 4, 5], () => sql`select pg_sleep(0.05)`, { concurrency: 5 })
      for (let round = 0; round < 10; round++) {
        proxy.reset()
        yield* Effect.sleep("20 millis")
        yield* Effect.forEach([1, 2, 3, 4, 5], (n) => sql`insert into t values (${n})`, { concurrency: 5 })
      }
    }).pipe(Effect.scoped),
  )
})

describe("When packets vanish", () => {
  it.live(
    "on one connection, its statement is missed at the server; a read goes on elsewhere, a write is an outage",
    () =>
      Effect.gen(function* () {
        const { sql, proxy, circuit } = yield* setUp()
        for (const [statement, isRead] of [
          [sql`select 1 as one`, true],
          [sql`insert into t values (1)`, false],
        ] as const) {
          yield* sql`select 1`
          proxy.ruleExisting("lose")
          const { exit, ms } = yield* timed(statement)
          assert.strictEqual(Exit.isSuccess(exit), isRead, String(exit))
          assert.isTrue(isRead || isOutage(exit))
          assert.isBelow(ms, 3000)
        }
        assert.strictEqual(circuit.state, "closed")
      }).pipe(Effect.scoped),
  )

  it.live("inside a transaction, it ends as an outage, and the locks it held are free", () =>
    Effect.gen(function* () {
      const { sql, proxy, direct } = yield* setUp()
      const { exit, ms } = yield* Effect.gen(function* () {
        yield* sql`insert into t values (1)`
        proxy.ruleExisting("lose")
        yield* sql`insert into t values (2)`
      }).pipe(sql.withTransaction, timed)
      assert.isTrue(isOutage(exit), String(exit))
      assert.isBelow(ms, 3000)
      assert.lengthOf(yield* direct`select n from t`, 0)
    }).pipe(Effect.scoped),
  )

  it.live(
    "on all connections, callers wait for seconds, then are refused at once, and are served when it is over",
    () =>
      Effect.gen(function* () {
        const { sql, proxy, circuit } = yield* setUp()
        yield* sql`select 1`
        proxy.rule("lose")
        const { exit, ms } = yield* timed(sql`select 1`)
        assert.isTrue(isOutage(exit), String(exit))
        assert.isBelow(ms, 4000)
        assert.strictEqual(circuit.state === "closed", false)
        const refused = yield* timed(sql`insert into t values (1)`)
        assert.isTrue(isOutage(refused.exit))
        assert.include(String(refused.exit), "held back after repeated failures, the last one being:")
        proxy.rule("pass")
        const back = yield* timed(Effect.retry(sql`insert into t values (1)`, { times: 100 }))
        assert.isTrue(Exit.isSuccess(back.exit))
        assert.isBelow(back.ms, 2000)
      }).pipe(Effect.scoped),
  )

  it.live("for a listener, it is told within its period, and hears again on a new session", () =>
    Effect.gen(function* () {
      const { pg, sql, proxy } = yield* setUp()
      const lost = yield* Effect.gen(function* () {
        const notices = yield* pg.listen("news")
        yield* pg.notify("news", "one")
        assert.strictEqual((yield* Queue.take(notices)).payload, "one")
        yield* Effect.sleep("2500 millis")
        yield* pg.notify("news", "two")
        assert.strictEqual((yield* Queue.take(notices)).payload, "two", "periods of silence are no loss")
        proxy.ruleExisting("lose")
        return yield* timed(Queue.take(notices))
      }).pipe(Effect.scoped)
      assert.isTrue(isOutage(lost.exit), String(lost.exit))
      assert.isBelow(lost.ms, 4000)
      yield* Effect.gen(function* () {
        const notices = yield* pg.listen("news")
        yield* sql`select pg_notify('news', 'three')`
        assert.strictEqual((yield* Queue.take(notices)).payload, "three")
      }).pipe(Effect.scoped)
    }).pipe(Effect.scoped),
  )

  it.live("for a while only, nothing is lost but time", () =>
    Effect.gen(function* () {
      const { sql, proxy } = yield* setUp()
      yield* sql`select 1`
      proxy.rule("hold")
      const write = yield* Effect.forkChild(sql`insert into t values (1)`)
      yield* Effect.sleep("300 millis")
      proxy.rule("pass")
      yield* Fiber.join(write)
    }).pipe(Effect.scoped),
  )
})

describe("A statement that takes long", () => {
  it.live("is left alone, however often the server is asked about it", () =>
    Effect.gen(function* () {
      const { sql, proxy } = yield* setUp()
      proxy.rule({ latencyMs: 20 })
      yield* Effect.all([sql`select pg_sleep(3)`, sql.withTransaction(sql`select pg_sleep(3)`)], {
        concurrency: 2,
      })
    }).pipe(Effect.scoped),
  )

  it.live("ends at its limit on the client's side, and at the server's before that", () =>
    Effect.gen(function* () {
      const { sql } = yield* setUp({ statementTimeout: millis(600) })
      const byServer = yield* timed(sql`select pg_sleep(10)`)
      assert.include(String(byServer.exit), "StatementTimeout")
      const byClient = yield* timed(sql`select pg_sleep(10)`.pipe(Effect.provideService(StatementLimit, millis(300))))
      assert.isTrue(isOutage(byClient.exit))
      assert.isBelow(byClient.ms, 600)
    }).pipe(Effect.scoped),
  )
})

describe("Sessions", () => {
  it.live("that are all in use are waited for, but not for ever", () =>
    Effect.gen(function* () {
      const { sql, circuit } = yield* setUp({ maxConnections: 2, connectTimeout: seconds(1) })
      const hold = Effect.forkChild(sql.withTransaction(Effect.andThen(sql`select 1`, Effect.sleep("1500 millis"))))
      const holders = [yield* hold, yield* hold]
      yield* Effect.sleep("200 millis")
      const { exit, ms } = yield* timed(sql`select 1`)
      assert.isTrue(isOutage(exit))
      assert.include(String(exit), "All 2 sessions of this node are in use")
      assert.approximately(ms, 1000, 300)
      assert.strictEqual(circuit.state, "closed", "a busy node is no Postgres that is away")
      yield* Effect.forEach(holders, Fiber.join)
      yield* sql`select 1`
    }).pipe(Effect.scoped),
  )

  it.live(
    "cannot be opened while Postgres is away: callers are told at once, and are served two seconds after it is back",
    () =>
      Effect.gen(function* () {
        const { sql, ping, proxy, circuit } = yield* setUp()
        proxy.rule("refuse")
        const first = yield* timed(sql`select 1`)
        assert.isTrue(isOutage(first.exit))
        assert.isBelow(first.ms, 2500)
        assert.isTrue(isOutage((yield* timed(ping)).exit))
        yield* Effect.forEach(Array.from({ length: 20 }), () => Effect.exit(sql`select 1`), { concurrency: 20 })
        assert.notStrictEqual(circuit.state, "closed")
        yield* Effect.sleep("3 seconds")
        proxy.rule("pass")
        const back = yield* timed(Effect.retry(sql`select 1`, { times: 100 }))
        assert.isTrue(Exit.isSuccess(back.exit))
        assert.isBelow(back.ms, 2000)
        assert.isBelow(yield* ping, 1000)
      }).pipe(Effect.scoped),
  )
})
