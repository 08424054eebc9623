import { Cache, Clock, Context, Effect, Exit, Layer } from "effect"
import { type ObjectNotFound, ObjectStore, type StoreUnavailable } from "../store/ObjectStore.ts"
import type { DataFile } from "./DataFile.ts"
import { decodeManifest, inherit, type ManifestEntry } from "./Manifest.ts"
import { decodeManifestList, hasLiveFiles, type ManifestFile } from "./ManifestList.ts"
import { decodeMetadata } from "./MetadataJson.ts"
import { type BaseSnapshot, planCommit, totalsOf, totalsOfSummary } from "./TableCommit.ts"
import { TableCorrupt } from "./TableCorrupt.ts"
import type { TableMetadata, Schema as TableSchema } from "./TableMetadata.ts"

type ReadError = ObjectNotFound | StoreUnavailable | TableCorrupt

/** What a commit made. `metadataLocation` is what the catalog must point to. */
export interface TableCommit {
  readonly metadataLocation: string
  readonly metadata: TableMetadata
  readonly snapshotId: bigint
  readonly totalRecords: number
  readonly totalSizeBytes: number
}

interface CachedManifest {
  readonly entries: ReadonlyArray<ManifestEntry>
  readonly lengthBytes: number
}

/** Parsed files are kept by their immutable location; the least recently used ones go first. */
const cachedMetadata = 512
const cachedManifestLists = 512
const cachedManifests = 2048
const readsAtOnce = 16

/**
 * Reads and writes Iceberg v2 tables in the object store. Writing only adds files: nothing is visible until the
 * catalog points to the new metadata file, so a crash at any step leaves the old table and some orphans.
 */
export class IcebergTable extends Context.Service<
  IcebergTable,
  {
    /** Parsed metadata file; cached by its immutable location. */
    readonly load: (metadataLocation: string) => Effect.Effect<TableMetadata, ReadError>
    /**
     * Adds a snapshot. `base: null` creates the table in `location`. `append` keeps the base's files, `overwrite`
     * replaces them all. `schema` is the schema of the new files (with field ids, see `write/ResultSchema`); it becomes
     * current. `runId` goes into the summary and names the files. Repeating a commit (same run, base and data files) answers
     * with what is there already; the same run with other data files makes other files and touches none of the old.
     * A table that is partitioned or has delete files (by another writer) is refused with `TableCorrupt`.
     */
    readonly commit: (change: {
      readonly base: { readonly metadataLocation: string; readonly metadata: TableMetadata } | null
      readonly location: string
      readonly operation: "append" | "overwrite"
      readonly schema: TableSchema
      readonly lastColumnId: number
      readonly dataFiles: ReadonlyArray<DataFile>
      readonly runId: string
      readonly properties?: Readonly<Record<string, string>>
    }) => Effect.Effect<TableCommit, ReadError>
    /**
     * Live data files of a snapshot (default: the current one), with their statistics. A snapshot with position or
     * equality deletes is refused with `TableCorrupt`: its data files alone are not its rows.
     */
    readonly dataFiles: (
      metadata: TableMetadata,
      snapshotId?: bigint,
    ) => Effect.Effect<ReadonlyArray<DataFile>, ReadError>
  }
>()("rat/lakehouse/iceberg/IcebergTable") {
  static readonly layer = Layer.effect(
    IcebergTable,
    Effect.gen(function* () {
      const store = yield* ObjectStore

      const read = Effect.fnUntraced(function* (location: string) {
        // A location elsewhere is a fact about the file that names it, not a programmer's mistake.
        if (!location.startsWith(store.root)) {
          return yield* new TableCorrupt({ location, reason: `it is not in this object store (${store.root})` })
        }
        return yield* store.get(store.keyOf(location))
      })
      const cached = <A>(
        capacity: number,
        decode: (location: string, bytes: Uint8Array) => Effect.Effect<A, TableCorrupt>,
      ) =>
        Cache.makeWith((location: string) => Effect.flatMap(read(location), (bytes) => decode(location, bytes)), {
          capacity,
          timeToLive: (exit) => (Exit.isSuccess(exit) ? "Infinity" : 0), // immutable; failures are tried again
        })
      const metadataFiles = yield* cached(cachedMetadata, decodeMetadata)
      const manifestLists = yield* cached(cachedManifestLists, decodeManifestList)
      const manifests = yield* cached(cachedManifests, (location, bytes) =>
        Effect.map(
          decodeManifest(location, bytes),
          (entries): CachedManifest => ({ entries, lengthBytes: bytes.length }),
        ),
      )

      const load = Effect.fn("IcebergTable.load")(function* (metadataLocation: string) {
        return yield* Cache.get(metadataFiles, metadataLocation)
      })

      const manifestsOf = Effect.fnUntraced(function* (metadata: TableMetadata, snapshotId: bigint | null) {
        if (snapshotId === null) return []
        const snapshot = metadata.snapshots.find((candidate) => candidate.snapshotId === snapshotId)
        if (snapshot === undefined) {
          const reason = `it has no snapshot ${snapshotId} (expired, or of another table)`
          return yield* new TableCorrupt({ location: metadata.location, reason })
        }
        return yield* Cache.get(manifestLists, snapshot.manifestList)
      })

      const liveEntries = Effect.fnUntraced(function* (lines: ReadonlyArray<ManifestFile>) {
        const live = lines.filter(hasLiveFiles)
        const deletes = live.find((line) => line.content === "deletes")
        if (deletes !== undefined) {
          const reason =
            "it lists row-level deletes, which are not supported yet; compact the table with its own writer first"
          return yield* new TableCorrupt({ location: deletes.path, reason })
        }
        const readLive = Effect.fnUntraced(function* (line: ManifestFile) {
          const manifest = yield* Cache.get(manifests, line.path)
          // An Avro file that ends between two blocks looks whole.
          if (manifest.lengthBytes < line.lengthBytes) {
            const reason = `it ends after ${manifest.lengthBytes} of ${line.lengthBytes} bytes (truncated)`
            return yield* new TableCorrupt({ location: line.path, reason })
          }
          return manifest.entries.filter((entry) => entry.status !== "deleted").map((entry) => inherit(entry, line))
        })
        return (yield* Effect.forEach(live, readLive, { concurrency: readsAtOnce })).flat()
      })

      const dataFiles = Effect.fn("IcebergTable.dataFiles")(function* (metadata: TableMetadata, snapshotId?: bigint) {
        const lines = yield* manifestsOf(metadata, snapshotId ?? metadata.currentSnapshotId)
        return (yield* liveEntries(lines)).map((entry) => entry.file)
      })

      /** What the commit has to know of its base; entries are read only where they are needed. */
      const baseSnapshot = Effect.fnUntraced(function* (
        base: { readonly metadataLocation: string; readonly metadata: TableMetadata } | null,
        operation: "append" | "overwrite",
      ) {
        const empty: BaseSnapshot = { manifests: [], entries: [], totals: { files: 0, records: 0, sizeBytes: 0 } }
        if (base === null) return empty
        const { metadata, metadataLocation } = base
        const lines = yield* manifestsOf(metadata, metadata.currentSnapshotId)
        const usedSpecs = new Set([metadata.defaultSpecId, ...lines.map((line) => line.partitionSpecId)])
        if (metadata.partitionSpecs.some((spec) => usedSpecs.has(spec.specId) && spec.fields.length > 0)) {
          const reason = "the table is partitioned; writing to partitioned tables is not supported yet"
          return yield* new TableCorrupt({ location: metadataLocation, reason })
        }
        const current = metadata.snapshots.find((snapshot) => snapshot.snapshotId === metadata.currentSnapshotId)
        const known = current === undefined ? empty.totals : totalsOfSummary(current.summary)
        const entries: ReadonlyArray<ManifestEntry> =
          operation === "overwrite" || known === null ? yield* liveEntries(lines) : []
        return { manifests: lines, entries, totals: known ?? totalsOf(entries.map((entry) => entry.file)) }
      })

      const commit: IcebergTable["Service"]["commit"] = Effect.fn("IcebergTable.commit")(function* (change) {
        const base = yield* baseSnapshot(change.base, change.operation)
        const plan = planCommit(change, base, yield* Clock.currentTimeMillis)
        const put = (location: string, bytes: Uint8Array, ifAbsent: boolean) =>
          Effect.as(store.put(store.keyOf(location), bytes, { ifAbsent }), plan.metadata)
        // All at once: nobody reads any of them before the catalog points to the metadata file, after this returns.
        const [metadata] = yield* Effect.all(
          [
            // Somebody (this run, before) may have written it; its times are the ones that hold.
            put(plan.metadataLocation, plan.metadataBytes, true).pipe(
              Effect.catchTag("ObjectExists", () => load(plan.metadataLocation)),
            ),
            put(plan.manifestList.location, plan.manifestList.bytes, false),
            ...plan.manifests.map((manifest) => put(manifest.location, manifest.bytes, false)),
          ],
          { concurrency: "unbounded" }, // four at most
        ).pipe(Effect.catchTag("ObjectExists", (error) => Effect.die(error))) // asked for in the first put only
        yield* Cache.set(metadataFiles, plan.metadataLocation, metadata)
        yield* Cache.set(manifestLists, plan.manifestList.location, plan.manifestList.manifests)
        for (const { bytes, entries, location } of plan.manifests) {
          // As they would come back from the file.
          const read = entries.map((entry) =>
            entry.status === "added"
              ? { ...entry, file: { ...entry.file, schemaId: metadata.currentSchemaId } }
              : entry,
          )
          yield* Cache.set(manifests, location, { entries: read, lengthBytes: bytes.length })
        }
        return {
          metadataLocation: plan.metadataLocation,
          metadata,
          snapshotId: plan.snapshotId,
          totalRecords: plan.totals.records,
          totalSizeBytes: plan.totals.sizeBytes,
        }
      })

      return IcebergTable.of({ load, commit, dataFiles })
    }),
  )
}
