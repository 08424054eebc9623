import { constants } from "node:fs"
import * as fs from "node:fs/promises"
import type { CompletedPart, GetObjectCommandOutput } from "@aws-sdk/client-s3"
import { Effect, type Semaphore } from "effect"
import { crcOfBytes, crcOfFile } from "./Crc32.ts"
import { diskFault } from "./DiskFault.ts"
import type { Fetched } from "./ObjectCache.ts"
import { type ObjectNotFound, StoreUnavailable } from "./ObjectStore.ts"
import { StoreFault } from "./Resilience.ts"
import type { S3Connection } from "./S3Connection.ts"
import { nameOf, statusOf } from "./S3Fault.ts"

/** Metadata of each object that this store writes: CRC32 of its bytes, checked by whoever reads it, whatever the server does. */
export const crcField = "rat-crc32"

export interface Transfer {
  /** Sends a file in parts, several at a time; nothing is left of it on failure. */
  readonly upload: (key: string, path: string, file: Fetched) => Effect.Effect<void, StoreUnavailable>
  /** Fetches an object into a file in parts, several at a time. The file is written after `reserve` granted the size. */
  readonly download: (
    key: string,
    target: string,
    reserve: (sizeBytes: number) => Effect.Effect<void, StoreUnavailable>,
  ) => Effect.Effect<Fetched, ObjectNotFound | StoreUnavailable>
}

const mostParts = 10_000
const partsAtOnce = 4

export const damaged = (what: string) =>
  new StoreFault({ reason: `${what}. It was damaged on the way or in the store.`, transient: true, outage: false })

/** The body of an answer, whole. A body that ends early or hangs past the deadline is a failed try. */
export const bodyOf = async (output: GetObjectCommandOutput, signal: AbortSignal): Promise<Uint8Array> => {
  const body = output.Body
  if (body === undefined) return new Uint8Array()
  // The SDK stops listening to the signal once the headers are there.
  const stop = () => (body as { readonly destroy?: () => void }).destroy?.()
  signal.addEventListener("abort", stop, { once: true })
  try {
    const bytes = await body.transformToByteArray()
    if (output.ContentLength !== undefined && bytes.length !== output.ContentLength) {
      throw damaged(`${bytes.length} of ${output.ContentLength} bytes arrived`)
    }
    return bytes
  } finally {
    signal.removeEventListener("abort", stop)
  }
}

const openFile = (key: string, path: string, flags: number) =>
  Effect.acquireRelease(
    Effect.tryPromise({
      try: () => fs.open(path, flags, 0o600),
      catch: (cause) => new StoreUnavailable({ key, reason: diskFault(path, cause).reason, cause }),
    }),
    (handle) => Effect.promise(() => handle.close()),
  )

/** `transfers` bounds the parts in memory over all transfers; each holds `partBytes` (more for objects over 10,000 parts). */
export const makeTransfer = (
  connection: S3Connection,
  options: { readonly partBytes: number; readonly transfers: Semaphore.Semaphore },
): Transfer => {
  const { place, resilience, sdk, send, sendFor, timeouts } = connection
  const { bucket } = place
  const one = options.transfers.withPermits(1)

  const upload: Transfer["upload"] = Effect.fnUntraced(function* (key, path, { sizeBytes, crc32 }) {
    const partBytes = Math.max(options.partBytes, Math.ceil(sizeBytes / mostParts))
    const count = Math.ceil(sizeBytes / partBytes)
    const handle = yield* openFile(key, path, constants.O_RDONLY | constants.O_NOFOLLOW)
    const metadata = { op: "put_file", key, deadline: timeouts.metadata }
    const target = { Bucket: bucket, Key: key }

    const sendPart = (uploadId: string, number: number) =>
      one(
        resilience.call(
          { op: "put_part", key, deadline: timeouts.data },
          send(async (client, abortSignal): Promise<CompletedPart> => {
            const offset = (number - 1) * partBytes
            const part = Buffer.allocUnsafe(Math.min(partBytes, sizeBytes - offset))
            const { bytesRead } = await handle.read(part, 0, part.length, offset)
            if (bytesRead !== part.length) throw damaged("The local file became shorter while it was sent")
            const { ETag, ChecksumCRC32 } = await client.send(
              new sdk.UploadPartCommand({ ...target, UploadId: uploadId, PartNumber: number, Body: part }),
              { abortSignal },
            )
            return { PartNumber: number, ETag, ChecksumCRC32 }
          }),
        ),
      )

    /** Whether the store has the object as a whole: the answer to a completion whose answer was lost. */
    const isThere = (client: import("@aws-sdk/client-s3").S3Client, abortSignal: AbortSignal) =>
      client
        .send(new sdk.HeadObjectCommand(target), { abortSignal })
        .then((found) => found.ContentLength === sizeBytes && found.Metadata?.[crcField] === crc32)

    yield* Effect.acquireUseRelease(
      resilience.call(
        metadata,
        send((client, abortSignal) =>
          client.send(new sdk.CreateMultipartUploadCommand({ ...target, Metadata: { [crcField]: crc32 } }), {
            abortSignal,
          }),
        ),
      ),
      ({ UploadId = "" }) =>
        Effect.forEach(
          Array.from({ length: count }, (_, index) => index + 1),
          (number) => sendPart(UploadId, number),
          { concurrency: partsAtOnce },
        ).pipe(
          Effect.flatMap((parts) =>
            resilience.call(
              // The server may have to assemble many parts: more than a metadata call.
              { ...metadata, deadline: timeouts.data },
              send(async (client, abortSignal) => {
                try {
                  await client.send(
                    new sdk.CompleteMultipartUploadCommand({ ...target, UploadId, MultipartUpload: { Parts: parts } }),
                    { abortSignal },
                  )
                } catch (thrown) {
                  if (nameOf(thrown) !== "NoSuchUpload") throw thrown
                }
                if (!(await isThere(client, abortSignal))) throw damaged("The object is not what was sent")
              }),
            ),
          ),
        ),
      ({ UploadId }, exit) =>
        exit._tag === "Success"
          ? Effect.void
          : send((client, abortSignal) =>
              client.send(new sdk.AbortMultipartUploadCommand({ ...target, UploadId }), { abortSignal }),
            ).pipe(Effect.timeoutOption(timeouts.metadata), Effect.ignore),
    )
  }, Effect.scoped)

  const download: Transfer["download"] = Effect.fnUntraced(function* (key, target, reserve) {
    const { partBytes } = options
    const call = { op: "get_file", key, deadline: timeouts.data }
    const range = (start: number, size: number) => `bytes=${start}-${start + size - 1}`

    // The first part tells size, version and checksum: small objects take one request.
    const first = yield* one(
      resilience.call(
        call,
        sendFor(key, async (client, abortSignal) => {
          const ask = (Range?: string) =>
            client.send(
              new sdk.GetObjectCommand({ Bucket: bucket, Key: key, ...(Range === undefined ? {} : { Range }) }),
              {
                abortSignal,
              },
            )
          const output = await ask(range(0, partBytes)).catch((thrown) => {
            if (statusOf(thrown) !== 416) throw thrown
            return ask() // an empty object has no first byte to ask for
          })
          const bytes = await bodyOf(output, abortSignal)
          const total = Number(output.ContentRange?.split("/")[1] ?? bytes.length)
          const expected = output.Metadata?.[crcField]
          if (total === bytes.length && expected !== undefined && expected !== crcOfBytes(bytes)) {
            throw damaged("The checksum does not match")
          }
          return { bytes, total, etag: output.ETag, crc32: expected }
        }),
      ),
    )
    yield* reserve(first.total)
    const handle = yield* openFile(key, target, constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY)
    const write = (bytes: Uint8Array, position: number) =>
      Effect.tryPromise({
        try: () => handle.write(bytes, 0, bytes.length, position),
        catch: (cause) => new StoreUnavailable({ key, reason: diskFault(target, cause).reason, cause }),
      })
    yield* write(first.bytes, 0)
    const starts = Array.from(
      { length: Math.ceil((first.total - first.bytes.length) / partBytes) },
      (_, index) => first.bytes.length + index * partBytes,
    )
    yield* Effect.forEach(
      starts,
      (start) =>
        one(
          resilience
            .call(
              call,
              sendFor(key, async (client, abortSignal) => {
                const size = Math.min(partBytes, first.total - start)
                const output = await client.send(
                  // Parts of two versions must not be mixed.
                  new sdk.GetObjectCommand({
                    Bucket: bucket,
                    Key: key,
                    Range: range(start, size),
                    IfMatch: first.etag,
                  }),
                  { abortSignal },
                )
                const bytes = await bodyOf(output, abortSignal)
                if (bytes.length !== size) throw damaged(`${bytes.length} of ${size} bytes of a part arrived`)
                return bytes
              }),
            )
            .pipe(Effect.flatMap((bytes) => write(bytes, start))),
        ),
      { concurrency: partsAtOnce, discard: true },
    )
    const found =
      starts.length === 0
        ? { sizeBytes: first.bytes.length, crc32: crcOfBytes(first.bytes) }
        : yield* Effect.tryPromise({
            try: () => crcOfFile(target),
            catch: (cause) => new StoreUnavailable({ key, reason: diskFault(target, cause).reason, cause }),
          })
    if (first.crc32 !== undefined && first.crc32 !== found.crc32) {
      const { reason } = damaged(`its checksum is ${found.crc32} and should be ${first.crc32}`)
      return yield* new StoreUnavailable({ key, reason })
    }
    return found
  }, Effect.scoped)

  return { upload, download }
}
