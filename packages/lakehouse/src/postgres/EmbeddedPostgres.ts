import { Context, Effect, Layer, Redacted, Schedule } from "effect"
import { explainPostgres, PostgresUnavailable } from "./PostgresErrors.ts"
import { type PostgresServer, startPostgres, superuser } from "./PostgresServer.ts"

/** Doubles up to 10 s; a server that keeps dying is tried for as long as the node lives. */
const restartBackoff = Schedule.min([Schedule.exponential("200 millis"), Schedule.spaced("10 seconds")]).pipe(
  Schedule.jittered,
)

/**
 * A real Postgres server in the data folder, for everybody who has none. It lives as long as the layer: stopped
 * cleanly with it, started again on the same port when it dies, and ended by a watchdog when this process is killed.
 */
export class EmbeddedPostgres extends Context.Service<
  EmbeddedPostgres,
  {
    readonly folder: string
    readonly port: number
    /** Connection URL with the generated password. Valid across restarts of the server. */
    readonly url: Redacted.Redacted
    /** Process id of the running server. */
    readonly pid: Effect.Effect<number>
  }
>()("rat/lakehouse/postgres/EmbeddedPostgres") {
  /** `folder` is the server's own, for example `<data folder>/postgres`. `isDurable: false` gives up fsync: tests only. */
  static readonly layer = (options: {
    readonly folder: string
    readonly isDurable?: boolean
  }): Layer.Layer<EmbeddedPostgres, PostgresUnavailable> =>
    Layer.effect(
      EmbeddedPostgres,
      Effect.gen(function* () {
        const { folder, isDurable = true } = options
        const start = (port?: number) =>
          Effect.tryPromise({
            try: () => startPostgres({ folder, isDurable, ...(port === undefined ? {} : { port }) }),
            catch: (cause) =>
              cause instanceof PostgresUnavailable
                ? cause
                : explainPostgres(folder, cause instanceof Error ? cause.message : String(cause)),
          }).pipe(Effect.uninterruptible)

        let server: PostgresServer = yield* Effect.acquireRelease(start(), () =>
          // The newest server, which need not be the first.
          Effect.promise(() => server.stop()),
        )
        const { port, password } = server

        let quickDeaths = 0
        const supervise = Effect.gen(function* () {
          const startedAt = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
          yield* Effect.promise(() => server.exited)
          const livedMs = (yield* Effect.clockWith((clock) => clock.currentTimeMillis)) - startedAt
          yield* Effect.logError("The embedded Postgres ended unexpectedly; starting it again").pipe(
            Effect.annotateLogs({ pid: server.pid, duration_ms: livedMs }),
          )
          // One that dies again and again at once must not be restarted in a busy loop.
          quickDeaths = livedMs < 1000 ? quickDeaths + 1 : 0
          if (quickDeaths > 1) yield* Effect.sleep(Math.min(250 * 2 ** quickDeaths, 10_000))
          server = yield* start(port).pipe(
            Effect.tapError((error) => Effect.logError(error.message)),
            Effect.retry(restartBackoff),
          )
          yield* Effect.logInfo("The embedded Postgres runs again").pipe(Effect.annotateLogs({ pid: server.pid }))
        })
        yield* Effect.forkScoped(Effect.forever(supervise))

        return EmbeddedPostgres.of({
          folder,
          port,
          url: Redacted.make(`postgres://${superuser}:${password}@127.0.0.1:${port}/postgres`, {
            label: "postgres url",
          }),
          pid: Effect.sync(() => server.pid),
        })
      }),
    )
}
