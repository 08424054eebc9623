import { HttpApi, OpenApi } from "effect/http-api"
import { BranchesApi, TagsApi } from "./BranchesApi.ts"
import { ClusterApi } from "./ClusterApi.ts"
import { EventsApi } from "./EventsApi.ts"
import { FilesApi } from "./FilesApi.ts"
import { LandingZonesApi } from "./LandingZonesApi.ts"
import { MaintenanceApi } from "./MaintenanceApi.ts"
import { NamespacesApi } from "./NamespacesApi.ts"
import { PipelinesApi } from "./PipelinesApi.ts"
import { ProjectsApi } from "./ProjectsApi.ts"
import { QueryApi } from "./QueryApi.ts"
import { RunsApi } from "./RunsApi.ts"
import { FeaturesApi, HealthApi, IdentityApi } from "./SystemApi.ts"
import { TablesApi } from "./TablesApi.ts"

/** The whole HTTP contract: server routes, client, OpenAPI and the docs page all come from it. */
export class Api extends HttpApi.make("rat")
  .add(HealthApi)
  .add(FeaturesApi)
  .add(IdentityApi)
  .add(NamespacesApi)
  .add(PipelinesApi)
  .add(FilesApi)
  .add(ProjectsApi)
  .add(LandingZonesApi)
  .add(RunsApi)
  .add(QueryApi)
  .add(TablesApi)
  .add(BranchesApi)
  .add(TagsApi)
  .add(MaintenanceApi)
  .add(ClusterApi)
  .add(EventsApi)
  // Everything that is wrong with a request in one answer.
  .annotate(HttpApi.ParseOptions, { errors: "all" })
  .annotateMerge(
    OpenApi.annotations({
      title: "RAT API",
      version: "1",
      description: "Pipelines, runs, files, landing zones, tables and queries of a RAT server.",
    }),
  ) {}
