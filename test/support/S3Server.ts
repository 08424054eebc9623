import { Effect, type Scope } from "effect"
import { startFauxqs } from "fauxqs"

/** What a node needs in its environment to keep its objects in the S3 server at this address. */
export const s3Environment = (endpoint: string): Readonly<Record<string, string>> => ({
  S3_ENDPOINT: endpoint,
  S3_BUCKET: "rat",
  S3_ACCESS_KEY: "test",
  S3_SECRET_KEY: "test",
})

/** A server of the S3 protocol on a free loopback port, empty at the start; answers with its URL. It neither checks checksums nor honours If-None-Match. */
export const s3Server: Effect.Effect<string, never, Scope.Scope> = Effect.acquireRelease(
  Effect.promise(() => startFauxqs({ port: 0, host: "127.0.0.1", logger: false })),
  (started) => Effect.promise(() => started.stop()),
).pipe(Effect.map(({ port }) => `http://127.0.0.1:${port}`))
