import { randomUUID } from "node:crypto"
import { lstatSync } from "node:fs"
import * as fs from "node:fs/promises"
import { dirname, join, resolve } from "node:path"
import { Duration, Effect, Layer, Option, Schedule, type Scope, Stream } from "effect"
import { diskFault } from "./DiskFault.ts"
import { makeFolder, takeOverFile, writeFile } from "./DurableFile.ts"
import { checkKey, checkPrefix, compareKeys } from "./ObjectKey.ts"
import { locationsBelow } from "./ObjectLocation.ts"
import { ObjectExists, type ObjectInfo, ObjectNotFound, ObjectStore, type StoreUnavailable } from "./ObjectStore.ts"
import { makeResilience, type StoreFault, type StoreTimeouts } from "./Resilience.ts"

export interface FileStoreOptions {
  /** Folder of the objects; made when missing. The object `a/b` is the file `<root>/a/b`, read-only. */
  readonly root: string
  readonly timeouts?: StoreTimeouts
}

/** Below the root and never listed: files that are being written. */
const temporaryFolder = ".tmp"
/** Whoever has not written to one for this long has died: a write that waits for the disk has a deadline. */
const temporaryLifetimeMs = Duration.toMillis("2 minutes")
const sweepInterval = "30 seconds"
const listPage = 256
/** Slowest disk that a large file is waited for. */
const slowestBytesPerSecond = 10_000_000

interface Entry {
  readonly key: string
  readonly isFolder: boolean
}

const codeOf = (cause: unknown) => (cause as NodeJS.ErrnoException).code ?? ""
const isMissing = (cause: unknown) => ["ENOENT", "ENOTDIR", "EISDIR"].includes(codeOf(cause))

/** Removes the folders above a removed object that became empty, up to the root. */
const prune = async (root: string, folder: string): Promise<void> => {
  for (let empty = folder; empty.length > root.length; empty = dirname(empty)) {
    try {
      await fs.rmdir(empty)
    } catch {
      return // not empty, or somebody was faster
    }
  }
}

const readFolder = async (root: string, folder: string): Promise<ReadonlyArray<Entry>> => {
  const found = await fs.readdir(join(root, folder), { withFileTypes: true }).catch((cause) => {
    if (isMissing(cause)) return []
    throw cause
  })
  return found
    .filter((entry) => (entry.isFile() || entry.isDirectory()) && !(folder === "" && entry.name.startsWith(".")))
    .map((entry) => ({ key: folder + entry.name + (entry.isDirectory() ? "/" : ""), isFolder: entry.isDirectory() }))
}

const infoOf = async (root: string, key: string): Promise<ObjectInfo | undefined> => {
  const stats = await fs.stat(join(root, key)).catch((cause) => {
    if (isMissing(cause)) return undefined
    throw cause
  })
  return stats?.isFile() === true ? { key, sizeBytes: stats.size, modified: stats.mtime } : undefined
}

/** Bytes of a file that was just written, for a deadline; where there is none, whoever opens it says so. */
const sizeOf = (path: string): number => {
  try {
    return lstatSync(path).size
  } catch {
    return 0
  }
}

const removeLeftovers = async (folder: string): Promise<void> => {
  const now = Date.now()
  for (const name of await fs.readdir(folder)) {
    const path = join(folder, name)
    const stats = await fs.stat(path).catch(() => undefined)
    if (stats !== undefined && now - stats.mtimeMs > temporaryLifetimeMs) await fs.rm(path, { force: true })
  }
}

const make = Effect.fnUntraced(function* (
  options: FileStoreOptions,
): Effect.fn.Return<ObjectStore["Service"], StoreUnavailable, Scope.Scope> {
  const root = resolve(options.root)
  const { call, circuit, timeouts } = yield* makeResilience({ endpoint: `file:${root}`, timeouts: options.timeouts })
  const { metadata, data } = timeouts
  const pathOf = (key: string) => join(root, key)
  const temporary = () => join(root, temporaryFolder, randomUUID())

  const disk = <A>(step: () => Promise<A>): Effect.Effect<A, StoreFault> =>
    Effect.tryPromise({ try: step, catch: (cause) => diskFault(root, cause) })
  const reading = <A>(key: string, step: () => Promise<A>): Effect.Effect<A, ObjectNotFound | StoreFault> =>
    Effect.tryPromise({
      try: step,
      catch: (cause) => (isMissing(cause) ? new ObjectNotFound({ key }) : diskFault(root, cause)),
    })
  yield* call(
    { op: "open", key: root, deadline: metadata },
    disk(() => makeFolder(join(root, temporaryFolder))),
  )
  // Again and again: what a killed process left a minute ago is too young at its successor's start.
  yield* Effect.forkScoped(
    Effect.ignore(disk(() => removeLeftovers(join(root, temporaryFolder)))).pipe(
      Effect.repeat(Schedule.spaced(sweepInterval)),
    ),
  )

  const head = (key: string) =>
    Effect.andThen(
      checkKey(key),
      call(
        { op: "head", key, deadline: metadata },
        Effect.flatMap(
          reading(key, () => infoOf(root, key)),
          (info) => (info === undefined ? Effect.fail(new ObjectNotFound({ key })) : Effect.succeed(info)),
        ),
      ),
    )

  /** Next page of the walk: the last entry of `pending` comes first, so folders are opened depth first, in key order. */
  const walk = async (pending: Array<Entry>, prefix: string) => {
    const keys: Array<string> = []
    for (let entry = pending.pop(); entry !== undefined; entry = pending.pop()) {
      if (entry.isFolder) {
        const children = (await readFolder(root, entry.key)).filter(
          // Above the prefix's last slash only the way to it matters; below it everything does.
          ({ key }) => key.startsWith(prefix),
        )
        pending.push(...children.sort((left, right) => compareKeys(right.key, left.key)))
      } else keys.push(entry.key)
      if (keys.length >= listPage) break
    }
    const infos = await Promise.all(keys.map((key) => infoOf(root, key)))
    return infos.filter((info) => info !== undefined) // removed in the meantime
  }

  return ObjectStore.of({
    kind: "file",
    ...locationsBelow(`file://${root}/`),
    circuit,
    get: (key) =>
      Effect.andThen(
        checkKey(key),
        call(
          { op: "get", key, deadline: data },
          reading(key, () => fs.readFile(pathOf(key))),
        ),
      ),
    head,
    put: (key, bytes, { ifAbsent = false } = {}) =>
      Effect.andThen(
        checkKey(key),
        call(
          { op: "put", key, deadline: data },
          Effect.flatMap(
            disk(() => writeFile({ bytes, temporary: temporary(), target: pathOf(key), ifAbsent })),
            (written) => (written ? Effect.void : Effect.fail(new ObjectExists({ key }))),
          ),
        ),
      ),
    prepare: (folder) =>
      Effect.andThen(
        checkKey(folder),
        call(
          { op: "put", key: folder, deadline: metadata },
          disk(() => makeFolder(pathOf(folder))),
        ),
      ),
    putFile: (key, localPath) =>
      Effect.gen(function* () {
        yield* checkKey(key)
        const size = sizeOf(localPath)
        // Not tried again: after a failed fsync the kernel may have dropped what it could not write.
        yield* call(
          {
            op: "put_file",
            key,
            deadline: Duration.sum(data, Duration.seconds(size / slowestBytesPerSecond)),
            retries: 0,
          },
          disk(() => takeOverFile({ source: localPath, temporary: temporary(), target: pathOf(key) })),
        )
      }),
    list: (prefix) =>
      Stream.unwrap(
        Effect.as(
          checkPrefix(prefix),
          Stream.suspend(() => {
            const folder = prefix.slice(0, prefix.lastIndexOf("/") + 1)
            return Stream.paginate([{ key: folder, isFolder: true }] as Array<Entry>, (pending) =>
              Effect.map(
                call(
                  { op: "list", key: prefix, deadline: metadata },
                  Effect.suspend(() => {
                    const rest = [...pending] // a try that fails half way must not lose entries
                    return Effect.map(
                      disk(() => walk(rest, prefix)),
                      (infos) => ({ infos, rest }),
                    )
                  }),
                ),
                ({ infos, rest }) => [infos, rest.length > 0 ? Option.some(rest) : Option.none()] as const,
              ),
            )
          }),
        ),
      ),
    remove: (keys) =>
      Effect.forEach(
        keys,
        (key) =>
          Effect.andThen(
            checkKey(key),
            call(
              { op: "remove", key, deadline: metadata },
              disk(async () => {
                await fs.rm(pathOf(key), { force: true })
                await prune(root, dirname(pathOf(key)))
              }),
            ),
          ),
        { concurrency: 16, discard: true },
      ),
    localPath: (key) => Effect.as(head(key), pathOf(key)),
    health: Effect.suspend(() => {
      const probe = temporary()
      return call(
        { op: "health", key: root, deadline: metadata, retries: 0 },
        disk(async () => {
          await writeFile({
            bytes: new TextEncoder().encode("rat"),
            temporary: temporary(),
            target: probe,
            ifAbsent: false,
          })
          await fs.readFile(probe)
          await fs.rm(probe)
        }),
      )
    }).pipe(Effect.andThen(Effect.map(circuit, (state) => ({ circuit: state })))),
  })
})

export const FileStore = {
  /** Fails when the folder cannot be made or written, with a sentence that says why. */
  layer: (options: FileStoreOptions): Layer.Layer<ObjectStore, StoreUnavailable> =>
    Layer.effect(ObjectStore, make(options)),
}
