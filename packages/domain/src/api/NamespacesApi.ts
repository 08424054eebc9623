import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { Description, Namespace, NamespaceName } from "../namespace/Namespace.ts"
import { commonErrors } from "./ApiErrors.ts"
import { pageQuery } from "./Page.ts"

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
  .prefix("/api/v1/namespaces") {}
