import { HttpApiEndpoint, HttpApiGroup, OpenApi } from "effect/http-api"
import { Cluster } from "../cluster/Node.ts"
import { commonErrors } from "./ApiErrors.ts"

export class ClusterApi extends HttpApiGroup.make("cluster")
  .add(
    HttpApiEndpoint.get("get", "/", { success: Cluster, error: commonErrors }).annotate(
      OpenApi.Summary,
      "Nodes of the cluster with roles, slots, shards, versions and health",
    ),
  )
  .prefix("/api/v1/cluster") {}
