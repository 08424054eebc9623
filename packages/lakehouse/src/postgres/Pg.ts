import { PgClient } from "@effect/sql-pg"
import { Context, Duration, Effect, Layer, Redacted, Schedule } from "effect"
import { SqlClient, SqlError } from "effect/sql"
import { PgConfig } from "./PgConfig.ts"
import { PostgresUnreachable } from "./PostgresErrors.ts"
import { postgresCode } from "./PostgresOutage.ts"

/** This node's sessions as Postgres sees them. */
export interface PgSessions {
  readonly max: number
  readonly active: number
  readonly idle: number
  readonly idleInTransaction: number
}

const causeOf = (error: SqlError.SqlError) => error.reason.cause as { code?: string; message?: string } | undefined

/** 57P03: the server is up and says that it is not ready yet. */
const isStarting = (error: SqlError.SqlError) => postgresCode(error) === "57P03"

const reasonOf = (error: SqlError.SqlError) => {
  const cause = causeOf(error)
  if (cause?.code === "ECONNREFUSED") return "nothing listens there"
  if (cause?.code === "ENOTFOUND" || cause?.code === "EAI_AGAIN") return "there is no machine of that name"
  return cause?.message || error.message
}

const unreachable = (url: Redacted.Redacted) => (error: SqlError.SqlError) => {
  const { hostname, port, pathname } = new URL(Redacted.value(url))
  return new PostgresUnreachable({
    address: `${hostname || "localhost"}:${port || 5432}${pathname}`,
    reason: reasonOf(error),
  })
}

/**
 * The pool of sessions. Types: int8 arrives as bigint, numeric as string, timestamptz as Date, jsonb parsed. Sessions
 * that die are replaced when next needed.
 */
export class Pg extends Context.Service<
  Pg,
  {
    /** Fails within two seconds when Postgres does not answer; the answer is its round trip in milliseconds. */
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
        const { url, maxConnections, applicationName } = yield* PgConfig

        const ping = Effect.timed(sql`select 1`).pipe(
          Effect.map(([duration]) => Duration.toMillis(duration)),
          Effect.timeoutOrElse({
            duration: "2 seconds",
            orElse: () =>
              Effect.fail(
                new SqlError.SqlError({
                  reason: new SqlError.ConnectionError({
                    cause: new Error("no answer within 2 s"),
                    message: "Postgres did not answer within 2 s",
                    operation: "ping",
                  }),
                }),
              ),
          }),
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

        yield* ping.pipe(
          Effect.retry({
            schedule: Schedule.spaced("200 millis"),
            times: 25,
            while: (error) => error.reason._tag === "ConnectionError" || isStarting(error),
          }),
          Effect.mapError(unreachable(url)),
        )
        return Pg.of({ ping, sessions })
      }),
    ).pipe(
      Layer.provideMerge(
        PgClient.layerFrom(
          Effect.gen(function* () {
            const config = yield* PgConfig
            return yield* PgClient.make({
              ...config,
              startupParameters: {
                statement_timeout: String(Duration.toMillis(config.statementTimeout)),
                idle_in_transaction_session_timeout: String(Duration.toMillis(config.idleInTransactionTimeout)),
              },
            }).pipe(Effect.mapError(unreachable(config.url)))
          }),
        ),
      ),
    )
}
