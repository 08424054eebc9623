import { Schema } from "effect"
import { NamespaceName } from "../namespace/Namespace.ts"
import { Layer, PipelineName } from "../pipeline/Pipeline.ts"

/** A result or table column. `type` is DuckDB's name of the type, everywhere. */
export class Column extends Schema.Class<Column>("rat/domain/Column")({
  name: Schema.String,
  type: Schema.String,
  description: Schema.optional(Schema.String),
}) {}

/** `namespace.layer.name` of a table. */
export class TableKey extends Schema.Class<TableKey>("rat/domain/TableKey")({
  namespace: NamespaceName,
  layer: Layer,
  name: PipelineName,
}) {
  override toString() {
    return `${this.namespace}.${this.layer}.${this.name}`
  }
}

const tableFields = {
  namespace: NamespaceName,
  layer: Layer,
  name: PipelineName,
  /** From the snapshot's summary, not counted. */
  row_count: Schema.Int,
  size_bytes: Schema.Int,
  description: Schema.optional(Schema.String),
  snapshot_id: Schema.NullOr(Schema.String),
  metadata_location: Schema.String,
  updated_at: Schema.DateTimeUtcFromDate,
}
export class TableInfo extends Schema.Class<TableInfo>("rat/domain/TableInfo")(tableFields) {}

export class TableDetail extends Schema.Class<TableDetail>("rat/domain/TableDetail")({
  ...tableFields,
  columns: Schema.Array(Column),
  owner: Schema.optional(Schema.String),
  file_count: Schema.Int,
  format_version: Schema.Int,
}) {}

export class SchemaEntry extends Schema.Class<SchemaEntry>("rat/domain/SchemaEntry")({
  namespace: NamespaceName,
  layer: Layer,
  name: PipelineName,
  columns: Schema.Array(Column),
}) {}

/** What people wrote about a table; independent of the catalog, so it may exist before the table does. */
export class TableMetadata extends Schema.Class<TableMetadata>("rat/domain/TableMetadata")({
  id: Schema.String,
  namespace: NamespaceName,
  layer: Layer,
  name: PipelineName,
  description: Schema.String,
  owner: Schema.optional(Schema.String),
  column_descriptions: Schema.Record(Schema.String, Schema.String),
  created_at: Schema.DateTimeUtcFromDate,
  updated_at: Schema.DateTimeUtcFromDate,
}) {}

export class TableMetadataUpdate extends Schema.Class<TableMetadataUpdate>("rat/domain/TableMetadataUpdate")({
  description: Schema.optional(Schema.String.check(Schema.isMaxLength(5000))),
  owner: Schema.optional(Schema.String),
  column_descriptions: Schema.optional(Schema.Record(Schema.String, Schema.String)),
}) {}

export class TableNotFound extends Schema.TaggedError<TableNotFound>()(
  "TableNotFound",
  { table: Schema.String, ref: Schema.String },
  { httpApiStatus: 404 },
) {
  override get message() {
    return `Table "${this.table}" does not exist on ${this.ref}. A table appears when the first run of its pipeline is published.`
  }
}
