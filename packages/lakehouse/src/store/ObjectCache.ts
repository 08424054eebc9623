import { createHash, randomUUID } from "node:crypto"
import * as fs from "node:fs/promises"
import { join } from "node:path"
import { Deferred, Duration, Effect, type Scope } from "effect"
import { crcOfFile } from "./Crc32.ts"
import { diskFault } from "./DiskFault.ts"
import { type ObjectNotFound, StoreUnavailable } from "./ObjectStore.ts"
import { countCacheLookup, setCacheBytes } from "./StoreMetrics.ts"

/**
 * Local copies of immutable objects. Invariants: a copy gets its name only when it is complete; the bytes of all copies
 * and of the downloads under way stay within `maxBytes`; a copy that somebody holds is not evicted; one download per key
 * at a time. Copies survive a restart: their names carry size and CRC32, checked before the first use, so a copy that
 * the machine's crash tore is not used.
 */
export interface ObjectCache {
  /** Path of the copy, fetched when missing; held until the scope closes. */
  readonly path: (key: string) => Effect.Effect<string, ObjectNotFound | StoreUnavailable, Scope.Scope>
  /** Makes a complete local file the copy of a key (it is moved), if there is room without waiting. */
  readonly adopt: (
    key: string,
    file: { readonly path: string; readonly sizeBytes: number; readonly crc32: string },
  ) => Effect.Effect<void>
  /** The object was removed: drop the copy unless somebody holds it. */
  readonly forget: (key: string) => Effect.Effect<void>
}

export interface Fetched {
  readonly sizeBytes: number
  readonly crc32: string
}

export interface ObjectCacheOptions {
  readonly folder: string
  readonly maxBytes: number
  /** How long a download waits for others to let go of their copies when the cache is full of held ones. */
  readonly waitForRoom: Duration.Duration
  /** Tells apart objects of the same key in different stores. */
  readonly source: string
  /** Writes the whole object to `target`, after `reserve` granted its size. Bounded in time by itself. */
  readonly fetch: (
    key: string,
    target: string,
    reserve: (sizeBytes: number) => Effect.Effect<void, StoreUnavailable>,
  ) => Effect.Effect<Fetched, ObjectNotFound | StoreUnavailable>
}

interface Copy {
  readonly path: string
  readonly sizeBytes: number
  readonly crc32: string
  holders: number
  /** False for copies found at the start, until their bytes were checked. */
  checked: boolean
  touchedAt: number
}

type Failure = ObjectNotFound | StoreUnavailable

interface Flight {
  /** Callers that will hold the copy; it lands with this many holders. */
  waiting: number
  readonly landed: Deferred.Deferred<Copy, Failure>
  copy?: Copy
}

/** What a download took off the bytes of the cache, given back when the copy does not come to be. */
interface Budget {
  bytes: number
}

const partSuffix = ".part"
/** Uses are noted in the file's times for the next start, but not each of them. */
const touchEveryMs = Duration.toMillis("10 minutes")

const parseName = (
  name: string,
): { readonly id: string; readonly sizeBytes: number; readonly crc32: string } | undefined => {
  const match = /^([0-9a-f]{64})-(\d+)-([0-9a-f]{8})-[0-9a-f-]{36}$/.exec(name)
  return match === null ? undefined : { id: match[1]!, sizeBytes: Number(match[2]), crc32: match[3]! }
}

export const makeObjectCache = Effect.fnUntraced(function* (
  options: ObjectCacheOptions,
): Effect.fn.Return<ObjectCache, StoreUnavailable, Scope.Scope> {
  const { folder, maxBytes } = options
  const scope = yield* Effect.scope
  /** Least recently used first. */
  const copies = new Map<string, Copy>()
  const flights = new Map<string, Flight>()
  /** Downloads that wait for room; woken whenever somebody lets go of a copy. */
  const waiters = new Set<Deferred.Deferred<void>>()
  let usedBytes = 0

  const idOf = (key: string) => createHash("sha256").update(`${options.source}/${key}`).digest("hex")
  // A name of its own for each copy: an old one may still be on its way out when the next one of its key comes in.
  const freshPath = (id: string, { sizeBytes, crc32 }: Fetched) =>
    join(folder, `${id}-${sizeBytes}-${crc32}-${randomUUID()}`)
  const unavailable = (key: string) => (cause: unknown) =>
    new StoreUnavailable({ key, reason: diskFault(folder, cause).reason, cause })
  const disk = <A>(key: string, step: () => Promise<A>) => Effect.tryPromise({ try: step, catch: unavailable(key) })

  const showUsed = Effect.suspend(() => setCacheBytes(usedBytes))

  /** Its bytes count until they are gone from the disk. */
  const drop = (id: string, copy: Copy) =>
    Effect.suspend(() => {
      copies.delete(id)
      return Effect.ignore(disk(copy.path, () => fs.rm(copy.path, { force: true })))
    }).pipe(
      Effect.andThen(
        Effect.suspend(() => {
          usedBytes -= copy.sizeBytes
          return showUsed
        }),
      ),
      Effect.uninterruptible,
    )

  /** Takes the bytes off the budget, evicting what nobody holds. */
  const tryReserve = Effect.fnUntraced(function* (budget: Budget, bytes: number) {
    for (const [id, copy] of copies) {
      if (usedBytes + bytes <= maxBytes) break
      if (copy.holders === 0 && !flights.has(id)) yield* drop(id, copy)
    }
    if (usedBytes + bytes > maxBytes) return false
    usedBytes += bytes
    budget.bytes += bytes
    return true
  })

  const tooSmall = (key: string, bytes: number) =>
    new StoreUnavailable({
      key,
      reason: `its local copy needs ${bytes} bytes, and the cache of ${maxBytes} bytes is full of copies in use. Raise S3_CACHE_BYTES.`,
    })

  const reserve = (key: string, budget: Budget, bytes: number): Effect.Effect<void, StoreUnavailable> =>
    Effect.suspend(() => {
      if (bytes > maxBytes) return Effect.fail(tooSmall(key, bytes))
      const woken = Deferred.makeUnsafe<void>()
      waiters.add(woken) // before looking for room, so that no release falls in between
      return tryReserve(budget, bytes).pipe(
        Effect.tap((granted) => (granted ? Effect.void : Deferred.await(woken))),
        Effect.ensuring(Effect.sync(() => waiters.delete(woken))),
        Effect.flatMap((granted) => (granted ? showUsed : reserve(key, budget, bytes))),
      )
    })

  const release = (copy: Copy) =>
    Effect.suspend(() => {
      copy.holders -= 1
      return Effect.forEach(waiters, (woken) => Deferred.succeed(woken, undefined), { discard: true })
    })

  const download = (id: string, key: string) =>
    Effect.suspend(() => {
      const target = join(folder, randomUUID() + partSuffix)
      const budget: Budget = { bytes: 0 }
      const grant = (bytes: number) =>
        Effect.timeoutOrElse(reserve(key, budget, bytes), {
          duration: options.waitForRoom,
          orElse: () => Effect.fail(tooSmall(key, bytes)),
        })
      return options.fetch(key, target, grant).pipe(
        Effect.flatMap((fetched) => {
          const path = freshPath(id, fetched)
          return disk(key, async (): Promise<Copy> => {
            await fs.chmod(target, 0o444)
            await fs.rename(target, path)
            return { ...fetched, path, holders: 0, checked: true, touchedAt: Date.now() }
          })
        }),
        Effect.onError(() =>
          Effect.suspend(() => {
            usedBytes -= budget.bytes
            return Effect.andThen(showUsed, Effect.ignore(disk(key, () => fs.rm(target, { force: true }))))
          }),
        ),
      )
    })

  /** A copy from before the restart, if its bytes are what its name says. */
  const recheck = (id: string, copy: Copy) =>
    Effect.tryPromise(() => crcOfFile(copy.path)).pipe(
      Effect.map((found) => found.crc32 === copy.crc32 && found.sizeBytes === copy.sizeBytes),
      Effect.orElseSucceed(() => false),
      Effect.tap((isIntact) =>
        isIntact
          ? Effect.sync(() => {
              copy.checked = true
            })
          : drop(id, copy),
      ),
    )

  const fly = (id: string, key: string, flight: Flight) =>
    Effect.suspend(() => {
      const old = copies.get(id)
      return old === undefined
        ? download(id, key)
        : Effect.flatMap(recheck(id, old), (isIntact) => (isIntact ? Effect.succeed(old) : download(id, key)))
    }).pipe(
      Effect.onExit((exit) =>
        Effect.suspend(() => {
          flights.delete(id)
          if (exit._tag === "Success") {
            exit.value.holders += flight.waiting
            flight.copy = exit.value
            copies.set(id, exit.value)
          }
          return Deferred.done(flight.landed, exit)
        }),
      ),
      Effect.forkIn(scope),
    )

  const touch = (copy: Copy) => {
    const now = Date.now()
    if (now - copy.touchedAt < touchEveryMs) return Effect.void
    copy.touchedAt = now
    return Effect.ignore(disk(copy.path, () => fs.utimes(copy.path, now / 1000, now / 1000)))
  }

  /** The copy, with the caller counted as a holder. Uninterruptible but for the waiting, which `restore` wraps. */
  const hold = (
    id: string,
    key: string,
    restore: (wait: Effect.Effect<Copy, Failure>) => Effect.Effect<Copy, Failure>,
  ): Effect.Effect<Copy, Failure> =>
    Effect.suspend(() => {
      const copy = copies.get(id)
      if (copy?.checked === true) {
        copy.holders += 1
        copies.delete(id)
        copies.set(id, copy)
        return Effect.as(countCacheLookup("hit"), copy)
      }
      const known = flights.get(id)
      const flight: Flight = known ?? { waiting: 0, landed: Deferred.makeUnsafe() }
      flight.waiting += 1
      if (known === undefined) flights.set(id, flight)
      return countCacheLookup("miss").pipe(
        Effect.andThen(known === undefined ? fly(id, key, flight) : Effect.void),
        Effect.andThen(restore(Deferred.await(flight.landed))),
        Effect.onInterrupt(() =>
          Effect.suspend(() => {
            if (flight.copy !== undefined) return release(flight.copy) // it landed with this caller as a holder
            flight.waiting -= 1
            return Effect.void
          }),
        ),
      )
    })

  yield* disk(folder, () => fs.mkdir(folder, { recursive: true }))
  const found = yield* disk(folder, async () => {
    const known: Array<{ readonly id: string; readonly copy: Copy }> = []
    for (const name of await fs.readdir(folder)) {
      const parsed = parseName(name)
      const path = join(folder, name)
      if (parsed === undefined) {
        if (name.endsWith(partSuffix)) await fs.rm(path, { force: true })
        continue
      }
      const { mtimeMs } = await fs.stat(path)
      known.push({ id: parsed.id, copy: { ...parsed, path, holders: 0, checked: false, touchedAt: mtimeMs } })
    }
    return known.sort((left, right) => left.copy.touchedAt - right.copy.touchedAt)
  })
  for (const { id, copy } of found) {
    const older = copies.get(id)
    usedBytes += copy.sizeBytes
    if (older !== undefined) yield* drop(id, older)
    copies.set(id, copy)
  }
  yield* tryReserve({ bytes: 0 }, 0) // the limit may be lower than it was
  yield* showUsed

  return {
    path: (key) =>
      Effect.uninterruptibleMask((restore) =>
        Effect.gen(function* () {
          const copy = yield* hold(idOf(key), key, restore)
          yield* Effect.addFinalizer(() => release(copy))
          yield* touch(copy)
          return copy.path
        }),
      ),
    adopt: (key, file) =>
      Effect.gen(function* () {
        const id = idOf(key)
        const budget: Budget = { bytes: 0 }
        if (copies.has(id) || flights.has(id) || !(yield* tryReserve(budget, file.sizeBytes))) return
        const path = freshPath(id, file)
        yield* disk(key, async () => {
          await fs.chmod(file.path, 0o444)
          await fs.rename(file.path, path)
        }).pipe(
          Effect.onError(() =>
            Effect.sync(() => {
              usedBytes -= budget.bytes
            }),
          ),
        )
        copies.set(id, { ...file, path, holders: 0, checked: true, touchedAt: Date.now() })
        yield* showUsed
      }).pipe(Effect.uninterruptible, Effect.ignore), // only a head start: without it the next reader downloads
    forget: (key) =>
      Effect.suspend(() => {
        const id = idOf(key)
        const copy = copies.get(id)
        return copy !== undefined && copy.holders === 0 && !flights.has(id) ? drop(id, copy) : Effect.void
      }),
  }
})
