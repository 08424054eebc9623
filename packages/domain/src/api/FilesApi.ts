import { Schema } from "effect"
import { Multipart } from "effect/http"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { FileContent, FileInfo, FilePath } from "../file/File.ts"
import { commonErrors, PayloadTooLarge, Unprocessable } from "./ApiErrors.ts"

/** Everything after `/files/`: one parameter, whose slashes may be written as they are or as %2F. */
const params = { path: FilePath }

const Written = Schema.Struct({
  path: Schema.String,
  status: Schema.Literal("written"),
  version_id: Schema.String,
})

export class FilesApi extends HttpApiGroup.make("files")
  .add(
    HttpApiEndpoint.get("list", "/", {
      query: {
        /** Must start with a namespace. */
        prefix: Schema.String,
        /** Comma list of path segments to hide. */
        exclude: Schema.optional(Schema.String),
      },
      success: Schema.Struct({ files: Schema.Array(FileInfo) }),
      error: commonErrors,
    }).annotate(OpenApi.Summary, "List files below a prefix"),
  )
  .add(
    HttpApiEndpoint.post("upload", "/upload", {
      payload: Schema.Struct({ path: FilePath, file: Multipart.SingleFileSchema }).pipe(HttpApiSchema.asMultipart()),
      success: Schema.Struct({
        path: Schema.String,
        filename: Schema.String,
        size: Schema.Int,
        status: Schema.Literal("uploaded"),
        version_id: Schema.String,
      }).pipe(HttpApiSchema.status(201)),
      error: [...commonErrors, PayloadTooLarge, Unprocessable],
    }).annotate(OpenApi.Summary, "Upload a file as multipart form"),
  )
  .add(
    HttpApiEndpoint.get("read", "/:path", { params, success: FileContent, error: commonErrors }).annotate(
      OpenApi.Summary,
      "Read a text file",
    ),
  )
  .add(
    /** Saving config.yaml or pipeline.sql validates it: 422 lists every problem with its line. */
    HttpApiEndpoint.put("write", "/:path", {
      params,
      payload: Schema.Struct({ content: Schema.String }),
      success: Written,
      error: [...commonErrors, PayloadTooLarge, Unprocessable],
    }).annotate(OpenApi.Summary, "Write a text file; pipeline files are validated"),
  )
  .add(
    HttpApiEndpoint.delete("delete", "/:path", {
      params,
      success: HttpApiSchema.NoContent,
      error: commonErrors,
    }).annotate(OpenApi.Summary, "Delete a file"),
  )
  .prefix("/api/v1/files") {}
