import { chmodSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statfsSync, writeFileSync } from "node:fs"
import { join, resolve } from "node:path"
import { Context, Effect, Layer, Schedule } from "effect"
import { DataFolderInUse, DataFolderNewer, DataFolderUnusable, explainFolder } from "./DataFolderErrors.ts"
import { heartbeatMs, takeFolderLock } from "./FolderLock.ts"

/** Everything that may lie in a data folder. Another file means that the folder is somebody's home, not ours. */
const parts = ["postgres", "store", "slots", "cache", "tmp"] as const
const isOurs = (name: string) =>
  (parts as ReadonlyArray<string>).includes(name) || /^(version|rat\.lock)(\..*)?$/.test(name)

const lowDiskBytes = 2 * 1024 ** 3

/** Major and minor version. A patch never changes what is in a data folder. */
const release = (version: string): readonly [number, number] | undefined => {
  const match = /^(\d+)\.(\d+)\.\d+/.exec(version.trim())
  return match === null ? undefined : [Number(match[1]), Number(match[2])]
}

const isNewer = (a: readonly [number, number], b: readonly [number, number]) =>
  a[0] > b[0] || (a[0] === b[0] && a[1] > b[1])

/**
 * The folder that holds everything a server keeps. One server at a time: `rat.lock` says which. `version` names the
 * RAT that used it last.
 */
export class DataFolder extends Context.Service<
  DataFolder,
  {
    /** Absolute. */
    readonly path: string
    readonly postgres: string
    readonly store: string
    readonly slots: string
    readonly cache: string
    /** Files of requests that are being answered; emptied at each start. */
    readonly tmp: string
    /** Tells those who want the folder too where this server listens. */
    readonly announce: (listening: string) => Effect.Effect<void>
  }
>()("rat/server/node/DataFolder") {
  /** `version` is this program's. The folder is held until the layer's scope closes. */
  static readonly layer = (options: {
    readonly path: string
    readonly version: string
  }): Layer.Layer<DataFolder, DataFolderInUse | DataFolderNewer | DataFolderUnusable> =>
    Layer.effect(
      DataFolder,
      Effect.gen(function* () {
        const path = resolve(options.path)
        const attempt = <A>(act: () => A) => Effect.try({ try: act, catch: (cause) => explainFolder(path, cause) })

        yield* attempt(() => mkdirSync(path, { recursive: true, mode: 0o700 }))
        const foreign = (yield* attempt(() => readdirSync(path))).find((name) => !isOurs(name))
        if (foreign !== undefined) {
          return yield* new DataFolderUnusable({
            folder: path,
            reason: `it already holds other things, such as "${foreign}"`,
            advice: "Use an empty or new folder with --data.",
          })
        }
        yield* checkVersion(path, options.version)

        const lock = yield* Effect.acquireRelease(
          Effect.tryPromise({
            try: () => takeFolderLock(path, join(path, "rat.lock")),
            catch: (cause) => (cause instanceof DataFolderInUse ? cause : explainFolder(path, cause)),
          }),
          (lock) => Effect.sync(lock.release),
        )
        yield* attempt(lock.touch).pipe(Effect.ignore, Effect.repeat(Schedule.spaced(heartbeatMs)), Effect.forkScoped)

        // Postgres must not run as root, so root's folder lets other users pass, not look.
        const isRoot = process.getuid?.() === 0
        yield* attempt(() => {
          chmodSync(path, isRoot ? 0o711 : 0o700)
          for (const part of parts) {
            mkdirSync(join(path, part), { recursive: true, mode: part === "postgres" && isRoot ? 0o711 : 0o700 })
          }
          // What a server that was killed left there; its slots may be ending just now.
          for (const part of ["slots", "tmp"]) {
            for (const name of readdirSync(join(path, part))) {
              rmSync(join(path, part, name), { recursive: true, force: true, maxRetries: 10, retryDelay: 50 })
            }
          }
          writeFileSync(join(path, "version.new"), `${options.version}\n`)
          renameSync(join(path, "version.new"), join(path, "version"))
        })

        const { bavail, bsize } = yield* attempt(() => statfsSync(path))
        if (bavail * bsize < lowDiskBytes) {
          yield* Effect.logWarning(
            "The disk of the data folder is nearly full; runs write new files before old ones go",
          ).pipe(Effect.annotateLogs({ folder: path, free_bytes: bavail * bsize }))
        }

        return DataFolder.of({
          path,
          postgres: join(path, "postgres"),
          store: join(path, "store"),
          slots: join(path, "slots"),
          cache: join(path, "cache"),
          tmp: join(path, "tmp"),
          announce: (listening) => attempt(() => lock.announce(listening)).pipe(Effect.ignore({ log: "Warn" })),
        })
      }),
    )
}

const checkVersion = (path: string, version: string) =>
  Effect.gen(function* () {
    const wroteIt = yield* Effect.try({
      try: () => readFileSync(join(path, "version"), "utf8").trim(),
      catch: (cause) => cause as NodeJS.ErrnoException,
    }).pipe(
      Effect.catch((cause) =>
        cause.code === "ENOENT" ? Effect.succeed(undefined) : Effect.fail(explainFolder(path, cause)),
      ),
    )
    if (wroteIt === undefined) return
    const theirs = release(wroteIt)
    const ours = release(version)
    if (theirs === undefined) {
      return yield* new DataFolderUnusable({
        folder: path,
        reason: `its file "version" says "${wroteIt.slice(0, 40)}", which is no version of RAT`,
        advice: "Restore that file from a backup, or use another folder with --data.",
      })
    }
    if (ours !== undefined && isNewer(theirs, ours))
      return yield* new DataFolderNewer({ folder: path, wroteIt, version })
  })
