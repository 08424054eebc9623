import type { S3Client } from "@aws-sdk/client-s3"
import { Effect, type Scope } from "effect"
import { ObjectNotFound } from "./ObjectStore.ts"
import { makeResilience, type Resilience, type StoreFault, type StoreTimeouts } from "./Resilience.ts"
import { isMissingObject, nameOf, type S3Place, s3Fault } from "./S3Fault.ts"
import { clientCredentials, type S3Settings } from "./S3Settings.ts"

type Sdk = typeof import("@aws-sdk/client-s3")

/** A client of one bucket, with its circuit. */
export interface S3Connection {
  readonly sdk: Sdk
  readonly place: S3Place
  readonly timeouts: StoreTimeouts
  readonly resilience: Resilience
  /** One try. `step` must end soon after its signal fires. */
  readonly send: <A>(step: (client: S3Client, signal: AbortSignal) => Promise<A>) => Effect.Effect<A, StoreFault>
  /** As `send`, where a missing object is an answer. */
  readonly sendFor: <A>(
    key: string,
    step: (client: S3Client, signal: AbortSignal) => Promise<A>,
  ) => Effect.Effect<A, StoreFault | ObjectNotFound>
  /** Makes the bucket when it does not exist. One try. */
  readonly ensureBucket: Effect.Effect<void, StoreFault>
}

export const connect = Effect.fnUntraced(function* (
  settings: S3Settings,
): Effect.fn.Return<S3Connection, never, Scope.Scope> {
  const { bucket, endpoint, region } = settings
  // 200 ms to load, which nobody pays who stores files.
  const sdk = yield* Effect.promise(() => import("@aws-sdk/client-s3"))
  const client = yield* Effect.acquireRelease(
    Effect.sync(
      () =>
        new sdk.S3Client({
          region,
          ...(endpoint === undefined ? {} : { endpoint, forcePathStyle: true }),
          ...clientCredentials(settings),
          maxAttempts: 1, // retries are ours: with a deadline each and a circuit around them
        }),
    ),
    (opened) => Effect.sync(() => opened.destroy()),
  )
  const place: S3Place = {
    endpoint: endpoint === undefined ? `s3.${region}.amazonaws.com` : new URL(endpoint).host,
    bucket,
    region,
  }
  const resilience = yield* makeResilience({
    endpoint: place.endpoint,
    timeouts: settings.timeouts,
    limits: settings.limits,
  })

  const send: S3Connection["send"] = (step) =>
    Effect.tryPromise({ try: (signal) => step(client, signal), catch: (thrown) => s3Fault(place, thrown) })
  const sendFor: S3Connection["sendFor"] = (key, step) =>
    Effect.tryPromise({
      try: (signal) => step(client, signal),
      catch: (thrown) => (isMissingObject(thrown) ? new ObjectNotFound({ key }) : s3Fault(place, thrown)),
    })

  const ensureBucket = send(async (_, abortSignal) => {
    try {
      await client.send(new sdk.HeadBucketCommand({ Bucket: bucket }), { abortSignal })
    } catch (thrown) {
      if (!isMissingObject(thrown) && nameOf(thrown) !== "NoSuchBucket") throw thrown
      const location = region as import("@aws-sdk/client-s3").BucketLocationConstraint
      await client
        .send(
          new sdk.CreateBucketCommand({
            Bucket: bucket,
            // AWS wants no constraint for its first region.
            ...(region === "us-east-1" ? {} : { CreateBucketConfiguration: { LocationConstraint: location } }),
          }),
          { abortSignal },
        )
        .catch((refused) => {
          if (nameOf(refused) !== "BucketAlreadyOwnedByYou") throw refused // another node was faster
        })
    }
  })

  return { sdk, place, timeouts: resilience.timeouts, resilience, send, sendFor, ensureBucket }
})
