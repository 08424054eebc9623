import type { Duplex } from "node:stream"
import { PgConnection } from "@effect/sql-pg"
import { Context, Duration, Effect, Exit, type Scope } from "effect"
import { SqlError } from "effect/sql"
import { CallTally } from "../outbound/CallTally.ts"
import { type Dependency, type DependencyUnavailable, outbound } from "../outbound/Outbound.ts"
import { isPostgresOutage } from "./PostgresOutage.ts"
import { isRepeatable } from "./StatementText.ts"

/**
 * Longest time of a statement on the client's side, instead of what DB_STATEMENT_TIMEOUT makes of it. For work that may
 * take as long as it takes (migrations), together with `set local statement_timeout`.
 */
export const StatementLimit = Context.Reference<Duration.Duration | undefined>(
  "rat/lakehouse/postgres/StatementLimit",
  { defaultValue: () => undefined },
)

/** How often statements that are on their way are looked at. Nothing is looked at while there are none. */
const tickMs = 250

interface OnItsWay {
  readonly connection: PgConnection.PgConnection
  readonly sinceMs: number
  readonly untilMs: number
  /** When the server is asked about it. */
  lookAtMs: number
  /** Looks in a row in which the server did not know of it. */
  misses: number
}

/** An outage in the driver's words, so that everybody who handles one of Postgres handles this. */
export const postgresOutage = (message: string, cause: unknown = new Error(message)): SqlError.SqlError =>
  new SqlError.SqlError({ reason: new SqlError.ConnectionError({ cause, message, operation: "query" }) })

export const refusedByCircuit = (refusal: DependencyUnavailable): SqlError.SqlError =>
  postgresOutage(refusal.message, refusal)

/** The driver shows its socket to nobody, and a pinned session is a view of another; hence the look behind its interface. */
interface Inside {
  readonly session?: { readonly socket: Duplex }
  readonly base?: PgConnection.PgConnection & Inside
}

/** The session itself, of which a transaction or a listener has a view. */
const sessionOf = (connection: PgConnection.PgConnection): PgConnection.PgConnection & Inside =>
  (connection as PgConnection.PgConnection & Inside).base ?? connection

/**
 * Gives a session up although its peer is silent. Closing it in the driver's way says good-bye first and keeps the socket
 * until somebody answers.
 */
const destroySession = (connection: PgConnection.PgConnection, reason: string): void => {
  sessionOf(connection).session?.socket.destroy(new Error(reason))
}

/**
 * What stands between a pool and the statements that run on it: a limit on the client's side, the circuit, and the search
 * for sessions whose packets vanish. A statement that takes longer than a sign of life may is asked for on a connection of
 * its own: does the server answer at all, and is it still working on this statement? Otherwise the session is given up
 * seconds after the network swallowed it, instead of at the statement's limit or TCP's, which is a quarter of an hour.
 */
export interface PgGuard {
  readonly dependency: Dependency
  /** Runs a statement of `connection` under guard. Errors that a second try cannot make worse are in `repeatable`. */
  readonly run: <A>(
    connection: PgConnection.PgConnection,
    sql: string,
    query: Effect.Effect<A, SqlError.SqlError>,
  ) => Effect.Effect<A, SqlError.SqlError>
  /** Failures of statements that did nothing, or whose doing does not matter. */
  readonly repeatable: WeakSet<object>
  /** Sessions of transactions and listeners, which somebody uses also while no statement is on its way. */
  readonly reserve: (connection: PgConnection.PgConnection) => void
  readonly release: (connection: PgConnection.PgConnection) => void
  readonly tally: CallTally
  /** A session could not be opened; one that could shows in its first statement. */
  readonly notOpened: (error: SqlError.SqlError) => void
}

export interface GuardOptions {
  /** How sessions are opened. */
  readonly session: PgConnection.Config
  /** Host, port and database. */
  readonly endpoint: string
  /** After this Postgres itself cancels a statement. */
  readonly statementTimeout: Duration.Duration
}

export const makePgGuard = Effect.fnUntraced(function* (
  options: GuardOptions,
): Effect.fn.Return<PgGuard, never, Scope.Scope> {
  // Assigned when the circuit, which asks with it, is there.
  let patienceMs = 0

  /** On a fresh connection: whether anybody answers, and which of `pids` are at work. Undefined where pids mean nothing. */
  const ask = (pids: ReadonlyArray<number>) =>
    Effect.gen(function* () {
      const connection = yield* PgConnection.make({ ...options.session, connectTimeout: patienceMs })
      const limit = setTimeout(() => destroySession(connection, "no sign of life"), patienceMs)
      yield* Effect.addFinalizer(() => Effect.sync(() => clearTimeout(limit)))
      const { rows } = yield* connection.query(
        `select pid from pg_stat_activity
         where pid = any($1::int[]) and (state is null or state not in ('idle', 'idle in transaction', 'idle in transaction (aborted)'))
         union all select pg_backend_pid()`,
        [pids],
        false,
      )
      const working = new Set(rows.map((row) => Number(row.pid)))
      // Behind a pooler pids are the pooler's, and say nothing.
      return working.has(connection.processId) ? working : undefined
    }).pipe(Effect.scoped)

  const dependency = yield* outbound({
    dependency: "postgres",
    endpoint: options.endpoint,
    probe: Effect.suspend(() => ask([])),
  })
  const { circuit, policy } = dependency
  patienceMs = Duration.toMillis(policy.deadline)
  const usualLimitMs = Duration.toMillis(options.statementTimeout) + patienceMs

  const tally = new CallTally()
  yield* tally.show("postgres")
  const onTheirWay = new Set<OnItsWay>()
  const known = new Set<PgConnection.PgConnection & Inside>()
  const reserved = new WeakSet<PgConnection.PgConnection>()
  const repeatable = new WeakSet<object>()
  const runFork = Effect.runForkWith(yield* Effect.context<never>())
  let timer: NodeJS.Timeout | undefined
  let isAsking = false

  /** When the network turns out to have lost a session, those that nobody uses at this moment are not kept either. */
  const giveUp = (statement: OnItsWay, reason: string) => {
    const used = new Set([...onTheirWay].map(({ connection }) => sessionOf(connection)))
    for (const session of known) {
      if (!used.has(session) && !reserved.has(session)) destroySession(session, reason)
    }
    known.clear()
    destroySession(statement.connection, reason)
  }

  const look = (suspects: ReadonlyArray<OnItsWay>) =>
    ask(suspects.map(({ connection }) => connection.processId)).pipe(
      Effect.match({
        onFailure: () => {
          circuit.trip(Date.now(), "Postgres gives no sign of life.")
          for (const statement of suspects) giveUp(statement, "Postgres gives no sign of life.")
        },
        onSuccess: (working) => {
          for (const statement of suspects) {
            statement.misses = working?.has(statement.connection.processId) === false ? statement.misses + 1 : 0
            // Twice, because an answer may be on its way while the server is asked.
            if (statement.misses > 1) {
              giveUp(statement, "The session was lost on the network: Postgres does not work for it.")
            }
          }
        },
      }),
      Effect.ensuring(
        Effect.sync(() => {
          isAsking = false
        }),
      ),
    )

  const tick = () => {
    timer = undefined
    if (onTheirWay.size === 0) return
    const nowMs = Date.now()
    for (const session of known) {
      if (session.session?.socket.destroyed === true) known.delete(session)
    }
    const suspects: Array<OnItsWay> = []
    for (const statement of onTheirWay) {
      if (nowMs >= statement.untilMs) {
        destroySession(statement.connection, `No answer within ${(statement.untilMs - statement.sinceMs) / 1000} s.`)
      } else if (nowMs >= statement.lookAtMs) suspects.push(statement)
    }
    if (suspects.length > 0 && !isAsking) {
      isAsking = true
      for (const statement of suspects) {
        // Soon again after a miss; ever more rarely for a statement that simply takes long.
        statement.lookAtMs = nowMs + (statement.misses > 0 ? tickMs : Math.max(patienceMs, nowMs - statement.sinceMs))
      }
      runFork(look(suspects))
    }
    timer = setTimeout(tick, tickMs)
    timer.unref()
  }
  yield* Effect.addFinalizer(() => Effect.sync(() => clearTimeout(timer)))

  const run: PgGuard["run"] = (connection, sql, query) =>
    Effect.withFiber((fiber) => {
      const limit = fiber.getRef(StatementLimit)
      const sinceMs = Date.now()
      const statement: OnItsWay = {
        connection,
        sinceMs,
        untilMs: sinceMs + (limit === undefined ? usualLimitMs : Duration.toMillis(limit)),
        lookAtMs: sinceMs + patienceMs,
        misses: 0,
      }
      onTheirWay.add(statement)
      known.add(sessionOf(connection))
      if (timer === undefined) {
        timer = setTimeout(tick, tickMs)
        timer.unref()
      }
      const admission = circuit.state === "closed" ? circuit.admit(sinceMs) : undefined
      return Effect.onExitPrimitive(query, (exit) => {
        onTheirWay.delete(statement)
        const nowMs = Date.now()
        if (Exit.isSuccess(exit)) {
          if (admission !== undefined) circuit.succeed(admission)
          tally.add("ok", nowMs - sinceMs)
          return undefined
        }
        const error = Exit.findErrorOption(exit)
        if (error._tag === "None") tally.add("interrupted", nowMs - sinceMs)
        else if (!isPostgresOutage(error.value)) {
          if (admission !== undefined) circuit.succeed(admission)
          tally.add("answered", nowMs - sinceMs)
        } else {
          if (admission !== undefined) circuit.fail(admission, nowMs, sentence(error.value))
          if (isRepeatable(sql) || wasNotSent(error.value)) repeatable.add(error.value)
          known.delete(sessionOf(connection))
          tally.add("unavailable", nowMs - sinceMs)
        }
        return undefined
      })
    })

  const notOpened: PgGuard["notOpened"] = (error) => {
    if (!isPostgresOutage(error)) return
    // Nothing was sent, so a second try is safe.
    repeatable.add(error)
    const nowMs = Date.now()
    const admission = circuit.state === "closed" ? circuit.admit(nowMs) : undefined
    if (admission !== undefined) circuit.fail(admission, nowMs, sentence(error))
    tally.add("unavailable", 0)
  }

  return {
    dependency,
    run,
    repeatable,
    notOpened,
    reserve: (connection) => reserved.add(sessionOf(connection)),
    release: (connection) => reserved.delete(sessionOf(connection)),
    tally,
  }
})

/** A statement is one write and ends with the message that commits it: when the write fails, Postgres kept nothing. */
const wasNotSent = (error: SqlError.SqlError): boolean =>
  (error.reason.cause as { readonly syscall?: string } | undefined)?.syscall === "write"

const sentence = (error: SqlError.SqlError) => {
  const cause = error.reason.cause as { readonly code?: string; readonly message?: string } | undefined
  if (cause?.code === "ECONNREFUSED") return "nothing listens there."
  const text = cause?.message || error.message
  return text.endsWith(".") ? text : `${text}.`
}
