import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { NamespaceName } from "../namespace/Namespace.ts"
import { Layer, Pipeline, PipelineCreate, PipelineName, PipelineUpdate } from "../pipeline/Pipeline.ts"
import { commonErrors } from "./ApiErrors.ts"
import { pageQuery } from "./Page.ts"

const params = { namespace: NamespaceName, layer: Layer, name: PipelineName }
const path = "/:namespace/:layer/:name"

export class PipelinesApi extends HttpApiGroup.make("pipelines")
  .add(
    HttpApiEndpoint.get("list", "/", {
      query: {
        ...pageQuery,
        namespace: Schema.optional(NamespaceName),
        layer: Schema.optional(Layer),
        /** Part of the name or the description, in any case. */
        search: Schema.optional(Schema.String),
      },
      success: Schema.Struct({ pipelines: Schema.Array(Pipeline), total: Schema.Int }),
      error: commonErrors,
    }).annotate(OpenApi.Summary, "List pipelines, with filters, search and sort"),
  )
  .add(
    /** Writes the scaffold it announces, and leaves files that are already there alone. */
    HttpApiEndpoint.post("create", "/", {
      payload: PipelineCreate,
      success: Schema.Struct({
        namespace: NamespaceName,
        layer: Layer,
        name: PipelineName,
        s3_path: Schema.String,
        files_created: Schema.Array(Schema.String),
      }).pipe(HttpApiSchema.status(201)),
      error: commonErrors,
    }).annotate(OpenApi.Summary, "Make a pipeline and its first files"),
  )
  .add(
    HttpApiEndpoint.get("get", path, { params, success: Pipeline, error: commonErrors }).annotate(
      OpenApi.Summary,
      "One pipeline",
    ),
  )
  .add(
    HttpApiEndpoint.put("update", path, {
      params,
      payload: PipelineUpdate,
      success: Pipeline,
      error: commonErrors,
    }).annotate(OpenApi.Summary, "Change description, type or owner"),
  )
  /** Soft delete. The files' contents that runs point to stay. */
  .add(
    HttpApiEndpoint.delete("delete", path, {
      params,
      /** What happens to the published table: `keep` (default), or `drop`, after which it can be brought back for some time. */
      query: { tables: Schema.optional(Schema.Literals(["keep", "drop"])) },
      success: HttpApiSchema.NoContent,
      error: commonErrors,
    }).annotate(OpenApi.Summary, "Delete a pipeline; its table stays unless asked otherwise"),
  )
  .prefix("/api/v1/pipelines") {}
