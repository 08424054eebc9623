import type { Column } from "@rat/domain"
import { type Effect, Schema } from "effect"
import type { TableMetadata, Schema as TableSchema } from "../iceberg/TableMetadata.ts"

/** The result's columns do not fit the table, or a type has no Iceberg counterpart. Lists every column. */
export class SchemaMismatch extends Schema.TaggedError<SchemaMismatch>()("SchemaMismatch", {
  table: Schema.String,
  problems: Schema.Array(Schema.String),
}) {
  override get message() {
    return `The result does not fit table ${this.table}: ${this.problems.join("; ")}.`
  }
}

/** How a result is written so that it becomes files of the table. */
export interface WritePlan {
  /** Schema of the new files, field ids assigned; ids of columns that the table has stay the same. */
  readonly schema: TableSchema
  readonly lastColumnId: number
  /**
   * `copy (select <casts> from (<query>)) to '<folder>' (format parquet, field_ids …, return_stats …)` for a source
   * query and a target folder (which DuckDB creates) or file.
   */
  readonly copySql: (query: string, target: string) => string
}

/**
 * Plans the write of a result with `columns` (DuckDB's type names, in result order). `append` needs the table's
 * columns by name (any order; missing nullable ones become NULL; new or retyped ones are a mismatch), `overwrite`
 * takes the result's columns and keeps the field ids of those whose name and type stay.
 */
export type PlanWrite = (write: {
  readonly table: string
  readonly base: TableMetadata | null
  readonly operation: "append" | "overwrite"
  readonly columns: ReadonlyArray<Column>
}) => Effect.Effect<WritePlan, SchemaMismatch>
