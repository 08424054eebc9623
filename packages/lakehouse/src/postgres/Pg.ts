import { PgClient, PgConnection } from "@effect/sql-pg"
import { Context, Duration, Effect, Layer, Redacted, Schedule } from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import { untilReconnected } from "../outbound/Backoff.ts"
import { Outbound } from "../outbound/Outbound.ts"
import { makeGuardedClient } from "./GuardedClient.ts"
import { PgConfig } from "./PgConfig.ts"
import { StatementLimit } from "./PgGuard.ts"
import { PostgresUnreachable } from "./PostgresErrors.ts"
import { isPostgresOutage } from "./PostgresOutage.ts"

/** This node's sessions as Postgres sees them. */
export interface PgSessions {
  readonly max: number
  readonly active: number
  readonly idle: number
  readonly idleInTransaction: number
}

const causeOf = (error: SqlError.SqlError) => error.reason.cause as { code?: string; message?: string } | undefined

const reasonOf = (error: SqlError.SqlError) => {
  const cause = causeOf(error)
  if (cause?.code === "ECONNREFUSED") return "nothing listens there"
  if (cause?.code === "ENOTFOUND" || cause?.code === "EAI_AGAIN") return "there is no machine of that name"
  return cause?.message || error.message
}

/** Host, port and database; no user, no password. */
const addressOf = (url: Redacted.Redacted) => {
  const { hostname, port, pathname } = new URL(Redacted.value(url))
  return `${hostname || "localhost"}:${port || 5432}${pathname}`
}

const unreachable = (url: Redacted.Redacted) => (error: SqlError.SqlError) =>
  new PostgresUnreachable({ address: addressOf(url), reason: reasonOf(error) })

/**
 * The pool of sessions. Types: int8 arrives as bigint, numeric as string, timestamptz as Date, jsonb parsed. Sessions
 * that die are replaced when next needed.
 */
export class Pg extends Context.Service<
  Pg,
  {
    /** Fails when Postgres gives no sign of life in time; the answer is its round trip in milliseconds. */
    readonly ping: Effect.Effect<number, SqlError.SqlError>
    /** For metrics; asks Postgres, so call it when somebody reads them. */
    readonly sessions: Effect.Effect<PgSessions, SqlError.SqlError>
  }
>()("rat/lakehouse/postgres/Pg") {
  /** Waits a few seconds for a Postgres that is just starting. */
  static readonly layer: Layer.Layer<Pg | PgClient.PgClient | SqlClient.SqlClient, PostgresUnreachable, PgConfig> =
    Layer.effect(
      Pg,
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const { maxConnections, applicationName } = yield* PgConfig

        const { policies } = yield* Outbound
        const ping = Effect.timed(sql`select 1`).pipe(
          Effect.map(([duration]) => Duration.toMillis(duration)),
          Effect.provideService(StatementLimit, policies.postgres.deadline),
        )

        const sessions = sql<{ state: string | null; count: bigint }>`
          select state, count(*) as count
          from pg_stat_activity
          where application_name = ${applicationName} and datname = current_database()
          group by state`.pipe(
          Effect.map((rows) => {
            const count = (prefix: string) =>
              rows.reduce((sum, row) => (row.state?.startsWith(prefix) ? sum + Number(row.count) : sum), 0)
            const idleInTransaction = count("idle in transaction")
            return {
              max: maxConnections,
              active: count("active"),
              idle: count("idle") - idleInTransaction,
              idleInTransaction,
            }
          }),
        )

        return Pg.of({ ping, sessions })
      }),
    ).pipe(
      Layer.provideMerge(
        PgClient.layerFrom(
          Effect.gen(function* () {
            const config = yield* PgConfig
            const session = {
              ...config,
              startupParameters: {
                statement_timeout: String(Duration.toMillis(config.statementTimeout)),
                idle_in_transaction_session_timeout: String(Duration.toMillis(config.idleInTransactionTimeout)),
              },
            }
            // Not from the pool, whose circuit would tell what it thinks of Postgres instead of what Postgres says.
            yield* PgConnection.make(session).pipe(
              Effect.scoped,
              Effect.retry({
                schedule: Schedule.upTo(untilReconnected, { duration: config.connectTimeout }),
                while: isPostgresOutage,
              }),
              Effect.mapError(unreachable(config.url)),
            )
            return yield* makeGuardedClient({ ...session, endpoint: addressOf(config.url) }).pipe(
              Effect.mapError(unreachable(config.url)),
            )
          }),
        ),
      ),
    )
}
