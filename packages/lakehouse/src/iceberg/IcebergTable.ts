import { Clock, Context, Effect, Layer, Result } from "effect"
import { usualLocation } from "../store/ObjectLocation.ts"
import { type ObjectNotFound, ObjectStore, type StoreUnavailable } from "../store/ObjectStore.ts"
import type { UpdateRefused } from "./ApplyUpdates.ts"
import { ByteCache } from "./ByteCache.ts"
import { manifestsToRead } from "./CommitEntries.ts"
import type { DataFile, DeleteFile } from "./DataFile.ts"
import { decodeManifest, type ManifestEntry, type ManifestTable } from "./Manifest.ts"
import { decodeManifestList, hasLiveFiles, type ManifestFile } from "./ManifestList.ts"
import { decodeMetadata } from "./MetadataJson.ts"
import { inheritAll } from "./RowLineage.ts"
import { liveRows, noTotals, type Totals, totalsOf, totalsOfSummary } from "./SnapshotSummary.ts"
import type { TableChange, TableVersion } from "./TableChange.ts"
import { type BaseSnapshot, planCommit } from "./TableCommit.ts"
import { TableCorrupt } from "./TableCorrupt.ts"
import type { TableMetadata } from "./TableMetadata.ts"

type ReadError = ObjectNotFound | StoreUnavailable | TableCorrupt

/** What a commit made. `metadataLocation` is what the catalog must point to. */
export interface TableCommit extends TableVersion {
  /** The current snapshot; null for a table without one. */
  readonly snapshotId: bigint | null
  readonly totals: Totals
  /** Rows that a reader sees (`liveRows` of the totals). */
  readonly totalRecords: number
  readonly totalSizeBytes: number
}

/** The live files of a snapshot. */
export interface LiveFiles {
  readonly data: ReadonlyArray<DataFile>
  readonly deletes: ReadonlyArray<DeleteFile>
}

interface CachedManifest {
  readonly entries: ReadonlyArray<ManifestEntry>
  readonly lengthBytes: number
}

/** Bounds of the caches of parsed files, in bytes of memory. */
const limits = {
  metadata: { entries: 1024, bytes: 64 * 1024 * 1024 },
  lists: { entries: 1024, bytes: 32 * 1024 * 1024 },
  manifests: { entries: 4096, bytes: 160 * 1024 * 1024 },
}
/** Memory of what is parsed, as measured: objects take several times the bytes of their JSON or their compressed Avro. */
const weightOf = {
  metadata: (bytes: Uint8Array) => bytes.length * 4,
  list: (bytes: Uint8Array, lines: number) => bytes.length * 8 + lines * 700,
  manifest: (bytes: Uint8Array, entries: number) => bytes.length * 8 + entries * 1700,
}
const readsAtOnce = 16

/**
 * Reads and writes Iceberg tables (v2 and v3; v1 is read) in the object store. Writing only adds files: nothing is visible until
 * the catalog points to the new metadata file, so a crash at any step leaves the old table and some orphans.
 */
export class IcebergTable extends Context.Service<
  IcebergTable,
  {
    /** Parsed metadata file; cached by its immutable location. */
    readonly load: (metadataLocation: string) => Effect.Effect<TableMetadata, ReadError>
    /** Makes a new version of a table; see `TableChange`. `UpdateRefused` says which change the metadata does not allow. */
    readonly commit: (change: TableChange) => Effect.Effect<TableCommit, ReadError | UpdateRefused>
    /** Live files of a snapshot (default: the current one), sequence numbers filled in. */
    readonly files: (metadata: TableMetadata, snapshotId?: bigint) => Effect.Effect<LiveFiles, ReadError>
    /** The manifest list of a snapshot (default: the current one); empty for a table without one. */
    readonly manifests: (
      metadata: TableMetadata,
      snapshotId?: bigint,
    ) => Effect.Effect<ReadonlyArray<ManifestFile>, ReadError>
    /** Entries of a manifest, inherited values filled in, deleted ones included. */
    readonly readManifest: (
      metadata: TableMetadata,
      line: ManifestFile,
    ) => Effect.Effect<ReadonlyArray<ManifestEntry>, ReadError>
  }
>()("rat/lakehouse/iceberg/IcebergTable") {
  static readonly layer = Layer.effect(
    IcebergTable,
    Effect.gen(function* () {
      const store = yield* ObjectStore
      const metadataFiles = new ByteCache<TableMetadata, ReadError>(limits.metadata)
      const manifestLists = new ByteCache<ReadonlyArray<ManifestFile>, ReadError>(limits.lists)
      const manifestFiles = new ByteCache<CachedManifest, ReadError>(limits.manifests)

      const read = Effect.fnUntraced(function* (location: string) {
        // A location elsewhere is a fact about the file that names it, not a programmer's mistake.
        if (!usualLocation(location).startsWith(store.root)) {
          return yield* new TableCorrupt({ location, reason: `it is not in this object store (${store.root})` })
        }
        return yield* store.get(store.keyOf(location))
      })
      const parsed = <A>(
        location: string,
        decode: (bytes: Uint8Array) => Effect.Effect<A, TableCorrupt>,
        weight: (bytes: Uint8Array, value: A) => number,
      ) =>
        Effect.flatMap(read(location), (bytes) =>
          Effect.map(decode(bytes), (value) => ({ value, bytes: weight(bytes, value) })),
        )
      const decodeCached =
        (line: Pick<ManifestFile, "path" | "partitionSpecId">, table: ManifestTable) => (bytes: Uint8Array) =>
          Effect.map(
            decodeManifest(line.path, bytes, line.partitionSpecId, table),
            (entries): CachedManifest => ({ entries, lengthBytes: bytes.length }),
          )

      const load = Effect.fn("IcebergTable.load")(function* (metadataLocation: string) {
        const decode = (bytes: Uint8Array) => decodeMetadata(metadataLocation, bytes)
        return yield* metadataFiles.get(metadataLocation, parsed(metadataLocation, decode, weightOf.metadata))
      })

      const manifests = Effect.fnUntraced(function* (metadata: TableMetadata, wanted?: bigint) {
        const snapshotId = wanted ?? metadata.currentSnapshotId
        if (snapshotId === null) return []
        const snapshot = metadata.snapshots.find((candidate) => candidate.snapshotId === snapshotId)
        if (snapshot === undefined) {
          const reason = `it has no snapshot ${snapshotId} (expired, or of another table)`
          return yield* new TableCorrupt({ location: metadata.location, reason })
        }
        const { manifestList } = snapshot
        const decode = (bytes: Uint8Array) => decodeManifestList(manifestList, bytes)
        const weight = (bytes: Uint8Array, { length }: ReadonlyArray<ManifestFile>) => weightOf.list(bytes, length)
        return yield* manifestLists.get(manifestList, parsed(manifestList, decode, weight))
      })

      const readManifest = Effect.fnUntraced(function* (metadata: TableMetadata, line: ManifestFile) {
        const weight = (bytes: Uint8Array, { entries }: CachedManifest) => weightOf.manifest(bytes, entries.length)
        const manifest = yield* manifestFiles.get(line.path, parsed(line.path, decodeCached(line, metadata), weight))
        // An Avro file that ends between two blocks looks whole.
        if (manifest.lengthBytes < line.lengthBytes) {
          const reason = `it ends after ${manifest.lengthBytes} of ${line.lengthBytes} bytes (truncated)`
          return yield* new TableCorrupt({ location: line.path, reason })
        }
        return inheritAll(manifest.entries, line)
      })

      const readManifests = (metadata: TableMetadata, lines: ReadonlyArray<ManifestFile>) =>
        Effect.forEach(lines, (line) => readManifest(metadata, line), { concurrency: readsAtOnce })

      const files = Effect.fn("IcebergTable.files")(function* (metadata: TableMetadata, snapshotId?: bigint) {
        const lines = yield* manifests(metadata, snapshotId)
        const data: Array<DataFile> = []
        const deletes: Array<DeleteFile> = []
        for (const entries of yield* readManifests(metadata, lines.filter(hasLiveFiles))) {
          for (const { file, status } of entries) {
            if (status === "deleted") continue
            if (file.content === "data") data.push(file)
            else deletes.push(file)
          }
        }
        return { data, deletes }
      })

      /** What the commit has to know of its base; entries are read only where they are needed. */
      const baseSnapshot = Effect.fnUntraced(function* (change: TableChange) {
        if (change.base === null) return { manifests: [], entries: new Map(), totals: noTotals } satisfies BaseSnapshot
        const { metadata } = change.base
        const current = metadata.snapshots.find((snapshot) => snapshot.snapshotId === metadata.currentSnapshotId)
        const known = current === undefined ? noTotals : totalsOfSummary(current.summary)
        if (change.snapshot === null) {
          return { manifests: [], entries: new Map(), totals: known ?? noTotals } satisfies BaseSnapshot
        }
        const lines = yield* manifests(metadata)
        const wanted =
          known === null ? lines.filter(hasLiveFiles) : manifestsToRead(change.snapshot, lines, metadata.properties)
        const entries = yield* readManifests(metadata, wanted)
        return {
          manifests: lines,
          entries: new Map(wanted.map((line, index) => [line.path, entries[index]!])),
          totals:
            known ?? totalsOf(entries.flat().flatMap((entry) => (entry.status === "deleted" ? [] : [entry.file]))),
        } satisfies BaseSnapshot
      })

      const commit = Effect.fn("IcebergTable.commit")(function* (change: TableChange) {
        const base = yield* baseSnapshot(change)
        const planned = planCommit(change, base, yield* Clock.currentTimeMillis)
        if (Result.isFailure(planned)) {
          const problem = planned.failure
          if ("misfit" in problem) {
            const location = change.base?.metadataLocation ?? change.location
            return yield* new TableCorrupt({ location, reason: problem.misfit })
          }
          return yield* problem
        }
        const plan = planned.success
        const put = (location: string, bytes: Uint8Array, ifAbsent: boolean) =>
          Effect.as(store.put(store.keyOf(location), bytes, { ifAbsent }), plan.metadata)
        // All at once: nobody reads any of them before the catalog points to the metadata file, after this returns.
        const [metadata] = yield* Effect.all(
          [
            // Somebody (this run, before) may have written it; its times are the ones that hold.
            put(plan.metadataLocation, plan.metadataBytes, true).pipe(
              Effect.catchTag("ObjectExists", () => load(plan.metadataLocation)),
            ),
            ...(plan.manifestList === null ? [] : [put(plan.manifestList.location, plan.manifestList.bytes, false)]),
            ...plan.manifests.map((manifest) => put(manifest.location, manifest.bytes, false)),
          ],
          { concurrency: readsAtOnce },
        ).pipe(Effect.catchTag("ObjectExists", (error) => Effect.die(error))) // asked for in the first put only
        metadataFiles.set(plan.metadataLocation, metadata!, weightOf.metadata(plan.metadataBytes))
        if (plan.manifestList !== null) {
          const { bytes, location, manifests: lines } = plan.manifestList
          manifestLists.set(location, lines, weightOf.list(bytes, lines.length))
        }
        for (const { bytes, line } of plan.manifests) {
          // As they come back from the file: what a writer holds of its files takes more memory.
          const manifest = yield* decodeCached(line, plan.metadata)(bytes)
          manifestFiles.set(line.path, manifest, weightOf.manifest(bytes, manifest.entries.length))
        }
        return {
          metadataLocation: plan.metadataLocation,
          metadata: metadata!,
          snapshotId: plan.snapshotId,
          totals: plan.totals,
          totalRecords: liveRows(plan.totals),
          totalSizeBytes: plan.totals.sizeBytes,
        } satisfies TableCommit as TableCommit
      })

      return IcebergTable.of({ load, commit, files, manifests, readManifest })
    }),
  )
}
