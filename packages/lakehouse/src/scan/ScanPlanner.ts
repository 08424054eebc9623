import { Column } from "@rat/domain"
import { Context, Effect, Layer, type Scope } from "effect"
import { duckTypeOf } from "../engine/TypeMap.ts"
import type { DataFile, DeleteFile } from "../iceberg/DataFile.ts"
import { IcebergTable } from "../iceberg/IcebergTable.ts"
import { hasLiveFiles, type ManifestFile } from "../iceberg/ManifestList.ts"
import { totalsOf } from "../iceberg/SnapshotSummary.ts"
import { TableCorrupt } from "../iceberg/TableCorrupt.ts"
import type { Schema, TableMetadata } from "../iceberg/TableMetadata.ts"
import type { ObjectNotFound, StoreUnavailable } from "../store/ObjectStore.ts"
import { derivedVectors } from "./DeletedPositions.ts"
import { applyDeletes } from "./DeleteIndex.ts"
import { makeForeignFiles } from "./ForeignFile.ts"
import { type MaximumAnswer, maximumOf } from "./Maximum.ts"
import { metadataRelation, metadataTableNeeds } from "./MetadataTable.ts"
import { type KeyRange, keyRangePredicates, type ScanPredicate } from "./Predicate.ts"
import { manifestPruning, pruneFiles } from "./Pruning.ts"
import { relationOf, type ScannedFiles } from "./Relation.ts"
import { makeVectorFiles } from "./VectorFile.ts"

/** One table at one snapshot, ready to be read. */
export interface ScanPlan {
  readonly metadataLocation: string
  readonly metadata: TableMetadata
  readonly snapshotId: bigint | null
  /** What rows are read as: the current schema, or an older snapshot's own when that was asked for. */
  readonly schema: Schema
  /** The same in DuckDB's type names. */
  readonly columns: ReadonlyArray<Column>
  /** Exactly the data files that are read. */
  readonly files: ReadonlyArray<DataFile>
  /** The delete files that concern one of them. */
  readonly deletes: ReadonlyArray<DeleteFile>
  /** How many live files pruning left out, those in manifests that were not read included. */
  readonly prunedFiles: number
  /**
   * Rows of `files` minus deleted ones, from metadata alone; an upper bound where equality deletes or lists of positions that
   * other writers doubled are among `deletes`.
   */
  readonly rowCount: number
  /** Data and delete files. */
  readonly sizeBytes: number
  /** Everything that has to be readable, by `ScanPlanner.localPath`: data files, delete files, unpacked deletion vectors. */
  readonly locations: ReadonlyArray<string>
  /**
   * The table's live rows as a SQL query (`select … from read_parquet([...])`, see `Relation`; an empty typed relation when no
   * file is left). `pathOf` gives the local path of each of `locations`.
   */
  readonly relation: (pathOf: (location: string) => string) => string
  /**
   * The same with `rat_file` (BIGINT, index into `files`) and `rat_pos` (BIGINT, 0-based row in the file); with `lineage` also
   * `_row_id` and `_last_updated_sequence_number` of v3.
   */
  readonly positions: (pathOf: (location: string) => string, options?: { readonly lineage?: boolean }) => string
}

export interface ScanOptions {
  /** Comparisons that rows must all satisfy to be of interest; files that cannot hold such rows are left out. */
  readonly predicates?: ReadonlyArray<ScanPredicate>
  /** Ranges of key columns: files that cannot hold a row within all of them are left out. */
  readonly keys?: ReadonlyArray<KeyRange>
  readonly snapshotId?: bigint
}

/** Plans are kept by metadata location and snapshot; the least recently used ones go first. */
const cachedPlans = 1024
const readsAtOnce = 16

/** A table at a snapshot before its manifests are read. */
interface Base {
  readonly metadataLocation: string
  readonly metadata: TableMetadata
  readonly snapshotId: bigint | null
  readonly schema: Schema
  readonly manifests: ReadonlyArray<ManifestFile>
  /** The plan of everything, once somebody asked for it. */
  whole?: ScanPlan
}

type PlanError = ObjectNotFound | StoreUnavailable | TableCorrupt

export class ScanPlanner extends Context.Service<
  ScanPlanner,
  {
    /**
     * Cached by metadata location: an unchanged table is not planned again. With predicates only manifests that may list
     * matching files are read.
     */
    readonly plan: (metadataLocation: string, options?: ScanOptions) => Effect.Effect<ScanPlan, PlanError>
    /** Columns and number of data files, without reading manifests. */
    readonly outline: (
      metadataLocation: string,
      snapshotId?: bigint,
    ) => Effect.Effect<{ readonly columns: ReadonlyArray<Column>; readonly dataFiles: number }, PlanError>
    /**
     * Largest value of a column (NULLs do not count) from file statistics alone, as text in DuckDB's format; null when there
     * are no rows or only NULLs. Where the statistics do not tell (also because deletes may have taken it away) the part of the
     * plan that has to be asked: only files that may hold the maximum. Its rows' maximum is the table's.
     */
    readonly maximum: (plan: ScanPlan, column: string) => MaximumAnswer<ScanPlan>
    /**
     * What the table knows of itself (`snapshots`, `files`, …; see `MetadataTable`) as a SQL query that reads no files. The name is
     * one of `metadataTableNames`.
     */
    readonly metadataTable: (
      metadataLocation: string,
      name: string,
      snapshotId?: bigint,
    ) => Effect.Effect<string, PlanError>
    /** A local file for one of a plan's `locations`, valid until the scope closes. */
    readonly localPath: (location: string) => Effect.Effect<string, PlanError, Scope.Scope>
    /** How often `plan` had to read metadata (F-21: 0 at idle). */
    readonly planned: Effect.Effect<number>
  }
>()("rat/lakehouse/scan/ScanPlanner") {
  static readonly layer = Layer.effect(
    ScanPlanner,
    Effect.gen(function* () {
      const tables = yield* IcebergTable
      const vectorFiles = yield* makeVectorFiles
      const inspectFiles = makeForeignFiles(vectorFiles.localPath)
      const bases = new Map<string, Base>()
      let planned = 0

      const loadBase = Effect.fnUntraced(function* (metadataLocation: string, wanted: bigint | undefined) {
        planned++
        const metadata = yield* tables.load(metadataLocation)
        const snapshotId = wanted ?? metadata.currentSnapshotId
        const manifests = snapshotId === null ? [] : yield* tables.manifests(metadata, snapshotId)
        const snapshot = metadata.snapshots.find((candidate) => candidate.snapshotId === snapshotId)
        // The current snapshot is read with the current schema, which may be newer than the snapshot.
        const schemaId = wanted === undefined ? metadata.currentSchemaId : snapshot!.schemaId
        const schema = metadata.schemas.find((candidate) => candidate.schemaId === schemaId)
        if (schema === undefined) {
          return yield* new TableCorrupt({ location: metadataLocation, reason: `it has no schema ${schemaId}` })
        }
        return { metadataLocation, metadata, snapshotId, schema, manifests } as Base
      })

      const baseOf = Effect.fnUntraced(function* (metadataLocation: string, wanted: bigint | undefined) {
        const key = `${metadataLocation} ${wanted ?? ""}`
        const base = bases.get(key) ?? (yield* loadBase(metadataLocation, wanted))
        bases.delete(key) // to the end: the first one is the least recently used
        bases.set(key, base)
        if (bases.size > cachedPlans) bases.delete(bases.keys().next().value!)
        return base
      })

      /** The files of manifests. Delete manifests are all read: what they concern is seen file by file. */
      const filesOf = Effect.fnUntraced(function* (metadata: TableMetadata, manifests: ReadonlyArray<ManifestFile>) {
        const read = (line: ManifestFile) => tables.readManifest(metadata, line)
        const entries = yield* Effect.forEach(manifests.filter(hasLiveFiles), read, { concurrency: readsAtOnce })
        const data: Array<DataFile> = []
        const deletes: Array<DeleteFile> = []
        for (const { file, status } of entries.flat()) {
          if (status === "deleted") continue
          if (file.content === "data") data.push(file)
          else deletes.push(file)
        }
        return { data, deletes }
      })

      const planOf = Effect.fnUntraced(function* (
        base: Base,
        files: ReadonlyArray<DataFile>,
        deletes: ReadonlyArray<DeleteFile>,
        prunedFiles: number,
      ) {
        const { metadata, schema } = base
        const applied = applyDeletes(metadata.partitionSpecs, files, deletes)
        const scan: ScannedFiles = {
          schema,
          schemas: metadata.schemas,
          specs: metadata.partitionSpecs,
          files,
          applied,
          vectors: derivedVectors(applied),
          inspected: yield* inspectFiles(metadata, schema, files),
        }
        return scanPlan(base, scan, prunedFiles)
      })

      const plan: ScanPlanner["Service"]["plan"] = Effect.fn("ScanPlanner.plan")(function* (
        metadataLocation,
        options = {},
      ) {
        const base = yield* baseOf(metadataLocation, options.snapshotId)
        const predicates = [...(options.predicates ?? []), ...keyRangePredicates(options.keys ?? [])]
        if (predicates.length === 0) {
          if (base.whole !== undefined) return base.whole
          const { data, deletes } = yield* filesOf(base.metadata, base.manifests)
          base.whole = yield* planOf(base, data, deletes, 0)
          return base.whole
        }
        const { metadata, schema } = base
        const canMatch = manifestPruning(schema, metadata.partitionSpecs, predicates)
        const wanted = base.manifests.filter((line) => line.content === "deletes" || canMatch(line))
        const skipped = base.manifests
          .filter((line) => line.content === "data")
          .reduce((sum, line) => (canMatch(line) ? sum : sum + line.addedFiles + line.existingFiles), 0)
        const { data, deletes } = yield* filesOf(metadata, wanted)
        const files = pruneFiles(schema, metadata.partitionSpecs, data, predicates)
        return yield* planOf(base, files, deletes, skipped + data.length - files.length)
      })

      const outline: ScanPlanner["Service"]["outline"] = Effect.fn("ScanPlanner.outline")(
        function* (metadataLocation, snapshotId) {
          const { manifests, schema } = yield* baseOf(metadataLocation, snapshotId)
          const dataFiles = manifests
            .filter(({ content }) => content === "data")
            .reduce((sum, line) => sum + line.addedFiles + line.existingFiles, 0)
          return { columns: columnsOf(schema), dataFiles }
        },
      )

      const metadataTable: ScanPlanner["Service"]["metadataTable"] = Effect.fn("ScanPlanner.metadataTable")(
        function* (metadataLocation, name, wanted) {
          const metadata = yield* tables.load(metadataLocation)
          const snapshotId = wanted ?? metadata.currentSnapshotId
          const needs = metadataTableNeeds(name)
          const manifests =
            needs === "metadata" || snapshotId === null ? [] : yield* tables.manifests(metadata, snapshotId)
          const read = (line: ManifestFile) => tables.readManifest(metadata, line)
          const entries =
            needs === "entries"
              ? yield* Effect.forEach(manifests.filter(hasLiveFiles), read, { concurrency: readsAtOnce })
              : []
          return metadataRelation(name, {
            metadata,
            metadataLocation,
            manifests,
            entries: entries.flat().filter(({ status }) => status !== "deleted"),
            snapshotId,
          })
        },
      )

      const maximum: ScanPlanner["Service"]["maximum"] = (scan, column) => {
        const found = maximumOf(scan.schema, scan.files, touchedFiles(scan), column)
        return found.kind === "value"
          ? found
          : { kind: "ask", plan: found.files === undefined ? scan : narrowed(scan, found.files) }
      }

      return ScanPlanner.of({
        plan,
        outline,
        maximum,
        metadataTable,
        localPath: vectorFiles.localPath,
        planned: Effect.sync(() => planned),
      })
    }),
  )
}

/** What a plan was made of, so that it can be narrowed to some of its files. */
const parts = new WeakMap<ScanPlan, { readonly base: Base; readonly scan: ScannedFiles }>()

/** What a plan reads, for those who read it in another way: as another schema, or only what is deleted. */
export const scannedFiles = (plan: ScanPlan): ScannedFiles => parts.get(plan)!.scan

const touchedFiles = (plan: ScanPlan): ReadonlySet<DataFile> => new Set(parts.get(plan)!.scan.applied.keys())

/** The plan of some of a plan's files (the same objects), with the deletes that concern them. */
export const narrowed = (plan: ScanPlan, files: ReadonlySet<DataFile>): ScanPlan => {
  const { base, scan } = parts.get(plan)!
  const applied = new Map([...scan.applied].filter(([file]) => files.has(file)))
  const left = plan.files.filter((file) => files.has(file))
  return scanPlan(
    base,
    { ...scan, files: left, applied, vectors: derivedVectors(applied) },
    plan.prunedFiles + plan.files.length - left.length,
  )
}

const columnsOf = (schema: Schema): ReadonlyArray<Column> =>
  schema.fields.map(
    (field) =>
      new Column({
        name: field.name,
        type: duckTypeOf(field.type),
        ...(field.doc === undefined ? {} : { description: field.doc }),
      }),
  )

const scanPlan = (base: Base, scan: ScannedFiles, prunedFiles: number): ScanPlan => {
  const { metadata, metadataLocation, schema, snapshotId } = base
  const { applied, files, vectors } = scan
  const deletes = new Set<DeleteFile>()
  for (const { equality, positions, vector } of applied.values()) {
    for (const file of [...positions, ...equality]) deletes.add(file)
    if (vector !== null) deletes.add(vector)
  }
  const sum = (items: Iterable<DataFile | DeleteFile>, of: (file: DataFile | DeleteFile) => number) => {
    let total = 0
    for (const item of items) total += of(item)
    return total
  }
  const deletedRows = sum(deletes, (file) => (file.content === "position-deletes" ? file.recordCount : 0))
  const listed = Array.from(deletes).filter((file) => file.format === "parquet")
  const plan: ScanPlan = {
    metadataLocation,
    metadata,
    snapshotId,
    schema,
    columns: columnsOf(schema),
    files,
    deletes: [...deletes],
    prunedFiles,
    rowCount: Math.max(0, sum(files, ({ recordCount }) => recordCount) - deletedRows),
    sizeBytes: totalsOf([...files, ...deletes]).sizeBytes,
    locations: [
      ...files.map(({ filePath }) => filePath),
      ...listed.map(({ filePath }) => filePath),
      ...new Set(vectors.values()),
    ],
    relation: (pathOf) => relationOf(scan, pathOf),
    positions: (pathOf, { lineage = false } = {}) => relationOf(scan, pathOf, { positions: true, lineage }),
  }
  parts.set(plan, { base, scan })
  return plan
}
