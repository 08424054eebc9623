import { Schema } from "effect"
import { HttpApi, HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { NamespaceName } from "../namespace/Namespace.ts"
import { Layer, PipelineName } from "../pipeline/Pipeline.ts"
import { QualityResult } from "../quality/QualityTest.ts"
import { Priority } from "../quota/Priority.ts"
import { LogEntry, Run, RunId, RunKind, WireRunStatus } from "../run/Run.ts"
import { RunAttempt } from "../run/RunAttempt.ts"
import { RunParameters } from "../run/RunParameters.ts"
import { commonErrors, Unprocessable } from "./ApiErrors.ts"
import { pageQuery } from "./Page.ts"
import { strictBody } from "./StrictBody.ts"

/** Any text: what is no run id names a run that does not exist, as with the ancestor. */
const params = { runId: Schema.String }

/** `pipeline` runs name layer and pipeline; a `noop` run only passes through the lifecycle and has no table. */
export const RunCreate = Schema.Struct({
  namespace: NamespaceName,
  layer: Schema.optional(Layer),
  pipeline: Schema.optional(PipelineName),
  trigger: Schema.optional(Schema.String.check(Schema.isMaxLength(500))),
  kind: Schema.optional(RunKind),
  /** For templates (`param('name')`); all attempts and retries have the same. */
  parameters: Schema.optional(RunParameters),
  /** RFC 3339. The moment that the run is about (`logical_time` in templates); default: when it is accepted. */
  logical_time: Schema.optional(Schema.DateTimeUtcFromString),
  /** Larger goes first within the namespace; default: what the pipeline says. */
  priority: Schema.optional(Priority),
})

/** A new run that repeats an earlier one. */
const Repeated = Schema.Struct({ run_id: RunId, status: WireRunStatus, retry_of: RunId }).pipe(
  HttpApiSchema.status(202),
)
const repeatHeaders = { "idempotency-key": Schema.optional(Schema.String.check(Schema.isMaxLength(200))) }

export class RunsApi extends HttpApiGroup.make("runs")
  .add(
    HttpApiEndpoint.get("list", "/", {
      query: {
        ...pageQuery,
        namespace: Schema.optional(NamespaceName),
        layer: Schema.optional(Layer),
        pipeline: Schema.optional(PipelineName),
        status: Schema.optional(WireRunStatus),
        /** RFC 3339, exclusive. */
        started_after: Schema.optional(Schema.DateTimeUtcFromString),
        started_before: Schema.optional(Schema.DateTimeUtcFromString),
      },
      success: Schema.Struct({ runs: Schema.Array(Run), total: Schema.Int }),
      error: commonErrors,
    }).annotate(OpenApi.Summary, "List runs, newest first, with filters and sort"),
  )
  .add(
    /** 202: the run is durable and will run. Header `Idempotency-Key` makes a repeat answer with the same run. */
    HttpApiEndpoint.post("create", "/", {
      headers: { "idempotency-key": Schema.optional(Schema.String.check(Schema.isMaxLength(200))) },
      payload: RunCreate,
      success: Schema.Struct({ run_id: RunId, status: WireRunStatus }).pipe(HttpApiSchema.status(202)),
      error: [...commonErrors, Unprocessable],
    })
      .annotate(OpenApi.Summary, "Run a pipeline; the answer means that the run is durable")
      .annotate(HttpApi.PayloadParseOptions, strictBody),
  )
  .add(
    HttpApiEndpoint.get("get", "/:runId", { params, success: Run, error: commonErrors }).annotate(
      OpenApi.Summary,
      "One run: status, phases, queue position",
    ),
  )
  .add(
    HttpApiEndpoint.post("cancel", "/:runId/cancel", {
      params,
      success: Schema.Struct({ run_id: RunId, status: WireRunStatus }),
      error: commonErrors,
    }).annotate(OpenApi.Summary, "Cancel a pending or running run"),
  )
  .add(
    /** 202 with a new run that has the old one's code, inputs, parameters and logical time. 409 while the old one is active. */
    HttpApiEndpoint.post("retry", "/:runId/retry", {
      params,
      headers: repeatHeaders,
      success: Repeated,
      error: commonErrors,
    }).annotate(OpenApi.Summary, "Run an ended run again, from the beginning, with what it had"),
  )
  .add(
    /** The same from where the old run's last attempt stopped. 409 when it left nothing to go on from. */
    HttpApiEndpoint.post("resume", "/:runId/resume", {
      params,
      headers: repeatHeaders,
      success: Repeated,
      error: commonErrors,
    }).annotate(OpenApi.Summary, "Go on with a failed or cancelled run from its last checkpoint"),
  )
  .add(
    HttpApiEndpoint.get("attempts", "/:runId/attempts", {
      params,
      success: Schema.Struct({ attempts: Schema.Array(RunAttempt), total: Schema.Int }),
      error: commonErrors,
    }).annotate(
      OpenApi.Summary,
      "Every attempt of a run, oldest first: node, times, phases, how it ended, when the next begins",
    ),
  )
  .add(
    /**
     * JSON, or with `Accept: text/event-stream` server-sent events: `log` (id = seq), `status`, `error`; resumes
     * behind `Last-Event-ID`; a comment line every 15 s keeps the connection open.
     */
    HttpApiEndpoint.get("logs", "/:runId/logs", {
      params,
      /** Only the lines of one attempt; not with an event stream. */
      query: {
        attempt: Schema.optional(Schema.NumberFromString.check(Schema.isInt(), Schema.isGreaterThanOrEqualTo(1))),
      },
      headers: { accept: Schema.optional(Schema.String), "last-event-id": Schema.optional(Schema.String) },
      success: Schema.Struct({ logs: Schema.Array(LogEntry), status: WireRunStatus }),
      error: commonErrors,
    }).annotate(OpenApi.Summary, "Log lines as JSON, or live as server-sent events"),
  )
  .add(
    HttpApiEndpoint.get("quality", "/:runId/quality", {
      params,
      success: Schema.Struct({
        results: Schema.Array(QualityResult),
        passed: Schema.Int,
        failed: Schema.Int,
        total: Schema.Int,
      }),
      error: commonErrors,
    }).annotate(OpenApi.Summary, "Results of the quality tests"),
  )
  .prefix("/api/v1/runs") {}
