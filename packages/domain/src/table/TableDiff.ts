import { Schema } from "effect"
import { RefName } from "../branch/Ref.ts"

/** A state of a table: on a branch or tag (default main), at a snapshot or a time (default: the current one there). */
export const TableState = Schema.Struct({
  ref: Schema.optional(RefName),
  snapshot_id: Schema.optional(Schema.String),
  /** What was current then, in the history of the table on `ref`; not together with `snapshot_id`. */
  at: Schema.optional(Schema.DateTimeUtcFromString),
})
export type TableState = typeof TableState.Type

const Row = Schema.Record(Schema.String, Schema.Json)

/** What `b` has that `a` has not, and the other way round. */
export class TableDiff extends Schema.Class<TableDiff>("rat/domain/TableDiff")({
  /** Null where the table has no snapshot, or does not exist on that side: then all rows of the other one are added or removed. */
  a_snapshot_id: Schema.NullOr(Schema.String),
  b_snapshot_id: Schema.NullOr(Schema.String),
  /** Columns that told rows apart; empty: whole rows did. */
  key: Schema.Array(Schema.String),
  /**
   * Columns of only one side, fields of structs by their path (`address.street`); they do not take part in the comparison of rows. A
   * name in both lists got another type.
   */
  columns_added: Schema.Array(Schema.String),
  columns_removed: Schema.Array(Schema.String),
  rows_added: Schema.Int,
  rows_removed: Schema.Int,
  rows_changed: Schema.Int,
  /**
   * Data files that were read (of those that both sides have only the rows that one of them deleted), and files that both sides have
   * with the same deleted rows, which were not.
   */
  files_read: Schema.Int,
  files_same: Schema.Int,
  /** The first rows of each kind in the order of their keys. */
  sample: Schema.Array(
    Schema.Struct({
      kind: Schema.Literals(["added", "removed", "changed"]),
      before: Schema.NullOr(Row),
      after: Schema.NullOr(Row),
    }),
  ),
}) {}
