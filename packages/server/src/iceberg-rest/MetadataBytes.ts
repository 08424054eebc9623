import { encodeMetadata, IcebergTable, ObjectStore } from "@rat/lakehouse"
import { Context, Effect, Layer } from "effect"
import { refuse } from "./RestFailure.ts"
import { isInStore } from "./TableRules.ts"

/** Room for metadata files; the least recently used ones go first. */
const maxCachedBytes = 64 * 2 ** 20

/** JSON of tables' metadata as it goes into answers: cached by the immutable location, never parsed twice. */
export class MetadataBytes extends Context.Service<
  MetadataBytes,
  {
    /**
     * The file as it is, or (`refs`) with those snapshots only that a branch or tag of the table names. A file that is missing or
     * unreadable is reported by what reads it.
     */
    readonly read: (
      location: string,
      snapshots: "all" | "refs",
    ) => Effect.Effect<
      Uint8Array,
      Effect.Error<ReturnType<IcebergTable["Service"]["load"]>> | ReturnType<typeof refuse>
    >
    /** Of a file that was just written: the next reader need not ask the store. */
    readonly remember: (location: string, bytes: Uint8Array) => void
  }
>()("rat/server/iceberg-rest/MetadataBytes") {
  static readonly layer = Layer.effect(
    MetadataBytes,
    Effect.gen(function* () {
      const tables = yield* IcebergTable
      const store = yield* ObjectStore
      const cached = new Map<string, Uint8Array>()
      let cachedBytes = 0

      const keep = (key: string, bytes: Uint8Array) => {
        if (bytes.byteLength > maxCachedBytes / 8) return
        cachedBytes += bytes.byteLength - (cached.get(key)?.byteLength ?? 0)
        cached.delete(key)
        cached.set(key, bytes)
        for (const [oldest, { byteLength }] of cached) {
          if (cachedBytes <= maxCachedBytes) break
          cached.delete(oldest)
          cachedBytes -= byteLength
        }
      }

      const load = Effect.fnUntraced(function* (location: string, snapshots: "all" | "refs") {
        if (!isInStore(store, location)) {
          return yield* refuse("InternalServerError", `${location} does not lie in this server's object store.`)
        }
        // Parsed once, so that nothing but a whole metadata file ever becomes a part of an answer.
        const metadata = yield* tables.load(location)
        if (snapshots === "all") return yield* store.get(store.keyOf(location))
        const named = new Set(Object.values(metadata.refs).map(({ snapshotId }) => snapshotId))
        if (metadata.currentSnapshotId !== null) named.add(metadata.currentSnapshotId)
        return encodeMetadata({
          ...metadata,
          snapshots: metadata.snapshots.filter(({ snapshotId }) => named.has(snapshotId)),
        })
      })

      return MetadataBytes.of({
        read: Effect.fnUntraced(function* (location, snapshots) {
          const key = `${snapshots} ${location}`
          const known = cached.get(key)
          if (known !== undefined) {
            cached.delete(key) // to the end: the first one is the least recently used
            cached.set(key, known)
            return known
          }
          const bytes = yield* load(location, snapshots)
          keep(key, bytes)
          return bytes
        }),
        remember: (location, bytes) => keep(`all ${location}`, bytes),
      })
    }),
  )
}
