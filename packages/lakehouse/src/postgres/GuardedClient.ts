import { PgClient, type PgConnection, PgPool } from "@effect/sql-pg"
import { Duration, Effect, Exit, Random, Scope, Stream } from "effect"
import type { Reactivity } from "effect/reactivity"
import { SqlClient, type SqlConnection, SqlError, Statement } from "effect/sql"
import { makePgGuard, type PgGuard, postgresOutage, refusedByCircuit } from "./PgGuard.ts"
import { isPostgresOutage } from "./PostgresOutage.ts"

export interface GuardedClientOptions extends PgPool.Config {
  readonly maxConnections: number
  readonly connectTimeout: Duration.Duration
  readonly keepAlive: Duration.Duration
  /** After this Postgres itself cancels a statement. */
  readonly statementTimeout: Duration.Duration
  /** Host, port and database: no user, no password. */
  readonly endpoint: string
}

/** Ends of a transaction or of a part of it: when the session is gone, Postgres has done them already. */
const undone = /^(rollback|release savepoint)\b/i

/** A session of the pool as SQL runs on it. */
class GuardedConnection implements SqlConnection.Connection {
  private readonly connection: PgConnection.PgConnection
  private readonly guard: PgGuard

  constructor(connection: PgConnection.PgConnection, guard: PgGuard) {
    this.connection = connection
    this.guard = guard
  }

  private rows(sql: string, params: ReadonlyArray<unknown>, prepare: boolean) {
    const query = Effect.map(this.connection.query(sql, params, prepare), ({ rows }) => rows)
    const guarded = this.guard.run(this.connection, sql, query)
    // Without this a session that ends in the middle of a transaction fails the roll-back, which is a defect there.
    return undone.test(sql)
      ? Effect.catchIf(guarded, isPostgresOutage, () => Effect.succeed<ReadonlyArray<PgConnection.Row>>([]))
      : guarded
  }

  execute(
    sql: string,
    params: ReadonlyArray<unknown>,
    transformRows: (<A extends object>(row: ReadonlyArray<A>) => ReadonlyArray<A>) | undefined,
  ) {
    const rows = this.rows(sql, params, true)
    return transformRows === undefined ? rows : Effect.map(rows, transformRows)
  }
  executeRaw(sql: string, params: ReadonlyArray<unknown>) {
    return this.guard.run(this.connection, sql, this.connection.query(sql, params))
  }
  executeValues(sql: string, params: ReadonlyArray<unknown>) {
    return this.guard.run(this.connection, sql, this.connection.queryValues(sql, params))
  }
  executeValuesUnprepared(sql: string, params: ReadonlyArray<unknown>) {
    return this.guard.run(this.connection, sql, this.connection.queryValues(sql, params, false))
  }
  executeUnprepared(
    sql: string,
    params: ReadonlyArray<unknown>,
    transformRows: (<A extends object>(row: ReadonlyArray<A>) => ReadonlyArray<A>) | undefined,
  ) {
    const rows = this.rows(sql, params, false)
    return transformRows === undefined ? rows : Effect.map(rows, transformRows)
  }
  executeStream(
    sql: string,
    params: ReadonlyArray<unknown>,
    transformRows: (<A extends object>(row: ReadonlyArray<A>) => ReadonlyArray<A>) | undefined,
  ) {
    const rows = this.connection.stream(sql, params)
    return transformRows === undefined
      ? rows
      : Stream.mapArray(rows, (part) => transformRows(part) as unknown as typeof part)
  }
}

/** Postgres answers `ROLLBACK` to the commit of a transaction that a failed statement had aborted. */
const commit = (connection: SqlConnection.Connection): Effect.Effect<void, SqlError.SqlError> =>
  Effect.flatMap(connection.executeRaw("COMMIT", []), (result) => {
    if ((result as PgConnection.Result).command !== "ROLLBACK") return Effect.void
    const message = "The transaction was aborted by a failed statement; its commit rolled it back."
    return Effect.fail(
      new SqlError.SqlError({
        reason: new SqlError.UnknownError({ cause: new Error(message), message, operation: "commit" }),
      }),
    )
  })

/**
 * The driver's client over the driver's pool, with a guard between them (`PgGuard`) and these rules:
 * - Opening a session is tried again within DB_CONNECT_TIMEOUT, and so is a statement outside of a transaction that only
 *   reads. A write whose answer was lost may have happened: it fails as an outage, and whoever sent it knows what to do.
 * - A transaction whose session ends fails as an outage, whatever was going on in it, its roll-back included.
 * - Waiting for a free session has an end (DB_CONNECT_TIMEOUT).
 * - While Postgres is away callers are refused at once; the guard's own probe finds out when it is back.
 * - Listeners are asked for a sign of life every DB_HEALTH_CHECK_PERIOD; their queue fails with the session.
 */
export const makeGuardedClient = Effect.fnUntraced(function* (
  options: GuardedClientOptions,
): Effect.fn.Return<PgClient.PgClient, SqlError.SqlError, Scope.Scope | Reactivity.Reactivity> {
  const { endpoint, statementTimeout, maxConnections, connectTimeout } = options
  const guard = yield* makePgGuard({ session: options, endpoint, statementTimeout })
  const { circuit, policy, refusal } = guard.dependency
  const pool = yield* PgPool.make(options)
  const patienceMs = Duration.toMillis(connectTimeout)

  let lent = 0
  const noneFree = Effect.suspend(() =>
    Effect.fail(
      postgresOutage(
        `All ${maxConnections} sessions of this node are in use, and none came free within ${patienceMs / 1000} s. Try again, or raise DB_MAX_CONNS.`,
      ),
    ),
  )
  const refuse = Effect.suspend(() => {
    const error = refusedByCircuit(refusal("query", Date.now()))
    guard.repeatable.add(error)
    guard.tally.add("refused", 0)
    return Effect.fail(error)
  })
  const taking = (take: Effect.Effect<PgConnection.PgConnection, SqlError.SqlError, Scope.Scope>) => {
    const opened = Effect.tapError(take, (error) => Effect.sync(() => guard.notOpened(error)))
    return { opened, waited: Effect.timeoutOrElse(opened, { duration: connectTimeout, orElse: () => noneFree }) }
  }
  const shared = taking(pool.get)
  const exclusive = taking(pool.reserve)
  const back = () => {
    lent -= 1
    return undefined
  }

  /** For one statement, or for as long as the scope. */
  const lend = Effect.suspend(() => {
    if (circuit.state !== "closed") return refuse
    return lent <= maxConnections ? shared.opened : shared.waited
  })
  const reserved = Effect.suspend(() => {
    if (circuit.state !== "closed") return refuse
    return Effect.acquireRelease(
      Effect.map(lent < maxConnections ? exclusive.opened : exclusive.waited, (connection) => {
        lent += 1
        guard.reserve(connection)
        return connection
      }),
      (connection) =>
        Effect.sync(() => {
          lent -= 1
          guard.release(connection)
        }),
      { interruptible: true },
    )
  })
  const connectionOf = (connection: PgConnection.PgConnection): SqlConnection.Connection =>
    new GuardedConnection(connection, guard)

  /** Tries again what did nothing, for as long as opening a session may take. */
  const bridged = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> => {
    const startedAt = Date.now()
    const from = (nth: number): Effect.Effect<A, E, R> =>
      Effect.catch(effect, (error) => {
        if (typeof error !== "object" || error === null || !guard.repeatable.has(error)) return Effect.fail(error)
        if (nth >= policy.retries || Date.now() - startedAt >= patienceMs) return Effect.fail(error)
        const waitMs = Math.min(Duration.toMillis(policy.firstDelay) * 2 ** nth, Duration.toMillis(policy.maxDelay))
        return Effect.flatMap(Random.nextBetween(0.8 * waitMs, 1.2 * waitMs), (jitteredMs) => {
          guard.tally.addRetry()
          return Effect.andThen(Effect.sleep(jitteredMs), from(nth + 1))
        })
      })
    return from(0)
  }

  const listenOnce = (channel: string) =>
    Effect.gen(function* () {
      const connection = yield* reserved
      const scope = yield* Effect.scope
      const notices = yield* guard.run(connection, "listen", Scope.provide(connection.listen(channel), scope)).pipe(
        // To listen twice does nothing that listening once does not.
        Effect.tapError((error) => Effect.sync(() => isPostgresOutage(error) && guard.repeatable.add(error))),
      )
      // Silence is what a listener usually hears, so a lost network looks like peace. An empty statement costs nothing;
      // when the guard gives the session up, the queue fails with it.
      const ask = Effect.suspend(() => guard.run(connection, "", connection.query("", [], false)))
      yield* Effect.andThen(Effect.sleep(options.keepAlive), ask).pipe(Effect.forever, Effect.ignore, Effect.forkScoped)
      return notices
    })
  const listen = (channel: string) =>
    Effect.flatMap(Effect.scope, (parent) =>
      bridged(
        Effect.flatMap(Scope.fork(parent), (scope) =>
          Effect.onError(Scope.provide(listenOnce(channel), scope), (cause) =>
            Scope.close(scope, Exit.failCause(cause)),
          ),
        ),
      ),
    )

  const compiler = PgClient.makeCompiler()
  const url = new URL(`postgres://${endpoint}`)
  const client = yield* SqlClient.make({
    driver: "pg",
    acquirer: Effect.map(
      Effect.suspend(() => bridged(lend)),
      connectionOf,
    ),
    borrower: (use) =>
      Effect.suspend(() =>
        bridged(
          Effect.suspend(() => {
            const statement = Effect.scoped(Effect.flatMap(lend, (connection) => use(connectionOf(connection))))
            lent += 1
            return Effect.onExitPrimitive(statement, back)
          }),
        ),
      ),
    transactionAcquirer: Effect.map(
      Effect.suspend(() => bridged(reserved)),
      connectionOf,
    ),
    prepareTransactionControls: true,
    commit,
    releaseSavepoint: (name) => `RELEASE SAVEPOINT ${name}`,
    compiler,
    spanAttributes: [
      ["db.system.name", "postgresql"],
      ["db.namespace", url.pathname.slice(1)],
      ["server.address", url.hostname],
      ["server.port", Number(url.port || 5432)],
    ],
  })
  return Object.assign(client, {
    [PgClient.TypeId]: PgClient.TypeId,
    config: options,
    json: (value: unknown) => Statement.fragment([jsonSegment(value)]),
    listen,
    notify: (channel: string, payload: string) => Effect.asVoid(client`select pg_notify(${channel}, ${payload})`),
  })
})

const jsonSegment = Statement.custom<Statement.Custom<"PgJson", unknown>>("PgJson")
