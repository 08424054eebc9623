import { Schema } from "effect"
import { Multipart } from "effect/http"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { LandingFile, LandingZone, LandingZoneCreate, LandingZoneUpdate, ZoneName } from "../landing/LandingZone.ts"
import { NamespaceName } from "../namespace/Namespace.ts"
import { commonErrors, PayloadTooLarge } from "./ApiErrors.ts"
import { pageQuery } from "./Page.ts"

const params = { namespace: NamespaceName, name: ZoneName }
const fileParams = { ...params, fileId: Schema.String }
const path = "/:namespace/:name"

export class LandingZonesApi extends HttpApiGroup.make("landingZones")
  .add(
    HttpApiEndpoint.get("list", "/", {
      query: { ...pageQuery, namespace: Schema.optional(NamespaceName) },
      success: Schema.Struct({ zones: Schema.Array(LandingZone), total: Schema.Int }),
      error: commonErrors,
    }).annotate(OpenApi.Summary, "List landing zones"),
  )
  .add(
    HttpApiEndpoint.post("create", "/", {
      payload: LandingZoneCreate,
      success: LandingZone.pipe(HttpApiSchema.status(201)),
      error: commonErrors,
    }).annotate(OpenApi.Summary, "Make a landing zone"),
  )
  .add(
    HttpApiEndpoint.get("get", path, { params, success: LandingZone, error: commonErrors }).annotate(
      OpenApi.Summary,
      "One landing zone",
    ),
  )
  .add(
    HttpApiEndpoint.put("update", path, {
      params,
      payload: LandingZoneUpdate,
      success: LandingZone,
      error: commonErrors,
    }).annotate(OpenApi.Summary, "Change description, owner or expected schema"),
  )
  .add(
    HttpApiEndpoint.delete("delete", path, { params, success: HttpApiSchema.NoContent, error: commonErrors }).annotate(
      OpenApi.Summary,
      "Delete a landing zone and its files",
    ),
  )
  .add(
    HttpApiEndpoint.get("files", `${path}/files`, {
      params,
      query: pageQuery,
      success: Schema.Struct({ files: Schema.Array(LandingFile), total: Schema.Int }),
      error: commonErrors,
    }).annotate(OpenApi.Summary, "List the files of a zone"),
  )
  .add(
    HttpApiEndpoint.post("upload", `${path}/files`, {
      params,
      payload: Schema.Struct({ file: Multipart.SingleFileSchema }).pipe(HttpApiSchema.asMultipart()),
      success: LandingFile.pipe(HttpApiSchema.status(201)),
      error: [...commonErrors, PayloadTooLarge],
    }).annotate(OpenApi.Summary, "Upload a file into a zone"),
  )
  .add(
    HttpApiEndpoint.get("file", `${path}/files/:fileId`, {
      params: fileParams,
      success: LandingFile,
      error: commonErrors,
    }).annotate(OpenApi.Summary, "One file of a zone"),
  )
  .add(
    HttpApiEndpoint.delete("deleteFile", `${path}/files/:fileId`, {
      params: fileParams,
      success: HttpApiSchema.NoContent,
      error: commonErrors,
    }).annotate(OpenApi.Summary, "Delete a file of a zone"),
  )
  .prefix("/api/v1/landing-zones") {}
