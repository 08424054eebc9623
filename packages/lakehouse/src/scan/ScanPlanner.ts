import { Column } from "@rat/domain"
import { Cause, Context, Effect, Layer } from "effect"
import { duckTypeOf } from "../engine/TypeMap.ts"
import type { DataFile } from "../iceberg/DataFile.ts"
import { IcebergTable } from "../iceberg/IcebergTable.ts"
import { totalsOf } from "../iceberg/TableCommit.ts"
import { TableCorrupt } from "../iceberg/TableCorrupt.ts"
import type { Schema, TableMetadata } from "../iceberg/TableMetadata.ts"
import type { ObjectNotFound, StoreUnavailable } from "../store/ObjectStore.ts"
import { maximumOf } from "./Maximum.ts"
import { pruneFiles } from "./Pruning.ts"
import { relationOf, unreadableForeignFiles } from "./Relation.ts"

/** A comparison that rows must satisfy to be of interest; files whose bounds exclude it are left out. */
export interface ScanPredicate {
  readonly column: string
  readonly op: "=" | "<" | "<=" | ">" | ">=" | "is null" | "is not null"
  readonly value?: string | number | bigint | boolean | Date
}

/** One table at one snapshot, ready to be read. */
export interface ScanPlan {
  readonly metadataLocation: string
  readonly metadata: TableMetadata
  readonly snapshotId: bigint | null
  /** What rows are read as: the current schema, or an older snapshot's own when that was asked for. */
  readonly schema: Schema
  /** The same in DuckDB's type names. */
  readonly columns: ReadonlyArray<Column>
  /** Exactly the files that are read. */
  readonly files: ReadonlyArray<DataFile>
  /** How many live files pruning left out. */
  readonly prunedFiles: number
  readonly rowCount: number
  readonly sizeBytes: number
  /**
   * The table as a SQL query (`select … from read_parquet([...])`, see `Relation`; an empty typed relation when no
   * file is left). `pathOf` gives the local path of each file's location.
   */
  readonly relation: (pathOf: (location: string) => string) => string
}

/** Plans are kept by metadata location and snapshot; the least recently used ones go first. */
const cachedPlans = 1024

export class ScanPlanner extends Context.Service<
  ScanPlanner,
  {
    /** Cached by metadata location: an unchanged table is not planned again. */
    readonly plan: (
      metadataLocation: string,
      options?: { readonly predicates?: ReadonlyArray<ScanPredicate>; readonly snapshotId?: bigint },
    ) => Effect.Effect<ScanPlan, ObjectNotFound | StoreUnavailable | TableCorrupt>
    /**
     * Largest value of a column (NULLs do not count) from file statistics alone, as text in DuckDB's format; null when there
     * are no rows or only NULLs. `NoSuchElementError` when the statistics do not tell: then ask the data.
     */
    readonly maximum: (plan: ScanPlan, column: string) => Effect.Effect<string | null, Cause.NoSuchElementError>
    /** How often `plan` had to read metadata (F-21: 0 at idle). */
    readonly planned: Effect.Effect<number>
  }
>()("rat/lakehouse/scan/ScanPlanner") {
  static readonly layer = Layer.effect(
    ScanPlanner,
    Effect.gen(function* () {
      const tables = yield* IcebergTable
      const plans = new Map<string, ScanPlan>()
      let planned = 0

      const planAll = Effect.fnUntraced(function* (metadataLocation: string, wanted: bigint | undefined) {
        planned++
        const metadata = yield* tables.load(metadataLocation)
        const snapshotId = wanted ?? metadata.currentSnapshotId
        const files = yield* tables.dataFiles(metadata, wanted)
        const snapshot = metadata.snapshots.find((candidate) => candidate.snapshotId === snapshotId)
        // The current snapshot is read with the current schema, which may be newer than the snapshot.
        const schemaId = wanted === undefined ? metadata.currentSchemaId : snapshot!.schemaId
        const schema = metadata.schemas.find((candidate) => candidate.schemaId === schemaId)
        if (schema === undefined) {
          return yield* new TableCorrupt({ location: metadataLocation, reason: `it has no schema ${schemaId}` })
        }
        if (files.some((file) => file.schemaId === undefined)) {
          const reason = unreadableForeignFiles(schema, metadata.schemas, metadata.properties)
          if (reason !== null) return yield* new TableCorrupt({ location: metadataLocation, reason })
        }
        return planOf({ metadataLocation, metadata, snapshotId, schema, files, prunedFiles: 0 })
      })

      const plan: ScanPlanner["Service"]["plan"] = Effect.fn("ScanPlanner.plan")(function* (
        metadataLocation,
        options = {},
      ) {
        const key = `${metadataLocation} ${options.snapshotId ?? ""}`
        const whole = plans.get(key) ?? (yield* planAll(metadataLocation, options.snapshotId))
        plans.delete(key) // to the end: the first one is the least recently used
        plans.set(key, whole)
        if (plans.size > cachedPlans) plans.delete(plans.keys().next().value!)
        if (options.predicates === undefined || options.predicates.length === 0) return whole
        const files = pruneFiles(whole.schema, whole.files, options.predicates)
        return planOf({ ...whole, files, prunedFiles: whole.files.length - files.length })
      })

      const maximum: ScanPlanner["Service"]["maximum"] = Effect.fnUntraced(function* (plan, column) {
        const found = maximumOf(plan.schema, plan.files, column)
        if (found === undefined) {
          return yield* new Cause.NoSuchElementError(`The statistics do not tell the largest value of "${column}".`)
        }
        return found
      })

      return ScanPlanner.of({ plan, maximum, planned: Effect.sync(() => planned) })
    }),
  )
}

const planOf = (
  scan: Pick<ScanPlan, "metadataLocation" | "metadata" | "snapshotId" | "schema" | "files" | "prunedFiles">,
): ScanPlan => {
  const { files, metadata, metadataLocation, prunedFiles, schema, snapshotId } = scan
  const totals = totalsOf(files)
  return {
    metadataLocation,
    metadata,
    snapshotId,
    schema,
    columns: schema.fields.map(
      (field) =>
        new Column({
          name: field.name,
          type: duckTypeOf(field.type),
          ...(field.doc === undefined ? {} : { description: field.doc }),
        }),
    ),
    files,
    prunedFiles,
    rowCount: totals.records,
    sizeBytes: totals.sizeBytes,
    relation: (pathOf) => relationOf(schema, metadata.schemas, files, pathOf),
  }
}
