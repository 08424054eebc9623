import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, OpenApi } from "effect/http-api"
import { Role } from "../cluster/Node.ts"
import { commonErrors, Unauthenticated } from "./ApiErrors.ts"

export class Liveness extends Schema.Class<Liveness>("rat/api/Liveness")({
  status: Schema.Literal("ok"),
  version: Schema.String,
  git_commit: Schema.String,
  build_time: Schema.String,
  node_version: Schema.String,
}) {}

const Check = Schema.Struct({
  status: Schema.Literals(["ok", "error"]),
  error: Schema.optional(Schema.String),
  /** State of the dependency's circuit breaker, where it has one. */
  circuit: Schema.optional(Schema.Literals(["closed", "open", "half_open"])),
  /** While it is away: what does not work, and what happens to it. */
  impact: Schema.optional(Schema.String),
})

const state = { checks: Schema.Record(Schema.String, Check), roles: Schema.Array(Role) }

/** Everything works, or (`degraded`) a dependency is away and what does not need it is served. Send requests either way. */
export class Readiness extends Schema.Class<Readiness>("rat/api/Readiness")({
  status: Schema.Literals(["ready", "degraded"]),
  ...state,
}) {}

/** The same body with 503: the process lives, but none of its roles can do its work, or it stops. Send nothing. */
export class NotReady extends Schema.Error<NotReady>("rat/api/NotReady")(
  { status: Schema.Literals(["not_ready"]), ...state },
  { httpApiStatus: 503 },
) {}

export class Features extends Schema.Class<Features>("rat/api/Features")({
  edition: Schema.String,
  plugins: Schema.Record(Schema.String, Schema.Json),
  namespaces: Schema.Boolean,
  multi_user: Schema.Boolean,
  landing_zones: Schema.Boolean,
  /** Additions: what this server can do, by name. */
  merge_strategies: Schema.Array(Schema.String),
  pipeline_types: Schema.Array(Schema.String),
  query_formats: Schema.Array(Schema.String),
}) {}

export class HealthApi extends HttpApiGroup.make("health")
  .add(
    HttpApiEndpoint.get("health", "/health", { success: Liveness }).annotate(
      OpenApi.Summary,
      "Liveness, under the ancestor's path",
    ),
  )
  .add(
    HttpApiEndpoint.get("live", "/health/live", { success: Liveness }).annotate(
      OpenApi.Summary,
      "Whether the process answers",
    ),
  )
  .add(
    HttpApiEndpoint.get("ready", "/health/ready", { success: Readiness, error: NotReady }).annotate(
      OpenApi.Summary,
      "Whether this node can do its work: each dependency with its state; 200 when ready or degraded, else 503",
    ),
  ) {}

export class FeaturesApi extends HttpApiGroup.make("features")
  .add(
    HttpApiEndpoint.get("get", "/", { success: Features, error: commonErrors }).annotate(
      OpenApi.Summary,
      "What this server can do",
    ),
  )
  .prefix("/api/v1/features") {}

export class Me extends Schema.Class<Me>("rat/api/Me")({
  user_id: Schema.String,
  email: Schema.String,
  display_name: Schema.String,
  roles: Schema.Array(Schema.String),
}) {}

export class IdentityApi extends HttpApiGroup.make("identity")
  /** Who calls. 401 where nobody logs in, as on a server without authentication. */
  .add(
    HttpApiEndpoint.get("me", "/me", { success: Me, error: [...commonErrors, Unauthenticated] }).annotate(
      OpenApi.Summary,
      "Who is asking; 401 while there are no users",
    ),
  )
  .prefix("/api/v1") {}
