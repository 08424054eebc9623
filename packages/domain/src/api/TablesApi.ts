import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, OpenApi } from "effect/http-api"
import { RefName } from "../branch/Ref.ts"
import { NamespaceName } from "../namespace/Namespace.ts"
import { Layer, PipelineName } from "../pipeline/Pipeline.ts"
import { TableDetail, TableInfo, TableMetadata, TableMetadataUpdate } from "../table/Table.ts"
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
  .prefix("/api/v1/tables") {}
