import { Clock, Duration, Effect, Schedule } from "effect"
import type { StoreFault } from "./Resilience.ts"
import type { S3Connection } from "./S3Connection.ts"
import { nameOf, statusOf } from "./S3Fault.ts"

/** Often enough that what a killed node left costs nothing worth mentioning. */
const interval = Duration.minutes(1)

/**
 * Ends uploads in parts whose sender is gone: a killed process cannot, and nobody sees their parts, which are paid for all the
 * same. One without a new part for `idle` is nobody's: a part has a deadline and few retries. Every node does it; ending one twice
 * is no error.
 */
export const sweepUploads = (connection: S3Connection, idle: Duration.Duration): Effect.Effect<number, StoreFault> => {
  const { place, sdk, send } = connection
  const { bucket } = place
  return Effect.gen(function* () {
    const before = (yield* Clock.currentTimeMillis) - Duration.toMillis(idle)
    const isOld = (date: Date | undefined) => date !== undefined && date.getTime() < before
    const { Uploads = [] } = yield* send((client, abortSignal) =>
      client.send(new sdk.ListMultipartUploadsCommand({ Bucket: bucket }), { abortSignal }),
    )
    let ended = 0
    for (const { Key, UploadId, Initiated } of Uploads) {
      if (Key === undefined || UploadId === undefined || !isOld(Initiated)) continue
      const target = { Bucket: bucket, Key, UploadId }
      yield* send(async (client, abortSignal) => {
        try {
          // Parts come back by number, not by time.
          for (let marker: string | undefined; ; ) {
            const page = await client.send(
              new sdk.ListPartsCommand({ ...target, ...(marker === undefined ? {} : { PartNumberMarker: marker }) }),
              { abortSignal },
            )
            if (page.Parts?.some(({ LastModified }) => !isOld(LastModified)) === true) return
            if (page.IsTruncated !== true || page.NextPartNumberMarker === undefined) break
            marker = page.NextPartNumberMarker
          }
          await client.send(new sdk.AbortMultipartUploadCommand(target), { abortSignal })
          ended++
        } catch (thrown) {
          // Completed or ended meanwhile.
          if (nameOf(thrown) !== "NoSuchUpload" && statusOf(thrown) !== 404) throw thrown
        }
      })
    }
    return ended
  })
}

/** Does it now and then, until interrupted. A server that lists no uploads, or lets us not, keeps them: its own rules have to. */
export const sweepUploadsForever = (connection: S3Connection, idle: Duration.Duration): Effect.Effect<void> =>
  sweepUploads(connection, idle).pipe(
    Effect.tap((ended) =>
      ended === 0
        ? Effect.void
        : Effect.logInfo("Ended uploads that a node had left").pipe(Effect.annotateLogs({ uploads: ended })),
    ),
    Effect.catch((fault) => Effect.logDebug("Uploads that nodes left could not be looked for", fault)),
    Effect.withTracerEnabled(false),
    Effect.repeat(Schedule.spaced(interval).pipe(Schedule.jittered)),
    Effect.delay(interval),
  )
