import { Schema } from "effect"

/** One snapshot of a table (Iceberg spec, "Snapshots"). Ids are text: they do not fit a JSON number. */
export class SnapshotInfo extends Schema.Class<SnapshotInfo>("rat/domain/SnapshotInfo")({
  snapshot_id: Schema.String,
  parent_snapshot_id: Schema.NullOr(Schema.String),
  sequence_number: Schema.Int,
  created_at: Schema.DateTimeUtcFromDate,
  /** `append`, `overwrite`, `delete`, `replace` */
  operation: Schema.String,
  run_id: Schema.NullOr(Schema.String),
  rows_added: Schema.Int,
  /** Rows of removed files and rows that got deletes. */
  rows_removed: Schema.Int,
  total_rows: Schema.Int,
  total_files: Schema.Int,
  size_bytes: Schema.Int,
  is_current: Schema.Boolean,
  summary: Schema.Record(Schema.String, Schema.String),
}) {}

/** A table that was dropped and can be brought back. */
export class DroppedTableInfo extends Schema.Class<DroppedTableInfo>("rat/domain/DroppedTableInfo")({
  table: Schema.String,
  row_count: Schema.Int,
  size_bytes: Schema.Int,
  dropped_at: Schema.DateTimeUtcFromDate,
}) {}

export class SnapshotNotFound extends Schema.TaggedError<SnapshotNotFound>()(
  "SnapshotNotFound",
  { table: Schema.String, wanted: Schema.String },
  { httpApiStatus: 404 },
) {
  override get message() {
    return `Table ${this.table} has no snapshot ${this.wanted}. \`rat table snapshots ${this.table}\` lists those that it has.`
  }
}

/** Somebody else moved the table meanwhile. Nothing was changed. */
export class TableMoved extends Schema.TaggedError<TableMoved>()(
  "TableMoved",
  { table: Schema.String, ref: Schema.String },
  { httpApiStatus: 409 },
) {
  override get message() {
    return `Table ${this.table} changed on ${this.ref} in the meantime. Look at it again and repeat if you still want to.`
  }
}

/** The name is taken by a table that exists. */
export class TableExists extends Schema.TaggedError<TableExists>()(
  "TableExists",
  { table: Schema.String, ref: Schema.String },
  { httpApiStatus: 409 },
) {
  override get message() {
    return `Table ${this.table} exists on ${this.ref}. Rename or drop it before you bring the dropped one back.`
  }
}
