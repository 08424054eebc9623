import { Context, Effect, Layer } from "effect"
import { startFauxqs } from "fauxqs"

/** A server of the S3 protocol on a free loopback port, empty at the start. It neither checks checksums nor honours If-None-Match. */
export class S3Server extends Context.Service<
  S3Server,
  {
    readonly endpoint: string
    /** What a process needs in its environment to use it. */
    readonly environment: Readonly<Record<string, string>>
  }
>()("rat/test/support/S3Server") {
  static readonly layer = Layer.effect(
    S3Server,
    Effect.gen(function* () {
      const server = yield* Effect.acquireRelease(
        Effect.promise(() => startFauxqs({ port: 0, host: "127.0.0.1", logger: false })),
        (started) => Effect.promise(() => started.stop()),
      )
      const endpoint = `http://127.0.0.1:${server.port}`
      return S3Server.of({
        endpoint,
        environment: { S3_ENDPOINT: endpoint, S3_BUCKET: "rat", S3_ACCESS_KEY: "test", S3_SECRET_KEY: "test" },
      })
    }),
  )
}
