import { join } from "node:path"
import type { PartitionBy, SortBy } from "@rat/domain"
import { Effect, Result } from "effect"
import { type DataFile, fileKey } from "../iceberg/DataFile.ts"
import type { MetadataUpdate } from "../iceberg/MetadataUpdate.ts"
import { bindSpec, partitionFields } from "../iceberg/PartitionSpec.ts"
import type { SingleValue } from "../iceberg/SingleValue.ts"
import type { SnapshotChange, TableVersion } from "../iceberg/TableChange.ts"
import type { PartitionSpec } from "../iceberg/TableMetadata.ts"
import type { Transform } from "../iceberg/Transform.ts"
import { partitionKey } from "../scan/DeleteIndex.ts"
import type { KeyRange } from "../scan/Predicate.ts"
import { relationOf, type ScannedFiles } from "../scan/Relation.ts"
import { narrowed, type ScanPlan, ScanPlanner, scannedFiles } from "../scan/ScanPlanner.ts"
import { quoteName, quotePath } from "../scan/SqlText.ts"
import { ObjectStore } from "../store/ObjectStore.ts"
import { lineageColumns } from "./CopySql.ts"
import type { CopyRow, WrittenFile } from "./CopyStats.ts"
import { type WrittenDeletes, writeDeletionVectors, writePositionDeletes } from "./DeleteFiles.ts"
import { Engine } from "./Engine.ts"
import { dataFold, filesToFold } from "./Fold.ts"
import { partitionTextSql, partitionValue } from "./PartitionSql.ts"
import type { WritePlan } from "./ResultSchema.ts"
import { type Layout, writeRows } from "./RowWriter.ts"
import { bindSort } from "./SortOrder.ts"
import { boundSettings, MergeRefused, probeKeys, type StagedResult, stagedResult } from "./StagedResult.ts"
import type { MergePlan, Strategy, StrategySettings } from "./strategy/Strategy.ts"

export interface MergeRequest {
  readonly base: TableVersion | null
  /** The table's folder in the store. */
  readonly location: string
  /** Begins the names of new files; unlike for every attempt. */
  readonly filePrefix: string
  readonly strategy: Strategy
  readonly settings: StrategySettings
  readonly write: Pick<WritePlan, "schema" | "updates">
  /** The result, staged by a COPY of `stagedQuery` into the engine's folder: what it returned. */
  readonly staged: ReadonlyArray<CopyRow>
  /** Null keeps the table's. */
  readonly partitionBy: ReadonlyArray<PartitionBy> | null
  /** Null keeps the table's. */
  readonly sortBy: ReadonlyArray<SortBy> | null
  readonly fileSizeBytes: number
  /** The moment of the merge, as `stagedQuery` was told. */
  readonly now: string
  /** Whether small files that earlier commits left may be taken along; not while others are racing for the table. */
  readonly folds: boolean
}

/** What a merge does to its table; its files are in the store. */
export interface Merged {
  readonly updates: ReadonlyArray<MetadataUpdate>
  /** Null: no row changes. */
  readonly snapshot: SnapshotChange | null
  readonly rows: {
    /** Of the result. */
    readonly staged: number
    /** Written, without those of old files. */
    readonly added: number
    /** Old rows that are gone or have another version now; null when that was not counted (everything went). */
    readonly removed: number | null
  }
  readonly files: { readonly removed: number; readonly rewritten: number; readonly folded: number }
}

/**
 * A file is written anew when at least this part of its rows is deleted. Measured on 10 M rows of six columns (on a busy machine, so
 * as ratios): with 40 % deleted a scan takes 2.3 times as long as without deletes, with 50 % and rewritten 1.1 times, and the
 * rewrite makes the merge 2.6 times as long: about ten scans' worth. Below a half a row could be rewritten again and again.
 */
const rewriteFrom = 0.5

/** Files stored at the same time. */
const storedAtOnce = 4

const none: ReadonlySet<string> = new Set()

/**
 * Merges a staged result into a table: finds the rows that change in the files that can hold them, writes what is new and what is
 * gone, and answers with the change of one snapshot. Everything streams through the engine, which spills to disk. Nothing
 * is visible before `IcebergTable.commit` and the catalog have taken the change.
 */
export const merge = Effect.fn("MergeProgram.merge")(function* (request: MergeRequest) {
  const { base, strategy, write } = request
  const { schema } = write
  const settings = yield* boundSettings(strategy, request.settings, schema)
  const layout = yield* layoutOf(request)
  const updates = [...write.updates, ...layout.updates]
  const staged = stagedResult(request.staged, schema)
  const concerns = strategy.concerns(settings)
  const columns = schema.fields.map(({ name }) => name)
  const isFirst = base === null || base.metadata.currentSnapshotId === null

  const needsKeys = concerns !== "none" || (settings.dedup && settings.uniqueKey.length > 0)
  const probed = needsKeys
    ? yield* probeKeys(staged, settings.uniqueKey, Array.isArray(concerns) ? concerns : [])
    : { hasDuplicateKeys: false, ranges: [] }
  const isUnconcerned = staged.rows === 0 && concerns !== "all"
  const target =
    isFirst || concerns === "none" || isUnconcerned
      ? null
      : yield* targetOf(
          request,
          base,
          probed.ranges,
          yield* replacedValues(strategy.replaces?.(settings) ?? null, staged, request),
        )
  const plan = strategy.plan({
    settings,
    columns,
    source: staged.source,
    target: target === null || target.plan.files.length === 0 ? null : `(${target.relation})`,
    now: request.now,
    hasDuplicateKeys: probed.hasDuplicateKeys,
  })
  if (isUnconcerned && plan.deletes !== "all" && !isFirst) return unchanged(updates, staged)

  const found =
    target === null || plan.deletes === null || plan.deletes === "all"
      ? noneGone
      : yield* findGone(request, target, plan.deletes)
  const gone = target === null ? found : withPartitions(found, target)
  const needsWhole = !isFirst && plan.deletes !== "all" && (request.folds || gone.rewritten.length > 0)
  const whole = needsWhole ? yield* Effect.flatMap(ScanPlanner, ({ plan }) => plan(base.metadataLocation)) : null
  const folded = whole === null || !request.folds ? [] : smallFiles(whole, staged, layout)
  const left = new Set([...gone.whole, ...gone.rewritten].map(fileKey))
  const taken = folded.filter((file) => !left.has(fileKey(file)))
  const kept = [...gone.rewritten, ...taken]

  const written = yield* writeData(request, { layout, staged, plan, target, whole, gone, kept })
  const files = yield* store(written.files)
  const moved = new Set(kept.map(fileKey))
  const partial = new Map([...gone.partial].filter(([index]) => !moved.has(fileKey(target!.plan.files[index]!))))
  const removed = new Set([...left, ...moved])
  const deletes =
    target === null || partial.size === 0 ? noDeletes : yield* writeDeletes(request, target, whole, partial, gone)

  const added = files.map(({ file }) => file)
  const oldRows = kept.length === 0 ? 0 : written.oldRows
  const addedRows = added.reduce((sum, { recordCount }) => sum + recordCount, 0) - oldRows
  const isReplaced = plan.deletes === "all"
  const changesFiles = added.length > 0 || removed.size > 0 || deletes.added.length > 0
  const replacesSomething = isReplaced && !isFirst
  if (!changesFiles && !replacesSomething && !isFirst) return unchanged(updates, staged)
  const isAppend = removed.size === 0 && deletes.added.length === 0 && !isReplaced
  return {
    updates,
    snapshot: {
      operation: isAppend ? "append" : added.length === 0 && !isReplaced ? "delete" : "overwrite",
      added,
      addedDeletes: deletes.added,
      removed: isReplaced ? "all" : removed,
      removedDeletes: isReplaced ? "all" : deletes.removed,
    },
    rows: { staged: staged.rows, added: addedRows, removed: isReplaced ? null : gone.rows },
    files: { removed: gone.whole.length, rewritten: gone.rewritten.length, folded: taken.length },
  } satisfies Merged as Merged
})

const noDeletes: WrittenDeletes = { added: [], removed: none }

const unchanged = (updates: ReadonlyArray<MetadataUpdate>, staged: StagedResult): Merged => ({
  updates,
  snapshot: null,
  rows: { staged: staged.rows, added: 0, removed: 0 },
  files: { removed: 0, rewritten: 0, folded: 0 },
})

interface TableLayout extends Layout {
  readonly spec: PartitionSpec
  readonly updates: ReadonlyArray<MetadataUpdate>
}

const layoutOf = Effect.fnUntraced(function* ({ base, fileSizeBytes, partitionBy, sortBy, write }: MergeRequest) {
  const { schema } = write
  const metadata = base?.metadata ?? null
  const problems: Array<string> = []
  const kept = metadata?.partitionSpecs.find(({ specId }) => specId === metadata.defaultSpecId)
  const wanted =
    partitionBy === null
      ? Result.succeed({ spec: kept ?? { specId: 0, fields: [] }, updates: [] })
      : bindSpec(metadata, schema, partitionBy)
  if (Result.isFailure(wanted)) problems.push(wanted.failure)
  const sort = bindSort(metadata, schema, sortBy)
  if (typeof sort === "string") problems.push(sort)
  if (Result.isFailure(wanted) || typeof sort === "string") return yield* new MergeRefused({ problems })
  const { spec } = wanted.success
  const partition = partitionFields(spec, [...(metadata?.schemas ?? []), schema], schema.schemaId)
  const unknown = partition.find(({ transform }) => transform.kind === "unknown")
  if (unknown !== undefined) {
    return yield* new MergeRefused({
      problems: [
        `The table is partitioned by "${unknown.name}" with a transform that is not known here, so no rows can be written. Give partition_by to change that.`,
      ],
    })
  }
  return {
    schema,
    spec,
    specId: spec.specId,
    partition: partition.filter(() => spec.fields.length > 0),
    sort: sort.columns,
    sortOrderId: sort.orderId,
    fileSizeBytes,
    updates: [...wanted.success.updates, ...sort.updates],
  } satisfies TableLayout as TableLayout
})

/** The part of the table that a merge looks at. */
interface Target {
  readonly plan: ScanPlan
  readonly scan: ScannedFiles
  readonly pathOf: (location: string) => string
  readonly relation: string
  /** Files of partitions that go as they are; not in the plan. */
  readonly dropped: ReadonlyArray<DataFile>
  /** Live rows of `dropped`, as far as metadata tells. */
  readonly droppedRows: number
}

/** Values of a column that the result replaces. */
interface ReplacedValues {
  readonly fieldId: number
  readonly type: string
  readonly keys: ReadonlySet<string>
}

/** Compares values of one column like partitions: NULL is a value. */
const valueKey = (value: SingleValue | null): string => partitionKey({ specId: 0, partition: [value] })

const identity: Transform = { kind: "identity" }

const replacedValues = Effect.fnUntraced(function* (
  column: string | null,
  staged: StagedResult,
  { base, write }: MergeRequest,
) {
  const field = write.schema.fields.find(({ name }) => name === column)
  const isPartitioned = base?.metadata.partitionSpecs.some(({ fields }) =>
    fields.some(({ sourceId, transform }) => sourceId === field?.id && transform === "identity"),
  )
  if (field === undefined || typeof field.type !== "string" || isPartitioned !== true || staged.rows === 0) return null
  const { type } = field
  const engine = yield* Engine
  const text = partitionTextSql(identity, type, quoteName(field.name))
  const rows = yield* engine.run(`select distinct ${text} as value from ${staged.source} limit ${maxReplaced}`)
  const keys = rows.map(({ value }) => valueKey(partitionValue(identity, type, value as string | null)))
  return { fieldId: field.id, type, keys: new Set(keys) } satisfies ReplacedValues as ReplacedValues
})

/** Values whose partitions are dropped unread; those beyond are found by reading. */
const maxReplaced = 100_000

/** The files of a plan all of whose rows have a replaced value, by their partition. */
const filesOfValues = (plan: ScanPlan, replaced: ReplacedValues | null): ReadonlySet<DataFile> => {
  if (replaced === null) return new Set()
  const { metadata } = plan
  const source = plan.schema.fields.find(({ id }) => id === replaced.fieldId)
  // After a promotion a partition's value may be written in another unit.
  if (source?.type !== replaced.type) return new Set()
  const places = new Map(
    metadata.partitionSpecs.map(({ fields, specId }) => [
      specId,
      fields.findIndex(({ sourceId, transform }) => sourceId === replaced.fieldId && transform === "identity"),
    ]),
  )
  return new Set(
    plan.files.filter((file) => {
      const value = file.partition[places.get(file.specId) ?? -1]
      return value !== undefined && replaced.keys.has(valueKey(value))
    }),
  )
}

const withPartitions = (gone: Gone, { dropped, droppedRows }: Target): Gone =>
  dropped.length === 0 ? gone : { ...gone, rows: gone.rows + droppedRows, whole: [...gone.whole, ...dropped] }

/** A plan's rows in the columns and types that the merge writes. */
const readAs = (plan: ScanPlan, request: MergeRequest): ScannedFiles => ({
  ...scannedFiles(plan),
  schema: request.write.schema,
})

const targetOf = Effect.fnUntraced(function* (
  request: MergeRequest,
  base: TableVersion,
  ranges: ReadonlyArray<KeyRange>,
  replaced: ReplacedValues | null,
) {
  const planner = yield* ScanPlanner
  const engine = yield* Engine
  const { metadata } = base
  const current = metadata.schemas.find(({ schemaId }) => schemaId === metadata.currentSchemaId)
  // The planner knows columns by the names that the table has now; one that is new says nothing of old files.
  const keys = ranges.flatMap((range) => {
    const field = request.write.schema.fields.find(({ name }) => name === range.column)
    const old = current?.fields.find(({ id }) => id === field?.id)
    return old === undefined ? [] : [{ ...range, column: old.name }]
  })
  const matching = yield* planner.plan(base.metadataLocation, { keys })
  const dropped = filesOfValues(matching, replaced)
  const plan =
    dropped.size === 0 ? matching : narrowed(matching, new Set(matching.files.filter((file) => !dropped.has(file))))
  const pathOf = yield* engine.readable(plan.locations)
  const scan = readAs(plan, request)
  return {
    plan,
    scan,
    pathOf,
    relation: relationOf(scan, pathOf, { positions: true, lineage: false }),
    dropped: [...dropped],
    droppedRows: dropped.size === 0 ? 0 : matching.rowCount - plan.rowCount,
  } satisfies Target as Target
})

/** Old rows that go, by what becomes of their files. */
interface Gone {
  readonly rows: number
  /** Files that lose all their rows, and those that lose so many that the rest is written anew. */
  readonly whole: ReadonlyArray<DataFile>
  readonly rewritten: ReadonlyArray<DataFile>
  /** Rows that go from the other files, by index into the target's files. */
  readonly partial: ReadonlyMap<number, number>
  /** Every row that goes: a query with `rat_file` and `rat_pos`; null when there is none. */
  readonly positions: string | null
}

const noneGone: Gone = { rows: 0, whole: [], rewritten: [], partial: new Map(), positions: null }

const findGone = Effect.fnUntraced(function* (request: MergeRequest, target: Target, deletes: string) {
  const engine = yield* Engine
  if (target.plan.files.length === 0) return noneGone
  const path = join(engine.outFolder, `${request.filePrefix}-gone.parquet`)
  yield* engine.run(`copy (select rat_file, rat_pos from (${deletes})) to ${quotePath(path)} (format parquet)`)
  const positions = `select rat_file, rat_pos from read_parquet([${quotePath(path)}], hive_partitioning = false)`
  const counts = yield* engine.run(
    `select rat_file, count(*) as n from (${positions}) group by rat_file order by rat_file`,
  )
  const sharedBy = new Map<unknown, number>()
  for (const { positions: lists } of target.scan.applied.values()) {
    for (const list of lists) sharedBy.set(list, (sharedBy.get(list) ?? 0) + 1)
  }
  let rows = 0
  const whole: Array<DataFile> = []
  const rewritten: Array<DataFile> = []
  const partial = new Map<number, number>()
  for (const row of counts) {
    const index = Number(row.rat_file)
    const count = Number(row.n)
    const file = target.plan.files[index]!
    const before = target.scan.applied.get(file)
    rows += count
    // Lists of positions that several files share are counted in parts: about right is enough to choose.
    const known =
      before?.vector?.recordCount ??
      before?.positions.reduce((sum, list) => sum + list.recordCount / (sharedBy.get(list) ?? 1), 0) ??
      0
    if (before === undefined && count === file.recordCount) whole.push(file)
    else if (count + known >= file.recordCount * rewriteFrom) rewritten.push(file)
    else partial.set(index, count)
  }
  return { rows, whole, rewritten, partial, positions } satisfies Gone as Gone
})

/** What one commit takes along at most, over all partitions. */
const foldBudget = { files: 128, bytes: 64 * 1024 * 1024 }

/** Small files that are taken along, by partition: see `Fold`. Which partitions the new rows go to is not known yet. */
const smallFiles = (whole: ScanPlan, staged: StagedResult, layout: TableLayout): ReadonlyArray<DataFile> => {
  if (staged.rows === 0) return []
  const own = whole.files.filter(({ specId }) => specId === layout.specId)
  const partitions = [...Map.groupBy(own, partitionKey).values()]
  const groups = partitions
    .map((files) => filesToFold(files, staged.sizeBytes / partitions.length, dataFold))
    .toSorted((left, right) => right.length - left.length)
  let files = 0
  let bytes = 0
  return groups.flatMap((group) => {
    files += group.length
    bytes += group.reduce((sum, { fileSizeBytes }) => sum + fileSizeBytes, 0)
    return files <= foldBudget.files && bytes <= foldBudget.bytes ? group : []
  })
}

const writeData = Effect.fnUntraced(function* (
  request: MergeRequest,
  merge: {
    readonly layout: TableLayout
    readonly staged: StagedResult
    readonly plan: MergePlan
    readonly target: Target | null
    readonly whole: ScanPlan | null
    readonly gone: Gone
    readonly kept: ReadonlyArray<DataFile>
  },
) {
  const engine = yield* Engine
  const { gone, kept, layout, plan, staged, target, whole } = merge
  const locationOf = (index: number) => `${request.location}/data/${request.filePrefix}-${index}.parquet`
  const isPlain = layout.partition.length === 0 && layout.sort.length === 0
  const fits = staged.files.every(({ fileSizeBytes }) => fileSizeBytes <= 2 * layout.fileSizeBytes)
  if (plan.inserts === "source" && isPlain && fits && kept.length === 0) {
    const files = staged.files.map(
      (file, index): WrittenFile => ({
        localPath: file.filePath,
        file: { ...asNew(file), specId: layout.specId, filePath: locationOf(index) },
      }),
    )
    return { files, oldRows: 0 }
  }
  const names = layout.schema.fields.map(({ name }) => quoteName(name)).join(", ")
  const isLineaged = kept.length > 0 && request.base?.metadata.formatVersion === 3
  const nulls = isLineaged ? lineageColumns.map(({ name }) => `, null::bigint as ${name}`).join("") : ""
  const parts: Array<string> = []
  if (plan.inserts === "source" && staged.rows > 0) parts.push(`select ${names}${nulls} from ${staged.source}`)
  else if (plan.inserts !== null && plan.inserts !== "source")
    parts.push(`select ${names}${nulls} from (${plan.inserts})`)
  let oldRows = 0
  if (kept.length > 0 && whole !== null) {
    const old = yield* survivors(request, { whole, target, gone, kept, isLineaged })
    parts.push(old)
    const [count] = yield* engine.run(`select count(*) as n from (${old})`)
    oldRows = Number(count!.n)
  }
  if (parts.length === 0) return { files: [], oldRows: 0 }
  const files = yield* writeRows({
    layout,
    select: parts.join(" union all "),
    hasLineage: isLineaged,
    bytesPerRow: staged.rows === 0 ? 0 : staged.sizeBytes / staged.rows,
    name: `${request.filePrefix}-data`,
    locationOf,
  })
  return { files: files.map(({ file, localPath }) => ({ localPath, file: asNew(file) })), oldRows }
})

/** Of the schema that is current after the commit's updates: without a promise readers take the slow way by field ids. */
const asNew = (file: DataFile): DataFile => ({ ...file, schemaId: -1 })

/** Live rows of old files that are written anew, without those that go. */
const survivors = Effect.fnUntraced(function* (
  request: MergeRequest,
  rest: {
    readonly whole: ScanPlan
    readonly target: Target | null
    readonly gone: Gone
    readonly kept: ReadonlyArray<DataFile>
    readonly isLineaged: boolean
  },
) {
  const engine = yield* Engine
  const { gone, isLineaged, target, whole } = rest
  const keys = new Set(rest.kept.map(fileKey))
  const scan = readAs(whole, request)
  const files = scan.files.filter((file) => keys.has(fileKey(file)))
  const pathOf = yield* engine.readable(locationsOf(scan, files))
  const relation = relationOf({ ...scan, files }, pathOf, { positions: true, lineage: isLineaged })
  const names = [...request.write.schema.fields, ...(isLineaged ? lineageColumns : [])].map(
    ({ name }) => `rat_o.${quoteName(name)}`,
  )
  const select = `select ${names.join(", ")} from (${relation}) as rat_o`
  if (gone.positions === null || target === null) return select
  const numbers = new Map(target.plan.files.map((file, index) => [fileKey(file), index]))
  const numberOf = files.map((file) => numbers.get(fileKey(file)) ?? -1)
  return `${select} anti join (${gone.positions}) as rat_g on ([${numberOf.join(", ")}]::bigint[])[rat_o.rat_file + 1] = rat_g.rat_file and rat_o.rat_pos = rat_g.rat_pos`
})

/** What has to be readable for some files of a scan. */
const locationsOf = (scan: ScannedFiles, files: ReadonlyArray<DataFile>): ReadonlyArray<string> => {
  const locations = new Set<string>()
  for (const file of files) {
    locations.add(file.filePath)
    const deletes = scan.applied.get(file)
    if (deletes === undefined) continue
    for (const each of [...deletes.positions, ...deletes.equality]) locations.add(each.filePath)
    if (deletes.vector !== null) locations.add(scan.vectors.get(fileKey(deletes.vector))!)
  }
  return [...locations]
}

const store = Effect.fnUntraced(function* (files: ReadonlyArray<WrittenFile>) {
  const engine = yield* Engine
  const objects = yield* ObjectStore
  yield* Effect.forEach(
    files,
    ({ file, localPath }) =>
      Effect.andThen(
        engine.written(file.filePath, localPath),
        objects.putFile(objects.keyOf(file.filePath), localPath),
      ),
    { concurrency: storedAtOnce, discard: true },
  )
  return files
})

const writeDeletes = Effect.fnUntraced(function* (
  request: MergeRequest,
  target: Target,
  whole: ScanPlan | null,
  counts: ReadonlyMap<number, number>,
  gone: Gone,
) {
  const engine = yield* Engine
  let number = 0
  const deletes = {
    files: target.plan.files,
    counts,
    positions: gone.positions!,
    applied: target.scan.applied,
    vectors: target.scan.vectors,
    pathOf: target.pathOf,
    name: `${request.filePrefix}-deletes`,
    locationOf: (kind: string, extension: string) =>
      `${request.location}/data/${request.filePrefix}-${kind}-${number++}.${extension}`,
  }
  const isV3 =
    request.base?.metadata.formatVersion === 3 ||
    request.write.updates.some((update) => update.action === "upgrade-format-version" && update.formatVersion === 3)
  if (isV3) return yield* writeDeletionVectors(deletes)
  return yield* writePositionDeletes(
    deletes,
    whole === null || !request.folds
      ? null
      : {
          deletes: whole.deletes,
          readable: engine.readable,
        },
  )
})

/** How a person reads what happened. */
export const mergeSentence = ({ files, rows }: Merged): string => {
  const parts = [`${rows.added} row(s) written`]
  if (rows.removed !== null && rows.removed > 0) parts.push(`${rows.removed} old row(s) removed or replaced`)
  const places = [
    files.removed > 0 ? `${files.removed} file(s) dropped` : "",
    files.rewritten > 0 ? `${files.rewritten} file(s) rewritten` : "",
    files.folded > 0 ? `${files.folded} small file(s) merged` : "",
  ].filter((part) => part !== "")
  return `${parts.join(", ")}${places.length === 0 ? "" : ` (${places.join(", ")})`}`
}
