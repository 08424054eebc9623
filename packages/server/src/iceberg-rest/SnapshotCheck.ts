import { IcebergTable, ObjectStore, type MetadataUpdate, type TableMetadata } from "@rat/lakehouse"
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

  const unreadable = (what: string) => (error: { readonly message: string }) =>
    refuse("BadRequestException", `${what} cannot be used: ${error.message}`)

  return Effect.fn("SnapshotCheck.check")(function* (
    metadata: TableMetadata,
    base: TableMetadata | null,
    updates: ReadonlyArray<MetadataUpdate>,
  ) {
    /** Manifests that the table had before, or that were looked into already. */
    const known = new Set<string>()
    if (base !== null) for (const line of yield* tables.manifests(base)) known.add(line.path)
    for (const update of updates) {
      if (update.action !== "add-snapshot") continue
      const { snapshotId, parentSnapshotId } = update.snapshot
      // Of another branch or a rollback: its parent is not the current snapshot.
      if (parentSnapshotId !== null && metadata.snapshots.some((each) => each.snapshotId === parentSnapshotId)) {
        const lines = yield* Effect.catchTag(tables.manifests(metadata, parentSnapshotId), ["ObjectNotFound", "TableCorrupt"], () =>
          Effect.succeed([]),
        )
        for (const line of lines) known.add(line.path)
      }
      const lines = yield* Effect.catchTag(tables.manifests(metadata, snapshotId), ["ObjectNotFound", "TableCorrupt"], (error) =>
        Effect.fail(unreadable(`The manifest list of snapshot ${snapshotId}`)(error)),
      )
      for (const line of lines) {
        if (known.has(line.path)) continue
        known.add(line.path)
        if (!isBelow(store, metadata.location, line.path)) {
          return yield* refuse(
            "BadRequestException",
            `Snapshot ${snapshotId} lists the manifest ${line.path}, which does not lie below ${metadata.location}.`,
          )
        }
        const entries = yield* Effect.catchTag(tables.readManifest(metadata, line), ["ObjectNotFound", "TableCorrupt"], (error) =>
          Effect.fail(unreadable(`Manifest ${line.path} of snapshot ${snapshotId}`)(error)),
        )
        const stray = entries.find(({ file, status }) =>
          status === "added" ? !isBelow(store, metadata.location, file.filePath) : !isInStore(store, file.filePath),
        )
        if (stray !== undefined) {
          return yield* refuse(
            "BadRequestException",
            `Snapshot ${snapshotId} adds the file ${stray.file.filePath}, which does not lie below ${metadata.location}. Files of a table lie in its folder.`,
          )
        }
      }
    }
  })
})
