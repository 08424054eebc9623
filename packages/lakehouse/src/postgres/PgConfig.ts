import { hostname } from "node:os"
import { Config, Context, Duration, Effect, Layer, Redacted } from "effect"
import { EmbeddedPostgres } from "./EmbeddedPostgres.ts"
import { DatabaseUrlInvalid, type PostgresUnavailable } from "./PostgresErrors.ts"

/** The pool's limits. Names and defaults of the variables are the ancestor's where it had them. */
export interface PgPoolSettings {
  /** DB_MAX_CONNS, 25: most sessions this node opens. */
  readonly maxConnections: number
  /** DB_MIN_CONNS, 5: sessions kept open when idle. */
  readonly minConnections: number
  /** DB_MAX_CONN_LIFETIME, 1 hour: a session is replaced after this. */
  readonly connectionTTL: Duration.Duration
  /** DB_MAX_CONN_IDLE_TIME, 30 minutes: a session above the minimum is closed after this. */
  readonly idleTimeout: Duration.Duration
  /** DB_HEALTH_CHECK_PERIOD, 10 seconds: idle sessions are probed (TCP keepalive; listeners by an empty statement) this often. */
  readonly keepAlive: Duration.Duration
  /** DB_CONNECT_TIMEOUT, 5 seconds: longest wait for a session, a new one or one that comes free. */
  readonly connectTimeout: Duration.Duration
  /** DB_STATEMENT_TIMEOUT, 30 seconds: Postgres cancels a statement of the pool after this. */
  readonly statementTimeout: Duration.Duration
  /** DB_IDLE_IN_TRANSACTION_TIMEOUT, 1 minute: a transaction whose node hangs loses its locks after this. */
  readonly idleInTransactionTimeout: Duration.Duration
}

export const PgPoolSettings: Config.Config<PgPoolSettings> = Config.all({
  maxConnections: Config.Int("DB_MAX_CONNS").pipe(Config.withDefault(25)),
  minConnections: Config.Int("DB_MIN_CONNS").pipe(Config.withDefault(5)),
  connectionTTL: Config.Duration("DB_MAX_CONN_LIFETIME").pipe(Config.withDefault(Duration.hours(1))),
  idleTimeout: Config.Duration("DB_MAX_CONN_IDLE_TIME").pipe(Config.withDefault(Duration.minutes(30))),
  keepAlive: Config.Duration("DB_HEALTH_CHECK_PERIOD").pipe(Config.withDefault(Duration.seconds(10))),
  connectTimeout: Config.Duration("DB_CONNECT_TIMEOUT").pipe(Config.withDefault(Duration.seconds(5))),
  statementTimeout: Config.Duration("DB_STATEMENT_TIMEOUT").pipe(Config.withDefault(Duration.seconds(30))),
  idleInTransactionTimeout: Config.Duration("DB_IDLE_IN_TRANSACTION_TIMEOUT").pipe(
    Config.withDefault(Duration.minutes(1)),
  ),
})

/** Where Postgres is and how many sessions this node may use. */
export class PgConfig extends Context.Service<
  PgConfig,
  PgPoolSettings & {
    readonly url: Redacted.Redacted
    /** Tells this node's sessions from other nodes' in `pg_stat_activity`. */
    readonly applicationName: string
  }
>()("rat/lakehouse/postgres/PgConfig") {
  /** The Postgres of DATABASE_URL, or else one of our own in `folder`. */
  static readonly layer = (
    folder: string,
  ): Layer.Layer<PgConfig, Config.ConfigError | DatabaseUrlInvalid | PostgresUnavailable> =>
    Layer.unwrap(
      Effect.gen(function* () {
        const given = Redacted.value(
          yield* Config.Redacted("DATABASE_URL").pipe(Config.withDefault(Redacted.make(""))),
        ).trim()
        if (given === "") {
          return Layer.unwrap(Effect.map(EmbeddedPostgres, ({ url }) => PgConfig.layerUrl(url))).pipe(
            Layer.provide(EmbeddedPostgres.layer({ folder })),
          )
        }
        if (!URL.canParse(given) || !/^postgres(ql)?:$/.test(new URL(given).protocol)) {
          return yield* new DatabaseUrlInvalid()
        }
        return PgConfig.layerUrl(Redacted.make(given, { label: "postgres url" }))
      }),
    )

  static readonly layerUrl = (url: Redacted.Redacted): Layer.Layer<PgConfig, Config.ConfigError> =>
    Layer.effect(
      PgConfig,
      Effect.map(PgPoolSettings, (settings) =>
        PgConfig.of({ ...settings, url, applicationName: `rat/${hostname()}/${process.pid}`.slice(0, 63) }),
      ),
    )
}
