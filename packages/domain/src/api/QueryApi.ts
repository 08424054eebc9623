import { Schema } from "effect"
import { HttpApi, HttpApiEndpoint, HttpApiGroup, OpenApi } from "effect/http-api"
import { RefName } from "../branch/Ref.ts"
import { NamespaceName } from "../namespace/Namespace.ts"
import { Column, SchemaEntry } from "../table/Table.ts"
import { commonErrors, DeadlineExceeded } from "./ApiErrors.ts"
import { strictBody } from "./StrictBody.ts"

/** The ancestor's answer: rows as objects. `shape: "arrays"` gives rows as arrays, which keeps equal names apart. */
export class QueryAnswer extends Schema.Class<QueryAnswer>("rat/api/QueryAnswer")({
  columns: Schema.Array(Column),
  rows: Schema.Array(Schema.Union([Schema.Record(Schema.String, Schema.Json), Schema.Array(Schema.Json)])),
  /** Rows of this answer. */
  total_rows: Schema.Int,
  duration_ms: Schema.Int,
  /** Whether the limit cut the result. */
  truncated: Schema.optional(Schema.Boolean),
}) {}

export const QueryPayload = Schema.Struct({
  sql: Schema.String.check(Schema.isMinLength(1), Schema.isMaxLength(100_000)),
  namespace: Schema.optional(NamespaceName),
  /** Branch or tag; default `main`. */
  branch: Schema.optional(RefName),
  /** Default 1,000; at most 100,000 rows of JSON. Other formats have no default limit. */
  limit: Schema.optional(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 100_000 }))),
  shape: Schema.optional(Schema.Literals(["objects", "arrays"])),
  timeout_ms: Schema.optional(Schema.Int.check(Schema.isGreaterThan(0))),
})

export class QueryApi extends HttpApiGroup.make("query")
  .add(
    /** `Accept`: application/json (default), text/csv, application/vnd.apache.parquet, application/vnd.apache.arrow.stream. */
    HttpApiEndpoint.post("run", "/query", {
      headers: { accept: Schema.optional(Schema.String) },
      payload: QueryPayload,
      success: QueryAnswer,
      error: [...commonErrors, DeadlineExceeded],
    })
      .annotate(OpenApi.Summary, "Run SQL that reads; JSON, CSV, Parquet or Arrow by Accept")
      .annotate(HttpApi.PayloadParseOptions, strictBody),
  )
  .add(
    HttpApiEndpoint.get("schema", "/schema", {
      query: { namespace: Schema.optional(NamespaceName), branch: Schema.optional(RefName) },
      success: Schema.Struct({ tables: Schema.Array(SchemaEntry) }),
      error: commonErrors,
    }).annotate(OpenApi.Summary, "Tables and columns, for completion"),
  )
  .prefix("/api/v1") {}
