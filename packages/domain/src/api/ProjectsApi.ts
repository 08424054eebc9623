import { Schema } from "effect"
import { HttpApi, HttpApiEndpoint, HttpApiGroup, OpenApi } from "effect/http-api"
import { NamespaceName } from "../namespace/Namespace.ts"
import { ProjectFile } from "../run/RunnerRpc.ts"
import { commonErrors, PayloadTooLarge, Unprocessable } from "./ApiErrors.ts"
import { strictBody } from "./StrictBody.ts"

/** What a push did, as paths inside the namespace. */
export class PushAnswer extends Schema.Class<PushAnswer>("rat/api/PushAnswer")({
  written: Schema.Array(Schema.String),
  unchanged: Schema.Array(Schema.String),
  deleted: Schema.Array(Schema.String),
  /** `layer.name` of pipelines that did not exist before. */
  pipelines_created: Schema.Array(Schema.String),
  zones_created: Schema.Array(Schema.String),
  dry_run: Schema.Boolean,
}) {}

export class ProjectsApi extends HttpApiGroup.make("projects")
  .add(
    /**
     * Brings a whole project to the server, all files or none. Problems come back together as 422 with
     * `details.issues`. Makes namespace, pipelines and landing zones that the files name and that are missing.
     */
    HttpApiEndpoint.put("push", "/:namespace", {
      params: { namespace: NamespaceName },
      payload: Schema.Struct({
        files: Schema.Array(ProjectFile).check(Schema.isMaxLength(5000)),
        /** Landing zones to make when they are missing. */
        landing_zones: Schema.optional(Schema.Array(Schema.String)),
        /** Delete files of the pushed pipelines that are not among `files`. */
        prune: Schema.optional(Schema.Boolean),
        dry_run: Schema.optional(Schema.Boolean),
      }),
      success: PushAnswer,
      error: [...commonErrors, PayloadTooLarge, Unprocessable],
    })
      .annotate(OpenApi.Summary, "Bring a whole project, all files or none")
      .annotate(HttpApi.PayloadParseOptions, strictBody),
  )
  .prefix("/api/v1/projects") {}
