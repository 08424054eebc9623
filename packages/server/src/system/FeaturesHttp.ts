import { Api, Features, supportedStrategies } from "@rat/domain"
import { Effect } from "effect"
import { HttpApiBuilder } from "effect/http-api"

const features = new Features({
  edition: "community",
  plugins: {},
  namespaces: true,
  multi_user: false,
  landing_zones: true,
  merge_strategies: [...supportedStrategies],
  pipeline_types: ["sql"],
  query_formats: [
    "application/json",
    "text/csv",
    "application/vnd.apache.parquet",
    "application/vnd.apache.arrow.stream",
  ],
})

/** What this server can do, for clients that serve several versions. */
export const FeaturesHttp = HttpApiBuilder.group(Api, "features", (handlers) =>
  handlers.handle("get", () => Effect.succeed(features)),
)
