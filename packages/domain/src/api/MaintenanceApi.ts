import { Schema } from "effect"
import { HttpApi, HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import {
  MaintenanceId,
  MaintenanceKind,
  MaintenanceRun,
  MaintenanceStatus,
  OrphanReport,
  TableOperation,
  TableReport,
} from "../maintenance/Maintenance.ts"
import { MaintenancePolicy, MaintenancePolicyPart } from "../maintenance/MaintenancePolicy.ts"
import { NamespaceName } from "../namespace/Namespace.ts"
import { Layer, PipelineName } from "../pipeline/Pipeline.ts"
import { commonErrors } from "./ApiErrors.ts"
import { pageQuery } from "./Page.ts"
import { strictBody } from "./StrictBody.ts"

const table = { namespace: NamespaceName, layer: Layer, name: PipelineName }
const tablePath = "/tables/:namespace/:layer/:name/maintenance"

const accepted = Schema.Struct({ id: MaintenanceId, status: MaintenanceStatus }).pipe(HttpApiSchema.status(202))

/** A table's policy, and where its keys come from. */
const PolicyAnswer = Schema.Struct({
  /** What holds. */
  policy: MaintenancePolicy,
  /** Keys of `maintenance:` in the pipeline's config.yaml as of its last run. */
  pipeline: Schema.NullOr(MaintenancePolicyPart),
  /** Keys set through the API; they win. */
  table: Schema.NullOr(MaintenancePolicyPart),
})

export class MaintenanceApi extends HttpApiGroup.make("maintenance")
  .add(
    HttpApiEndpoint.get("list", "/maintenance/runs", {
      query: {
        ...pageQuery,
        kind: Schema.optional(MaintenanceKind),
        status: Schema.optional(MaintenanceStatus),
        /** `namespace.layer.name`. */
        table: Schema.optional(Schema.String),
      },
      success: Schema.Struct({ runs: Schema.Array(MaintenanceRun), total: Schema.Int }),
      error: commonErrors,
    }).annotate(OpenApi.Summary, "List runs of maintenance, newest first"),
  )
  .add(
    HttpApiEndpoint.get("get", "/maintenance/runs/:id", {
      params: { id: Schema.String },
      success: MaintenanceRun,
      error: commonErrors,
    }).annotate(OpenApi.Summary, "One run of maintenance with its report"),
  )
  .add(
    /** 202: it will run. With `dry_run` the answer, 200, says what would be done, and nothing is. */
    HttpApiEndpoint.post("maintain", tablePath, {
      params: table,
      payload: Schema.Struct({
        /** Default: all. */
        operations: Schema.optional(Schema.Array(TableOperation)),
        dry_run: Schema.optional(Schema.Boolean),
      }),
      success: [accepted, TableReport],
      error: commonErrors,
    })
      .annotate(
        OpenApi.Summary,
        "Compact a table, rewrite its manifests, expire its snapshots; or say what would happen",
      )
      .annotate(HttpApi.PayloadParseOptions, strictBody),
  )
  .add(
    HttpApiEndpoint.post("orphans", "/maintenance/orphans", {
      payload: Schema.Struct({ dry_run: Schema.optional(Schema.Boolean) }),
      success: [accepted, OrphanReport],
      error: commonErrors,
    })
      .annotate(OpenApi.Summary, "Remove objects that nothing points to; or say which, with bytes per table")
      .annotate(HttpApi.PayloadParseOptions, strictBody),
  )
  .add(
    HttpApiEndpoint.get("policy", `${tablePath}/policy`, {
      params: table,
      success: PolicyAnswer,
      error: commonErrors,
    }).annotate(OpenApi.Summary, "How a table is looked after"),
  )
  .add(
    /** Replaces what the API said before; an empty object takes it back. */
    HttpApiEndpoint.put("setPolicy", `${tablePath}/policy`, {
      params: table,
      payload: MaintenancePolicyPart,
      success: PolicyAnswer,
      error: commonErrors,
    })
      .annotate(OpenApi.Summary, "Say how a table is looked after; wins over its pipeline's config.yaml")
      .annotate(HttpApi.PayloadParseOptions, strictBody),
  )
  .prefix("/api/v1") {}
