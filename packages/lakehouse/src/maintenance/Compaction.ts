import { randomBytes } from "node:crypto"
import { Effect } from "effect"
import type { UpdateRefused } from "../iceberg/ApplyUpdates.ts"
import { type DataFile, type DeleteFile, fileKey } from "../iceberg/DataFile.ts"
import { IcebergTable, type LiveFiles } from "../iceberg/IcebergTable.ts"
import { totalsOf } from "../iceberg/SnapshotSummary.ts"
import type { TableCorrupt } from "../iceberg/TableCorrupt.ts"
import type { TableMetadata } from "../iceberg/TableMetadata.ts"
import { applyDeletes } from "../scan/DeleteIndex.ts"
import { narrowed, type ScanPlan, ScanPlanner } from "../scan/ScanPlanner.ts"
import { type ObjectNotFound, ObjectStore, type StoreUnavailable } from "../store/ObjectStore.ts"
import { Engine, type EngineFailed } from "../write/Engine.ts"
import { type CompactionGroup, type CompactionSettings, planCompaction } from "./CompactionPlan.ts"
import { rewriteFiles } from "./Rewrite.ts"
import type { TableHead } from "./TableHead.ts"

/** Tries to commit one group against writers that are faster each time. */
const maxTries = 10
const putsAtOnce = 4

export interface CompactionReport {
  /** Groups that were rewritten and committed. */
  readonly groups: number
  /** Groups whose files another writer changed meanwhile: its work stays, ours is thrown away. */
  readonly skipped: number
  readonly filesBefore: number
  readonly filesAfter: number
  readonly bytesBefore: number
  readonly bytesAfter: number
}

export type CompactionError = EngineFailed | ObjectNotFound | StoreUnavailable | TableCorrupt | UpdateRefused

const sizeOf = (files: ReadonlyArray<DataFile | DeleteFile>) => totalsOf(files).sizeBytes

const deletesOf = (metadata: TableMetadata, live: LiveFiles) => {
  const applied = applyDeletes(metadata.partitionSpecs, live.data, live.deletes)
  return (file: DataFile): ReadonlyArray<DeleteFile> => {
    const found = applied.get(file)
    if (found === undefined) return []
    return [...found.positions, ...found.equality, ...(found.vector === null ? [] : [found.vector])]
  }
}

/**
 * Whether files that were read at `sequenceNumber` are in a newer version as they were: all there, and no deletes concern them
 * but those that were applied, and equality deletes that are newer: rewritten files keep the old sequence number, so those still
 * concern them (Iceberg spec, "Sequence Numbers", "Scan Planning").
 */
export const isUnchanged = (
  group: Pick<CompactionGroup, "files">,
  before: (file: DataFile) => ReadonlyArray<DeleteFile>,
  now: {
    readonly data: ReadonlyMap<string, DataFile>
    readonly deletes: (file: DataFile) => ReadonlyArray<DeleteFile>
  },
  sequenceNumber: bigint,
): boolean =>
  group.files.every((file) => {
    const there = now.data.get(fileKey(file))
    if (there === undefined) return false
    const known = new Set(before(file).map(fileKey))
    return now
      .deletes(there)
      .every(
        (found) =>
          known.has(fileKey(found)) ||
          (found.content === "equality-deletes" && (found.sequenceNumber ?? 0n) > sequenceNumber),
      )
  })

/** What `compact` would do, from metadata alone. */
export const planTable = Effect.fn("Compaction.planTable")(function* (
  metadataLocation: string,
  settings: CompactionSettings,
) {
  const tables = yield* IcebergTable
  const metadata = yield* tables.load(metadataLocation)
  const live = yield* tables.files(metadata)
  const concerning = deletesOf(metadata, live)
  const useful = new Set(live.data.flatMap(concerning))
  return {
    metadata,
    live,
    groups: planCompaction(metadata, live.data, live.deletes, settings),
    /** Deletes that concern no file. */
    dangling: live.deletes.filter((file) => !useful.has(file)),
  }
})

/**
 * Rewrites a table's data files where it pays (`CompactionPlan`): reads the rows of a group's files minus deletes, writes them into
 * files of the target size under the table's current schema, partition spec and sort order, and commits that as one `replace`
 * snapshot. Each group is a commit of its own, so what is done stays when it stops in between. Rows and their order of change are
 * the same before and after; v3's row ids are kept.
 *
 * Other writers go first: appends, and deletes of other files, do not matter; a group whose files or deletes changed meanwhile is
 * left as the others made it. `engine` is acquired for each group, and its files go with it.
 */
export const compact = Effect.fn("Compaction.compact")(function* <HE, EE, ER>(options: {
  readonly head: TableHead<HE>
  /** The names of files begin with it: the maintenance run's id. */
  readonly id: string
  readonly settings: CompactionSettings
  readonly engine: Effect.Effect<Engine["Service"], EE, ER>
}) {
  const tables = yield* IcebergTable
  const planner = yield* ScanPlanner
  const store = yield* ObjectStore
  const { head, id, settings } = options
  const report = { groups: 0, skipped: 0, filesBefore: 0, filesAfter: 0, bytesBefore: 0, bytesAfter: 0 }
  const start = yield* head.current
  if (start === null) return report satisfies CompactionReport as CompactionReport
  const { dangling, groups, live, metadata } = yield* planTable(start, settings)
  const snapshot = metadata.snapshots.find(({ snapshotId }) => snapshotId === metadata.currentSnapshotId)
  if (snapshot === undefined) return report
  const before = deletesOf(metadata, live)
  // Not the id alone: a run that is taken up again, perhaps while its first attempt still lives, must not write over files that
  // were committed before.
  const write = `${id}-${randomBytes(4).toString("hex")}`

  /** Writes the rows of a group; nothing points to the files yet. */
  const rewrite = Effect.fnUntraced(function* (whole: ScanPlan, group: CompactionGroup, index: number) {
    const engine = yield* options.engine
    const wanted = new Set(group.files.map(fileKey))
    const plan = narrowed(whole, new Set(whole.files.filter((file) => wanted.has(fileKey(file)))))
    const pathOf = yield* engine.readable(plan.locations)
    const files = yield* rewriteFiles({
      plan,
      pathOf,
      targetFileBytes: settings.targetFileBytes,
      name: `${write}-${index}`,
      locationOf: (file) => `${metadata.location}/data/${write}-${index}-${file}.parquet`,
    }).pipe(Effect.provideService(Engine, engine))
    yield* Effect.forEach(files, ({ file, localPath }) => store.putFile(store.keyOf(file.filePath), localPath), {
      concurrency: putsAtOnce,
      discard: true,
    })
    return files.map(({ file }): DataFile => ({ ...file, sequenceNumber: snapshot.sequenceNumber }))
  }, Effect.scoped)

  const commit = Effect.fnUntraced(function* (
    runId: string,
    group: Pick<CompactionGroup, "files">,
    added: ReadonlyArray<DataFile>,
    removable: ReadonlyArray<DeleteFile>,
  ) {
    for (let attempt = 0; attempt < maxTries; attempt++) {
      const location = yield* head.current
      if (location === null) return null
      const current = yield* tables.load(location)
      const now = yield* tables.files(current)
      const data = new Map(now.data.map((file) => [fileKey(file), file]))
      const deletes = deletesOf(current, now)
      const isSame = isUnchanged(group, before, { data, deletes }, snapshot.sequenceNumber)
      if (!isSame || current.tableUuid !== metadata.tableUuid) return null
      const removed = new Set(group.files.map(fileKey))
      // Deletes that only concerned what goes; newer ones may concern the new files.
      const others = new Set(now.data.filter((file) => !removed.has(fileKey(file))).flatMap(deletes))
      const wanted = new Set(removable.map(fileKey))
      const removedDeletes = now.deletes.filter((file) => wanted.has(fileKey(file)) && !others.has(file))
      const made = yield* tables.commit({
        base: { metadataLocation: location, metadata: current },
        location: current.location,
        runId,
        updates: [],
        snapshot: {
          operation: "replace",
          added,
          addedDeletes: [],
          removed,
          removedDeletes: new Set(removedDeletes.map(fileKey)),
        },
      })
      if (yield* head.move(location, made, "Compaction")) return { made, removedDeletes }
    }
    return null
  })

  const done = (
    group: { readonly files: ReadonlyArray<DataFile> },
    added: ReadonlyArray<DataFile>,
    deletes: ReadonlyArray<DeleteFile>,
  ) => {
    report.groups++
    report.filesBefore += group.files.length + deletes.length
    report.filesAfter += added.length
    report.bytesBefore += sizeOf(group.files) + sizeOf(deletes)
    report.bytesAfter += sizeOf(added)
  }

  if (groups.length > 0) {
    const whole = yield* planner.plan(start)
    yield* Effect.forEach(
      groups,
      (group, index) =>
        Effect.gen(function* () {
          const added = yield* rewrite(whole, group, index)
          const committed = yield* commit(`${id}-c${index}`, group, added, group.deletes)
          if (committed === null) report.skipped++
          else done(group, added, committed.removedDeletes)
        }),
      { discard: true },
    )
  }
  if (dangling.length > 0) {
    const committed = yield* commit(`${id}-d`, { files: [] }, [], dangling)
    if (committed !== null && committed.removedDeletes.length > 0) done({ files: [] }, [], committed.removedDeletes)
  }
  return report satisfies CompactionReport as CompactionReport
})
