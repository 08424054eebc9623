import {
  IcebergTable,
  type ManifestFile,
  type MetadataUpdate,
  ObjectStore,
  type Snapshot,
  type TableMetadata,
} from "@rat/lakehouse"
import { Effect } from "effect"
import { refuse } from "./RestFailure.ts"
import { isBelow, isInStore } from "./TableRules.ts"

/**
 * Looks into the snapshots that a client adds before they become part of a table: their manifest list and the manifests that they
 * bring must be there and readable, and the files that they add must lie in the table's folder. A table never lists a file of the
 * server or of another table because somebody said so.
 */
export const makeSnapshotCheck = Effect.gen(function* () {
  const tables = yield* IcebergTable
  const store = yield* ObjectStore

  /** What the client named is not there or not readable: its mistake, not a broken table. */
  const named = <A, E extends { readonly _tag: string; readonly message: string }, R>(
    what: string,
    effect: Effect.Effect<A, E, R>,
  ) =>
    Effect.catchIf(
      effect,
      (error) => error._tag === "ObjectNotFound" || error._tag === "TableCorrupt",
      (error) => Effect.fail(refuse("BadRequestException", `${what} cannot be used: ${error.message}`)),
    )

  const linesOf = (metadata: TableMetadata, snapshot: Snapshot) =>
    named(
      `The manifest list of snapshot ${snapshot.snapshotId}`,
      tables.manifests({ ...metadata, snapshots: [snapshot] }, snapshot.snapshotId),
    )

  const checkLine = Effect.fnUntraced(function* (metadata: TableMetadata, snapshot: Snapshot, line: ManifestFile) {
    const { snapshotId } = snapshot
    if (!isBelow(store, metadata.location, line.path)) {
      return yield* refuse(
        "BadRequestException",
        `Snapshot ${snapshotId} lists the manifest ${line.path}, which does not lie below ${metadata.location}.`,
      )
    }
    if (snapshot.summary.operation === "append" && (line.content === "deletes" || line.deletedFiles > 0)) {
      return yield* refuse(
        "BadRequestException",
        `Snapshot ${snapshotId} says that it appends, but manifest ${line.path} removes rows.`,
      )
    }
    const entries = yield* named(`Manifest ${line.path} of snapshot ${snapshotId}`, tables.readManifest(metadata, line))
    const stray = entries.find(({ file, status }) =>
      status === "added" ? !isBelow(store, metadata.location, file.filePath) : !isInStore(store, file.filePath),
    )
    if (stray === undefined) return
    return yield* refuse(
      "BadRequestException",
      `Snapshot ${snapshotId} adds the file ${stray.file.filePath}, which does not lie below ${metadata.location}. Files of a table lie in its folder.`,
    )
  })

  return {
    /** All snapshots that the updates add; `metadata` is the table with them, `base` the table before. */
    all: Effect.fn("SnapshotCheck.all")(function* (
      metadata: TableMetadata,
      base: TableMetadata | null,
      updates: ReadonlyArray<MetadataUpdate>,
    ) {
      const added = updates.flatMap((update) => (update.action === "add-snapshot" ? [update.snapshot] : []))
      if (added.length === 0) return
      /** Manifests that the table had before, or that were looked into already. */
      const known = new Set<string>()
      if (base !== null) for (const line of yield* tables.manifests(base)) known.add(line.path)
      for (const snapshot of added) {
        // Of a rollback or another ref of the table: its parent is not the current snapshot.
        const parent = base?.snapshots.find(({ snapshotId }) => snapshotId === snapshot.parentSnapshotId)
        if (parent !== undefined && parent.snapshotId !== base?.currentSnapshotId) {
          for (const line of yield* tables.manifests(base!, parent.snapshotId)) known.add(line.path)
        }
        for (const line of yield* linesOf(metadata, snapshot)) {
          if (known.has(line.path)) continue
          known.add(line.path)
          yield* checkLine(metadata, snapshot, line)
        }
      }
    }),
    /** One append that is going to be put upon `metadata`: what it added itself is all that counts. */
    append: Effect.fn("SnapshotCheck.append")(function* (metadata: TableMetadata, snapshot: Snapshot) {
      for (const line of yield* linesOf(metadata, snapshot)) {
        if (line.addedSnapshotId === snapshot.snapshotId) yield* checkLine(metadata, snapshot, line)
      }
    }),
  }
})
