import type { Column } from "@rat/domain"
import { Context, type Effect } from "effect"
import type { DataFile } from "../iceberg/DataFile.ts"
import type { TableCorrupt } from "../iceberg/IcebergTable.ts"
import type { TableMetadata } from "../iceberg/TableMetadata.ts"
import type { ObjectNotFound, StoreUnavailable } from "../store/ObjectStore.ts"

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
  /** Current schema, in DuckDB's type names. */
  readonly columns: ReadonlyArray<Column>
  /** Exactly the files that are read. */
  readonly files: ReadonlyArray<DataFile>
  /** How many live files pruning left out. */
  readonly prunedFiles: number
  readonly rowCount: number
  readonly sizeBytes: number
  /**
   * The table as a SQL query (`select … from read_parquet([...], schema = MAP{…})`; an empty typed relation when no
   * file is left). `pathOf` gives the local path of each file's location.
   */
  readonly relation: (pathOf: (location: string) => string) => string
}

export class ScanPlanner extends Context.Service<
  ScanPlanner,
  {
    /** Cached by metadata location: an unchanged table is not planned again. */
    readonly plan: (
      metadataLocation: string,
      options?: { readonly predicates?: ReadonlyArray<ScanPredicate>; readonly snapshotId?: bigint },
    ) => Effect.Effect<ScanPlan, ObjectNotFound | StoreUnavailable | TableCorrupt>
    /** Largest value of a column from file statistics alone, as text in DuckDB's format; null when there are no rows. */
    readonly maximum: (
      plan: ScanPlan,
      column: string,
    ) => Effect.Effect<string | null, import("effect").Cause.NoSuchElementError>
    /** How often `plan` had to read metadata (F-21: 0 at idle). */
    readonly planned: Effect.Effect<number>
  }
>()("rat/lakehouse/scan/ScanPlanner") {}
