import { PgClient } from "@effect/sql-pg"
import { Context, Duration, Effect, Layer } from "effect"
import { SqlClient, SqlError } from "effect/sql"
import { PgConfig } from "./PgConfig.ts"

/** This node's sessions as Postgres sees them. */
export interface PgSessions {
  readonly max: number
  readonly active: number
  readonly idle: number
  readonly idleInTransaction: number
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
  static readonly layer: Layer.Layer<Pg | PgClient.PgClient | SqlClient.SqlClient, SqlError.SqlError, PgConfig> =
    Layer.effect(
      Pg,
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const { maxConnections, applicationName } = yield* PgConfig

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
        return Pg.of({ ping, sessions })
      }),
    ).pipe(
      Layer.provideMerge(
        Layer.unwrap(
          Effect.map(PgConfig, (config) =>
            PgClient.layer({
              ...config,
              startupParameters: {
                statement_timeout: String(Duration.toMillis(config.statementTimeout)),
                idle_in_transaction_session_timeout: String(Duration.toMillis(config.idleInTransactionTimeout)),
              },
            }),
          ),
        ),
      ),
    )
}
