import { Schema } from "effect"
import { HttpApi, HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { Description, Namespace, NamespaceName } from "../namespace/Namespace.ts"
import { Layer, PipelineName } from "../pipeline/Pipeline.ts"
import { LimitsChange, NamespaceLimits, NamespaceQueue, PipelineLimitChange } from "../quota/NamespaceLimits.ts"
import { commonErrors } from "./ApiErrors.ts"
import { pageQuery } from "./Page.ts"
import { strictBody } from "./StrictBody.ts"

const params = { name: NamespaceName }

export class NamespacesApi extends HttpApiGroup.make("namespaces")
  .add(
    HttpApiEndpoint.get("list", "/", {
      query: pageQuery,
      success: Schema.Struct({ namespaces: Schema.Array(Namespace), total: Schema.Int }),
      error: commonErrors,
    }).annotate(OpenApi.Summary, "List namespaces"),
  )
  .add(
    HttpApiEndpoint.post("create", "/", {
      payload: Schema.Struct({ name: NamespaceName, description: Schema.optional(Description) }),
      success: Schema.Struct({ name: NamespaceName }).pipe(HttpApiSchema.status(201)),
      error: commonErrors,
    }).annotate(OpenApi.Summary, "Make a namespace"),
  )
  .add(
    HttpApiEndpoint.put("update", "/:name", {
      params,
      payload: Schema.Struct({ description: Description }),
      success: HttpApiSchema.NoContent,
      error: commonErrors,
    }).annotate(OpenApi.Summary, "Change the description"),
  )
  .add(
    HttpApiEndpoint.delete("delete", "/:name", {
      params,
      success: HttpApiSchema.NoContent,
      error: commonErrors,
    }).annotate(OpenApi.Summary, "Delete an empty namespace"),
  )
  .add(
    HttpApiEndpoint.get("limits", "/:name/limits", {
      params,
      success: NamespaceLimits,
      error: commonErrors,
    }).annotate(OpenApi.Summary, "Limits and weight of a namespace, and those of its pipelines"),
  )
  .add(
    HttpApiEndpoint.put("setLimits", "/:name/limits", {
      params,
      payload: LimitsChange,
      success: NamespaceLimits,
      error: commonErrors,
    })
      .annotate(OpenApi.Summary, "Set limits or weight; null goes back to the default")
      .annotate(HttpApi.PayloadParseOptions, strictBody),
  )
  .add(
    HttpApiEndpoint.put("setPipelineLimit", "/:name/limits/:layer/:pipeline", {
      params: { ...params, layer: Layer, pipeline: PipelineName },
      payload: PipelineLimitChange,
      success: NamespaceLimits,
      error: commonErrors,
    })
      .annotate(OpenApi.Summary, "Set how many runs of a pipeline may be pending")
      .annotate(HttpApi.PayloadParseOptions, strictBody),
  )
  .add(
    HttpApiEndpoint.get("queue", "/:name/queue", {
      params,
      success: NamespaceQueue,
      error: commonErrors,
    }).annotate(OpenApi.Summary, "Pending runs of a namespace in the order in which they would start"),
  )
  .prefix("/api/v1/namespaces") {}
