import { SignatureV4 } from "@smithy/signature-v4"
import { Effect, type Scope } from "effect"
import { clientCredentials, type S3Settings } from "./S3Settings.ts"

/** A request to S3 as it is signed: `url` is sent as it stands. */
export interface SignableRequest {
  readonly method: string
  readonly url: URL
  /** Without `host` and `authorization`. */
  readonly headers: Readonly<Record<string, string>>
}

/** Signs requests of others with the store's own credentials (AWS Signature Version 4). A signature is good for 15 minutes. */
export interface S3Signer {
  readonly bucket: string
  readonly region: string
  /** URL of the server, addressed in path style; null: AWS. */
  readonly endpoint: string | null
  /** All headers to send, `authorization` included. */
  readonly sign: (request: SignableRequest) => Effect.Effect<Readonly<Record<string, string>>, Error>
}

/** Credentials are the settings' or, without any, what the machine offers. What a request may do is the caller's question. */
export const makeS3Signer = Effect.fnUntraced(function* (
  settings: S3Settings,
): Effect.fn.Return<S3Signer, never, Scope.Scope> {
  const { bucket, endpoint, region } = settings
  // 200 ms to load, which nobody pays who stores files.
  const sdk = yield* Effect.promise(() => import("@aws-sdk/client-s3"))
  const client = yield* Effect.acquireRelease(
    Effect.sync(
      () =>
        new sdk.S3Client({
          region,
          ...clientCredentials(settings),
        }),
    ),
    (opened) => Effect.sync(() => opened.destroy()),
  )
  const signer = new SignatureV4({
    service: "s3",
    region,
    credentials: () => client.config.credentials(),
    sha256: client.config.sha256,
    uriEscapePath: false, // S3 signs the path as it is sent
    applyChecksum: false,
  })
  return {
    bucket,
    region,
    endpoint: endpoint ?? null,
    sign: ({ headers, method, url }) =>
      Effect.tryPromise({
        try: async () => {
          const query: Record<string, Array<string>> = {}
          for (const [name, value] of url.searchParams) {
            query[name] = [...(query[name] ?? []), value]
          }
          const signed = await signer.sign({
            method,
            protocol: url.protocol,
            hostname: url.hostname,
            ...(url.port === "" ? {} : { port: Number(url.port) }),
            path: url.pathname,
            query,
            // The body is not here: the client's hash stands for it, or nothing does.
            headers: { "x-amz-content-sha256": "UNSIGNED-PAYLOAD", ...headers, host: url.host },
          })
          const { host: _, ...sent } = signed.headers
          return sent
        },
        catch: (error) => error as Error,
      }),
  }
})
