import { randomUUID } from "node:crypto"
import { constants } from "node:fs"
import * as fs from "node:fs/promises"
import type { ListObjectsV2CommandOutput, S3Client } from "@aws-sdk/client-s3"
import { Duration, Effect, Layer, Option, type Scope, Semaphore, Stream } from "effect"
import { crcOfBytes, crcOfFile } from "./Crc32.ts"
import { diskFault } from "./DiskFault.ts"
import { NotAFile } from "./DurableFile.ts"
import { makeObjectCache } from "./ObjectCache.ts"
import { checkKey, checkPrefix } from "./ObjectKey.ts"
import { locationsBelow } from "./ObjectLocation.ts"
import { ObjectExists, type ObjectInfo, ObjectStore, StoreUnavailable } from "./ObjectStore.ts"
import type { StoreFault } from "./Resilience.ts"
import { connect, type S3Connection } from "./S3Connection.ts"
import { statusOf } from "./S3Fault.ts"
import type { S3Settings } from "./S3Settings.ts"
import { bodyOf, crcField, damaged, makeTransfer } from "./S3Transfer.ts"
import { sweepUploadsForever } from "./S3Uploads.ts"

/** Metadata that tells our own write from another's when its answer was lost. */
const writeField = "rat-write"
const healthKey = ".rat/health"
const defaultPartBytes = 8 << 20
/** Parts in memory at once, over all transfers: 64 MiB. */
const partsInMemory = 8
/** A part has a deadline of a minute and a few tries: whoever sends none for this long is gone. */
const abandonedAfter = Duration.minutes(10)

/** Most keys of one delete request. */
const deletePage = 1000

/**
 * How this server takes `If-None-Match: *`. Asked once, by writing a probe twice: some servers ignore the header and would
 * overwrite in silence.
 */
type Conditional = "honoured" | "ignored"

const askConditional = ({ place, sdk, send }: S3Connection) =>
  send(async (client, abortSignal): Promise<Conditional> => {
    const probe = { Bucket: place.bucket, Key: `.rat/probe-${randomUUID()}`, Body: "probe" }
    await client.send(new sdk.PutObjectCommand(probe), { abortSignal })
    try {
      await client.send(new sdk.PutObjectCommand({ ...probe, IfNoneMatch: "*" }), { abortSignal })
      return "ignored"
    } catch (thrown) {
      if (statusOf(thrown) === 501) return "ignored"
      if (statusOf(thrown) === 412) return "honoured"
      throw thrown
    } finally {
      await client
        .send(new sdk.DeleteObjectCommand({ Bucket: probe.Bucket, Key: probe.Key }), { abortSignal })
        .catch(() => {})
    }
  })

const infosOf = ({ Contents = [] }: ListObjectsV2CommandOutput): ReadonlyArray<ObjectInfo> =>
  Contents.flatMap(({ Key, LastModified, Size }) =>
    Key === undefined || Key.startsWith(".") || Key.endsWith("/")
      ? []
      : [{ key: Key, sizeBytes: Size ?? 0, modified: LastModified ?? new Date(0) }],
  )

const make = Effect.fnUntraced(function* (
  settings: S3Settings,
): Effect.fn.Return<ObjectStore["Service"], StoreUnavailable, Scope.Scope> {
  const connection = yield* connect(settings)
  const { place, resilience, sdk, send, sendFor, timeouts } = connection
  const { bucket, endpoint } = place
  const { call, circuit } = resilience
  const partBytes = settings.partBytes ?? defaultPartBytes
  yield* Effect.forkScoped(sweepUploadsForever(connection, abandonedAfter))
  const transfer = makeTransfer(connection, { partBytes, transfers: yield* Semaphore.make(partsInMemory) })
  const cache = yield* makeObjectCache({
    ...settings.cache,
    source: `${endpoint}/${bucket}`,
    waitForRoom: timeouts.data,
    fetch: transfer.download,
  })
  /** Writes with `ifAbsent`, one at a time, where the server cannot decide between them. Only this process is covered. */
  const exclusively = (yield* Semaphore.make(1)).withPermits(1)
  let conditional: Conditional | undefined

  const headOutput = (key: string) => (client: S3Client, abortSignal: AbortSignal) =>
    client.send(new sdk.HeadObjectCommand({ Bucket: bucket, Key: key }), { abortSignal })

  const putOnce = (key: string, bytes: Uint8Array, options: { readonly write: string; readonly ifAbsent: boolean }) =>
    send(async (client, abortSignal): Promise<void> => {
      await client.send(
        new sdk.PutObjectCommand({
          Bucket: bucket,
          Key: key,
          Body: bytes,
          ContentLength: bytes.length,
          Metadata: { [crcField]: crcOfBytes(bytes), [writeField]: options.write },
          ...(options.ifAbsent ? { IfNoneMatch: "*" } : {}),
        }),
        { abortSignal },
      )
    })

  const put = (key: string, bytes: Uint8Array) =>
    call({ op: "put", key, deadline: timeouts.data }, putOnce(key, bytes, { write: randomUUID(), ifAbsent: false }))

  const putIfAbsent = Effect.fnUntraced(function* (
    key: string,
    bytes: Uint8Array,
  ): Effect.fn.Return<void, ObjectExists | StoreUnavailable> {
    conditional ??= yield* call({ op: "probe", key, deadline: timeouts.metadata }, askConditional(connection))
    const write = randomUUID()
    const storedBy: Effect.Effect<string | undefined, StoreFault> = sendFor(key, headOutput(key)).pipe(
      Effect.map((found) => found.Metadata?.[writeField] ?? "somebody else"),
      Effect.catchTag("ObjectNotFound", () => Effect.succeed(undefined)),
    )
    type Decided = Effect.Effect<void, ObjectExists | StoreFault>
    const exists: Decided = Effect.fail(new ObjectExists({ key }))
    const decide: Decided = Effect.flatMap(storedBy, (by) =>
      by === undefined ? putOnce(key, bytes, { write, ifAbsent: false }) : by === write ? Effect.void : exists,
    )
    const asked: Decided = putOnce(key, bytes, { write, ifAbsent: true }).pipe(
      Effect.catchIf(
        ({ cause }) => statusOf(cause) === 412,
        // An earlier try may have written it, with its answer lost.
        () => Effect.flatMap(storedBy, (by) => (by === write ? Effect.void : exists)),
      ),
    )
    const options = { op: "put", key, deadline: timeouts.data }
    yield* conditional === "honoured" ? call(options, asked) : exclusively(call(options, decide))
  })

  const get = (key: string) =>
    call(
      { op: "get", key, deadline: timeouts.data },
      sendFor(key, async (client, abortSignal) => {
        const output = await client.send(new sdk.GetObjectCommand({ Bucket: bucket, Key: key }), { abortSignal })
        const bytes = await bodyOf(output, abortSignal)
        const expected = output.Metadata?.[crcField]
        if (expected !== undefined && expected !== crcOfBytes(bytes)) throw damaged("The checksum does not match")
        return bytes
      }),
    )

  const measure = (key: string, path: string) =>
    Effect.tryPromise({
      try: async () => {
        if (!(await fs.lstat(path)).isFile()) throw new NotAFile()
        return crcOfFile(path)
      },
      catch: (cause) => new StoreUnavailable({ key, reason: diskFault(path, cause).reason, cause }),
    })

  const ensureBucket = (key: string) =>
    call({ op: "open", key, deadline: timeouts.metadata, retries: 1 }, connection.ensureBucket)
  // A store that is away must not keep the platform from starting: it is reported as not ready until it is back.
  let bucketIsKnown = yield* ensureBucket(bucket).pipe(
    Effect.as(true),
    Effect.catch(({ reason }) =>
      Effect.as(
        Effect.logWarning("Object store cannot be used yet").pipe(Effect.annotateLogs({ endpoint, reason })),
        false,
      ),
    ),
  )

  return ObjectStore.of({
    kind: "s3",
    ...locationsBelow(`s3://${bucket}/`),
    circuit,
    get: (key) => Effect.andThen(checkKey(key), get(key)),
    head: (key) =>
      Effect.andThen(
        checkKey(key),
        call({ op: "head", key, deadline: timeouts.metadata }, sendFor(key, headOutput(key))).pipe(
          Effect.map((found) => ({
            key,
            sizeBytes: found.ContentLength ?? 0,
            modified: found.LastModified ?? new Date(0),
          })),
        ),
      ),
    put: (key, bytes, { ifAbsent = false } = {}) =>
      Effect.andThen(checkKey(key), ifAbsent ? putIfAbsent(key, bytes) : put(key, bytes)),
    prepare: () => Effect.void,
    putFile: Effect.fnUntraced(function* (key, localPath) {
      yield* checkKey(key)
      const file = yield* measure(key, localPath)
      if (file.sizeBytes > partBytes) yield* transfer.upload(key, localPath, file)
      else {
        const bytes = yield* Effect.tryPromise({
          try: () => fs.readFile(localPath, { flag: constants.O_RDONLY | constants.O_NOFOLLOW }),
          catch: (cause) => new StoreUnavailable({ key, reason: diskFault(localPath, cause).reason, cause }),
        })
        yield* put(key, bytes)
      }
      // The tests of the run and the next queries read it here.
      yield* cache.adopt(key, { ...file, path: localPath })
    }),
    list: (prefix) =>
      Stream.unwrap(
        Effect.as(
          checkPrefix(prefix),
          Stream.paginate(undefined as string | undefined, (token) =>
            call(
              { op: "list", key: prefix, deadline: timeouts.metadata },
              send((client, abortSignal) =>
                client.send(
                  new sdk.ListObjectsV2Command({
                    Bucket: bucket,
                    Prefix: prefix,
                    ...(token === undefined ? {} : { ContinuationToken: token }),
                  }),
                  { abortSignal },
                ),
              ),
            ).pipe(
              Effect.map(
                (page) =>
                  [
                    infosOf(page),
                    page.IsTruncated ? Option.fromUndefinedOr(page.NextContinuationToken) : Option.none(),
                  ] as const,
              ),
            ),
          ),
        ),
      ),
    remove: Effect.fnUntraced(function* (keys) {
      yield* Effect.forEach(keys, checkKey, { discard: true })
      const pages = Array.from({ length: Math.ceil(keys.length / deletePage) }, (_, index) =>
        keys.slice(index * deletePage, (index + 1) * deletePage),
      )
      yield* Effect.forEach(
        pages,
        (page) =>
          call(
            { op: "remove", key: page[0]!, deadline: timeouts.metadata },
            send(async (client, abortSignal) => {
              const Objects = page.map((Key) => ({ Key }))
              const { Errors = [] } = await client.send(
                new sdk.DeleteObjectsCommand({ Bucket: bucket, Delete: { Objects, Quiet: true } }),
                { abortSignal },
              )
              const refused = Errors.find(({ Code }) => Code !== "NoSuchKey")
              if (refused !== undefined) throw Object.assign(new Error(refused.Message), { name: refused.Code })
            }),
          ),
        { discard: true },
      )
      yield* Effect.forEach(keys, cache.forget, { discard: true })
    }),
    localPath: (key) => Effect.andThen(checkKey(key), cache.path(key)),
    health: Effect.gen(function* () {
      if (!bucketIsKnown) {
        yield* ensureBucket(bucket)
        bucketIsKnown = true
      }
      yield* call(
        { op: "health", key: healthKey, deadline: timeouts.metadata, retries: 0 },
        send(async (client, abortSignal) => {
          const probe = { Bucket: bucket, Key: healthKey }
          await client.send(new sdk.PutObjectCommand({ ...probe, Body: "rat" }), { abortSignal })
          await bodyOf(await client.send(new sdk.GetObjectCommand(probe), { abortSignal }), abortSignal)
        }),
      )
      return { circuit: yield* circuit }
    }),
  })
})

export const S3Store = {
  /** Starts also when the store is away; `health` says so. Fails when the folder for local copies cannot be used. */
  layer: (settings: S3Settings): Layer.Layer<ObjectStore, StoreUnavailable> =>
    Layer.effect(ObjectStore, make(settings)),
}
