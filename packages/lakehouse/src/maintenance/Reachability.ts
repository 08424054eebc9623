import { Effect, Stream } from "effect"
import { decodeManifest } from "../iceberg/Manifest.ts"
import { decodeManifestList, hasLiveFiles, type ManifestFile } from "../iceberg/ManifestList.ts"
import { decodeMetadata } from "../iceberg/MetadataJson.ts"
import { TableCorrupt } from "../iceberg/TableCorrupt.ts"
import type { TableMetadata } from "../iceberg/TableMetadata.ts"
import { ObjectStore, type StoreUnavailable } from "../store/ObjectStore.ts"
import { KeySet } from "./KeySet.ts"
import { storeKey } from "./StoreKey.ts"

/** Objects read at the same time. */
const readsAtOnce = 16

/** What the roots of the catalog lead to. */
export interface Reachable {
  /** Whether something points to the object of this key, or may do so for all that is known. */
  readonly isLive: (key: string) => boolean
  /** Whether this location was a root, or is something that a root needs. */
  readonly has: (location: string) => boolean
  readonly objects: number
  /** Metadata that could not be read. Everything in the folders of their tables counts as live. */
  readonly unreadable: ReadonlyArray<{ readonly location: string; readonly reason: string }>
}

const statisticsPaths = (metadata: TableMetadata): ReadonlyArray<string> =>
  [...(metadata.statistics ?? []), ...(metadata.partitionStatistics ?? [])].flatMap((file) => {
    const path = (file as { readonly "statistics-path"?: unknown })["statistics-path"]
    return typeof path === "string" ? [path] : []
  })

/** Folder of a table by the location of one of its files: what is before `/metadata/` or `/data/`. */
const folderOf = (location: string): string => {
  const at = Math.max(location.lastIndexOf("/metadata/"), location.lastIndexOf("/data/"))
  return at === -1 ? location.slice(0, location.lastIndexOf("/")) : location.slice(0, at)
}

/**
 * Walks from metadata files to everything that they need (Iceberg spec, "Table Metadata": older metadata files of the log, the
 * manifest lists of all snapshots, their manifests, data, delete and Puffin files, statistics). Each object is read once, however
 * many branches and versions share it: they are immutable. Memory: 16 to 50 bytes an object.
 *
 * `tables` are metadata files of tables: those of every ref and of every version that can be restored. `objects` are other
 * locations that are needed as they are (metadata files of views).
 *
 * A metadata, list or manifest that is missing or broken makes its table unreadable: nothing of its folder may be removed, and
 * the others go on. An outage of the store ends the walk.
 */
export const reachableFrom = Effect.fn("Reachability.reachableFrom")(function* <E>(roots: {
  readonly tables: Stream.Stream<string, E>
  readonly objects?: Stream.Stream<string, E>
}) {
  const store = yield* ObjectStore
  const live = new KeySet()
  /** Names of files whose location is not in this store, or is not spelled as we know it. */
  const foreignNames = new KeySet()
  const guarded = new Set<string>()
  const unreadable: Array<{ location: string; reason: string }> = []

  const mark = (location: string): boolean => {
    const key = storeKey(store, location)
    if (key !== null) return live.add(key)
    return foreignNames.add(location.slice(location.lastIndexOf("/") + 1))
  }
  const read = Effect.fnUntraced(function* (location: string) {
    const key = storeKey(store, location)
    if (key === null) return yield* new TableCorrupt({ location, reason: "it is not in this object store" })
    return yield* store.get(key)
  })
  const guard = (location: string, reason: string, folders: ReadonlyArray<string>) => {
    unreadable.push({ location, reason })
    for (const folder of folders) {
      const key = storeKey(store, folder)
      if (key !== null) guarded.add(`${key}/`)
    }
  }
  /** An outage passes; what is wrong with the object itself does not. */
  const guarding = <A, R>(
    location: string,
    folders: ReadonlyArray<string>,
    effect: Effect.Effect<A, TableCorrupt | StoreUnavailable | import("../store/ObjectStore.ts").ObjectNotFound, R>,
  ): Effect.Effect<A | null, StoreUnavailable, R> =>
    Effect.catchTag(effect, ["TableCorrupt", "ObjectNotFound"], (error) =>
      Effect.sync(() => {
        guard(location, error.message, folders)
        return null
      }),
    )

  const walkManifest = Effect.fnUntraced(function* (metadata: TableMetadata, line: ManifestFile) {
    const bytes = yield* read(line.path)
    if (bytes.length < line.lengthBytes) {
      return yield* new TableCorrupt({ location: line.path, reason: "it is truncated" })
    }
    const entries = yield* decodeManifest(line.path, bytes, line.partitionSpecId, metadata)
    for (const { file, status } of entries) if (status !== "deleted") mark(file.filePath)
  })

  const walkTable = Effect.fnUntraced(function* (location: string) {
    if (!mark(location)) return
    const folders = [folderOf(location)]
    const metadata = yield* guarding(
      location,
      folders,
      Effect.flatMap(read(location), (bytes) => decodeMetadata(location, bytes)),
    )
    if (metadata === null) return
    folders.push(metadata.location)
    for (const { metadataFile } of metadata.metadataLog) markLogged(metadataFile)
    for (const path of statisticsPaths(metadata)) mark(path)
    const lists = metadata.snapshots.filter(({ manifestList }) => mark(manifestList))
    yield* Effect.forEach(
      lists,
      ({ manifestList }) =>
        Effect.gen(function* () {
          const lines = yield* guarding(
            manifestList,
            [...folders, folderOf(manifestList)],
            Effect.flatMap(read(manifestList), (bytes) => decodeManifestList(manifestList, bytes)),
          )
          const fresh = (lines ?? []).filter((line) => mark(line.path) && hasLiveFiles(line))
          yield* Effect.forEach(
            fresh,
            (line) => guarding(line.path, [...folders, folderOf(line.path)], walkManifest(metadata, line)),
            { discard: true, concurrency: readsAtOnce },
          )
        }),
      { discard: true, concurrency: 4 },
    )
  })

  /** Files of the metadata log are kept but not followed; one that is a root as well must still be walked. */
  const logged = new KeySet()
  const markLogged = (location: string) => {
    const key = storeKey(store, location)
    if (key !== null) logged.add(key)
  }

  yield* Stream.runForEach(roots.objects ?? Stream.empty, (location) => Effect.sync(() => mark(location)))
  yield* Stream.runDrain(Stream.mapEffect(roots.tables, walkTable, { concurrency: readsAtOnce, unordered: true }))

  const folders = [...guarded]
  return {
    isLive: (key) =>
      live.has(key) ||
      logged.has(key) ||
      folders.some((folder) => key.startsWith(folder)) ||
      foreignNames.has(key.slice(key.lastIndexOf("/") + 1)),
    has: (location) => {
      const key = storeKey(store, location)
      return key === null ? foreignNames.has(location.slice(location.lastIndexOf("/") + 1)) : live.has(key)
    },
    objects: live.size,
    unreadable,
  } satisfies Reachable as Reachable
})
