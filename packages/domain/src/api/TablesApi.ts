import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { RefName } from "../branch/Ref.ts"
import { NamespaceName } from "../namespace/Namespace.ts"
import { Layer, PipelineName } from "../pipeline/Pipeline.ts"
import { TableDetail, TableInfo, TableMetadata, TableMetadataUpdate } from "../table/Table.ts"
import { TableDiff, TableState } from "../table/TableDiff.ts"
import { DroppedTableInfo, SnapshotInfo } from "../table/TableVersion.ts"
import { commonErrors, DeadlineExceeded } from "./ApiErrors.ts"
import { pageQuery } from "./Page.ts"
import { QueryAnswer } from "./QueryApi.ts"

const params = { namespace: NamespaceName, layer: Layer, name: PipelineName }
const path = "/:namespace/:layer/:name"
const branch = { branch: Schema.optional(RefName) }

export class TablesApi extends HttpApiGroup.make("tables")
  .add(
    HttpApiEndpoint.get("list", "/", {
      query: { ...pageQuery, ...branch, namespace: Schema.optional(NamespaceName), layer: Schema.optional(Layer) },
      success: Schema.Struct({ tables: Schema.Array(TableInfo), total: Schema.Int }),
      error: commonErrors,
    }).annotate(OpenApi.Summary, "List tables with rows and size"),
  )
  .add(
    HttpApiEndpoint.get("get", path, { params, query: branch, success: TableDetail, error: commonErrors }).annotate(
      OpenApi.Summary,
      "One table with its columns",
    ),
  )
  .add(
    HttpApiEndpoint.get("preview", `${path}/preview`, {
      params,
      /** limit 1..1000, default 50. */
      query: { ...branch, limit: Schema.optional(Schema.String) },
      success: QueryAnswer,
      error: [...commonErrors, DeadlineExceeded],
    }).annotate(OpenApi.Summary, "First rows"),
  )
  .add(
    HttpApiEndpoint.get("metadata", `${path}/metadata`, {
      params,
      success: TableMetadata,
      error: commonErrors,
    }).annotate(OpenApi.Summary, "What people wrote about a table"),
  )
  .add(
    HttpApiEndpoint.put("updateMetadata", `${path}/metadata`, {
      params,
      payload: TableMetadataUpdate,
      success: TableMetadata,
      error: commonErrors,
    }).annotate(OpenApi.Summary, "Change what people wrote; fields that are left out stay"),
  )
  .add(
    HttpApiEndpoint.get("snapshots", `${path}/snapshots`, {
      params,
      query: branch,
      success: Schema.Struct({ snapshots: Schema.Array(SnapshotInfo) }),
      error: commonErrors,
    }).annotate(OpenApi.Summary, "Snapshots of a table, newest first"),
  )
  .add(
    HttpApiEndpoint.post("rollback", `${path}/rollback`, {
      params,
      /** One of the two: a snapshot's id, or the time at which the table was as it is to be. */
      payload: Schema.Struct({
        snapshot_id: Schema.optional(Schema.String),
        at: Schema.optional(Schema.DateTimeUtcFromString),
        branch: Schema.optional(RefName),
      }),
      success: TableDetail,
      error: commonErrors,
    }).annotate(OpenApi.Summary, "Set a table to an older snapshot, as a new commit; nothing is lost"),
  )
  .add(
    HttpApiEndpoint.delete("drop", path, {
      params,
      query: branch,
      success: HttpApiSchema.NoContent,
      error: commonErrors,
    }).annotate(OpenApi.Summary, "Drop a table; it can be brought back for some time"),
  )
  .add(
    HttpApiEndpoint.get("dropped", "/dropped", {
      query: { ...branch, namespace: Schema.optional(NamespaceName) },
      success: Schema.Struct({ tables: Schema.Array(DroppedTableInfo) }),
      error: commonErrors,
    }).annotate(OpenApi.Summary, "Dropped tables that can be brought back"),
  )
  .add(
    HttpApiEndpoint.post("undrop", `${path}/undrop`, {
      params,
      query: branch,
      success: TableDetail,
      error: commonErrors,
    }).annotate(OpenApi.Summary, "Bring a dropped table back"),
  )
  .add(
    HttpApiEndpoint.post("diff", `${path}/diff`, {
      params,
      payload: Schema.Struct({
        a: TableState,
        b: TableState,
        /** Columns that tell rows apart; default: the table's identifier fields, or the unique key of its pipeline. An empty list compares whole rows: none are changed. */
        key: Schema.optional(Schema.Array(Schema.String).check(Schema.isMaxLength(32))),
        /** Rows of each kind in the sample: 0..1000, default 20. */
        limit: Schema.optional(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 1000 }))),
        timeout_ms: Schema.optional(Schema.Int.check(Schema.isGreaterThan(0))),
      }),
      success: TableDiff,
      error: [...commonErrors, DeadlineExceeded],
    }).annotate(OpenApi.Summary, "Rows that were added, removed or changed between two states of a table"),
  )
  .prefix("/api/v1/tables") {}
