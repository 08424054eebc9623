import { createRequire } from "node:module"
import { NodePath } from "@effect/platform-node"
import { QueryRpc, type Role, RunControlRpc, RunnerRpc } from "@rat/domain"
import {
  IcebergTable,
  migrate,
  Outbound,
  Pg,
  PgConfig,
  Rebase,
  ScanPlanner,
  SlotPools,
  StoreConfig,
} from "@rat/lakehouse"
import { QueryConfig, QueryRole } from "@rat/query"
import { RunControl as RunControlClient, RunnerConfig, RunnerRole } from "@rat/runner"
import { ConfigProvider, Context, Effect, Layer, Scope } from "effect"
import { BranchesHttp, TagsHttp } from "../branch/BranchesHttp.ts"
import { ResponseCache } from "../cache/ResponseCache.ts"
import { ActorRuntime } from "../cluster/ActorRuntime.ts"
import { ClusterHttp } from "../cluster/ClusterHttp.ts"
import { ClusterKey } from "../cluster/ClusterKey.ts"
import { localClient } from "../cluster/LocalRpc.ts"
import { NodeIdentity } from "../cluster/NodeIdentity.ts"
import { NodeReaper } from "../cluster/NodeReaper.ts"
import { NodeRegistry } from "../cluster/NodeRegistry.ts"
import { roleLayer } from "../cluster/RoleLayer.ts"
import { RpcListener } from "../cluster/RpcListener.ts"
import { EventBroadcast } from "../event/EventBroadcast.ts"
import { EventConsumers } from "../event/EventConsumers.ts"
import { EventLog } from "../event/EventLog.ts"
import { EventsHttp } from "../event/EventsHttp.ts"
import { FileRepository } from "../file/FileRepository.ts"
import { FileStorage } from "../file/FileStorage.ts"
import { FilesHttp } from "../file/FilesHttp.ts"
import { apiRoutes, nodeRoutes, ServerAddress, serverLayer } from "../http/Server.ts"
import { IcebergRestHttp } from "../iceberg-rest/IcebergRestHttp.ts"
import { StoreSigner } from "../iceberg-rest/RemoteSigning.ts"
import { LandingHttp } from "../landing/LandingHttp.ts"
import { LandingRepository } from "../landing/LandingRepository.ts"
import { MaintenanceHttp } from "../maintenance/MaintenanceHttp.ts"
import { MaintenanceRepository } from "../maintenance/MaintenanceRepository.ts"
import { MaintenanceSettings } from "../maintenance/MaintenanceSettings.ts"
import { MaintenanceWorker } from "../maintenance/MaintenanceWorker.ts"
import { OrphanRepository } from "../maintenance/OrphanRepository.ts"
import { LimitRepository } from "../namespace/LimitRepository.ts"
import { NamespaceRepository } from "../namespace/NamespaceRepository.ts"
import { NamespacesHttp } from "../namespace/NamespacesHttp.ts"
import { PipelineEntityLayer } from "../pipeline/PipelineEntity.ts"
import { PipelineRepository } from "../pipeline/PipelineRepository.ts"
import { PipelinesHttp } from "../pipeline/PipelinesHttp.ts"
import { ProjectRepository } from "../project/ProjectRepository.ts"
import { ProjectsHttp } from "../project/ProjectsHttp.ts"
import { ProjectValidation } from "../project/ProjectValidation.ts"
import { RunnerClient } from "../project/RunnerClient.ts"
import { QueryAnswers } from "../query/QueryAnswers.ts"
import { QueryClient } from "../query/QueryClient.ts"
import { QueryHttp } from "../query/QueryHttp.ts"
import { QueueRead } from "../queue/QueueRead.ts"
import { LogStreams } from "../run/LogStream.ts"
import { RunControl } from "../run/RunControl.ts"
import { RunEntityLayer } from "../run/RunEntity.ts"
import { RunHub } from "../run/RunHub.ts"
import { RunNotices } from "../run/RunNotices.ts"
import { RunReaper } from "../run/RunReaper.ts"
import { RunRepository } from "../run/RunRepository.ts"
import { RunSettings } from "../run/RunSettings.ts"
import { RunsHttp } from "../run/RunsHttp.ts"
import { migrations } from "../sql/migrations.ts"
import { BuildInfo } from "../system/BuildInfo.ts"
import { FeaturesHttp } from "../system/FeaturesHttp.ts"
import { HealthHttp } from "../system/HealthHttp.ts"
import { IdentityHttp } from "../system/IdentityHttp.ts"
import { TableMetadataRepository } from "../table/TableMetadataRepository.ts"
import { TablesHttp } from "../table/TablesHttp.ts"
import { processMetrics } from "../telemetry/Metrics.ts"
import { MetricsHttp } from "../telemetry/MetricsHttp.ts"
import { DataFolder } from "./DataFolder.ts"
import { nodeCatalog } from "./NodeCatalog.ts"
import { type NodeOptions, type NodeSettings, nodeConfigProvider, nodeSettings, settingErrors } from "./NodeConfig.ts"
import { nodeFiles } from "./NodeFiles.ts"
import { nodeHealth } from "./NodeHealth.ts"
import { nodeMetrics } from "./NodeMetrics.ts"
import { unknownSettings } from "./Settings.ts"

/**
 * The one place where roles meet. Roles know each other by contract only (RPC groups of the domain); here each gets a client
 * of the other, in memory or over the cluster's own port. Layers stop from the top of the list in `nodeIn` downwards: HTTP
 * first, then control, then the runner, which lets its runs end, then what they stand on, Postgres last.
 */

const { version } = createRequire(import.meta.url)("../../package.json") as { readonly version: string }

/** Limits of request bodies that are no settings: what is larger does not belong into a request. */
const jsonBytes = 2 ** 20
const projectBytes = 2 ** 24

/** Postgres with the schema of this version. Nothing that reads a table is built before its migrations are done. */
const database = (folder: string) =>
  Layer.effectDiscard(migrate(migrations)).pipe(Layer.provideMerge(Pg.layer), Layer.provide(PgConfig.layer(folder)))

const lakehouse = Layer.mergeAll(
  Rebase.layer.pipe(Layer.provideMerge(nodeCatalog)),
  ScanPlanner.layer,
  SlotPools.layer,
).pipe(Layer.provideMerge(IcebergTable.layer))

const repositories = Layer.mergeAll(
  FileRepository.layer,
  LandingRepository.layer,
  LimitRepository.layer,
  NamespaceRepository.layer,
  PipelineRepository.layer,
  TableMetadataRepository.layer,
  RunRepository.layer,
  MaintenanceRepository.layer,
  OrphanRepository.layer,
  QueueRead.layer,
)

const control = Layer.mergeAll(PipelineEntityLayer, RunEntityLayer, RunReaper.layer, MaintenanceWorker.layer)

/**
 * The runner role. It asks control of itself: run rows belong to the control code, which is in every node that executes, so
 * that no other process has to be alive for a run to go on.
 */
const runnerRole = RunnerRole.layer.pipe(
  Layer.provide(Layer.effect(RunControlClient, localClient(RunControlRpc, "RunControl"))),
  Layer.provide(RunControl.layer),
)

const runnerConfig = (slotFolder: string) =>
  Layer.unwrap(Effect.map(NodeIdentity, ({ id }) => RunnerConfig.layer({ slotFolder, node: id })))

const groups = Layer.mergeAll(
  HealthHttp,
  FeaturesHttp,
  IdentityHttp,
  NamespacesHttp,
  PipelinesHttp,
  FilesHttp,
  ProjectsHttp,
  LandingHttp,
  RunsHttp,
  QueryHttp,
  TablesHttp,
  MaintenanceHttp,
  BranchesHttp,
  TagsHttp,
  ClusterHttp,
  EventsHttp,
).pipe(
  Layer.provide([FileStorage.layer, ProjectRepository.layer, LogStreams.layer, QueryAnswers.layer]),
  Layer.provide([EventBroadcast.layer, EventConsumers.layer]),
  Layer.provide(ProjectValidation.layer),
)

const nodeIn = (folder: DataFolder["Service"], settings: NodeSettings) => {
  const has = (role: Role) => settings.roles.includes(role)
  const files = nodeFiles(folder.tmp)
  const roles = Layer.mergeAll(
    roleLayer(RunnerClient, "runner", RunnerRpc, has("runner") ? runnerRole : null),
    roleLayer(QueryClient, "query", QueryRpc, has("query") ? QueryRole.layer : null),
  )
  const routes = has("api")
    ? apiRoutes(groups, Layer.merge(MetricsHttp, IcebergRestHttp))
    : nodeRoutes(HealthHttp, MetricsHttp)
  const server = serverLayer(
    {
      ...settings.listen,
      corsOrigins: settings.corsOrigins,
      bodyLimits: { jsonBytes, projectBytes, uploadBytes: settings.uploadLimitBytes },
      stopGraceMs: settings.stopGraceMs,
    },
    routes.pipe(Layer.provide(files)),
  )
  const { gitCommit, buildTime } = settings
  return server.pipe(
    Layer.provide(nodeHealth),
    Layer.provide(has("api") ? ResponseCache.layer : Layer.empty),
    Layer.provide([processMetrics({ version, gitCommit }), nodeMetrics]),
    Layer.provide(Layer.succeed(BuildInfo, { version, gitCommit, buildTime })),
    Layer.provide(has("control") ? Layer.merge(control, NodeReaper.layer) : Layer.empty),
    Layer.provide(roles),
    Layer.provide(RunNotices.layer),
    Layer.provide(settings.rpc === null ? ActorRuntime.layerSingle : ActorRuntime.layerCluster),
    Layer.provide([runnerConfig(folder.slots), QueryConfig.layer({ slotFolder: folder.slots })]),
    Layer.provide(repositories),
    Layer.provide([lakehouse, EventLog.layer, RunHub.layer, RunSettings.layer, MaintenanceSettings.layer]),
    Layer.provide(StoreSigner.layer({ dataFolder: folder.path })),
    Layer.provide(StoreConfig.layerFromConfig({ dataFolder: folder.path })),
    Layer.provideMerge(NodeRegistry.layer),
    Layer.provide(settings.rpc === null ? RpcListener.layerNone : RpcListener.layer(settings.rpc)),
    Layer.provide(ClusterKey.layer),
    Layer.provideMerge(NodeIdentity.layer({ roles: settings.roles, version, isClustered: settings.rpc !== null })),
    Layer.provide(database(folder.postgres)),
    Layer.provide([files, NodePath.layer]),
    Layer.provide(Outbound.layer),
  )
}

/** A mistyped name would otherwise be silence. */
const warnUnknown = (environment: NodeOptions["environment"]) =>
  Layer.effectDiscard(
    Effect.forEach(unknownSettings(environment ?? process.env), ({ name, nearest }) =>
      Effect.logWarning("a setting is unknown and has no effect").pipe(
        Effect.annotateLogs({ setting: name, ...(nearest === null ? {} : { meant: nearest }) }),
      ),
    ),
  )

const nodeLayer = (settings: NodeSettings, environment: NodeOptions["environment"]) =>
  Layer.unwrap(Effect.map(DataFolder, (folder) => nodeIn(folder, settings))).pipe(
    Layer.provide(warnUnknown(environment)),
    Layer.provideMerge(DataFolder.layer({ path: settings.data, version })),
  )

/** A node that answers. */
export interface RunningNode {
  /** `http://host:port`, reachable from this machine. */
  readonly url: string
  readonly host: string
  readonly port: number
  /** Absolute path of the data folder. */
  readonly dataFolder: string
}

/**
 * Starts a node and answers when it serves requests. It stops when the scope closes: HTTP finishes what
 * it is answering, runs end or are left to the next start, slots and Postgres end. Failures are sentences for people.
 * Logs and spans go where the caller's context says (`Telemetry.layer`). No span of its own: everything that the node does
 * from then on would be a part of it.
 */
export const startNode = Effect.fnUntraced(
  function* (options: NodeOptions) {
    const settings = yield* nodeSettings
    const scope = yield* Effect.scope
    // A memo map of its own: two nodes in one process (tests) share nothing.
    const context = yield* Layer.buildWithMemoMap(
      nodeLayer(settings, options.environment),
      yield* Layer.makeMemoMap,
      scope,
    )
    const { url, host, port } = Context.get(context, ServerAddress)
    const folder = Context.get(context, DataFolder)
    const registry = Context.get(context, NodeRegistry)
    yield* folder.announce(url)
    yield* registry.announce(url)
    // First of all when the node stops: nobody sends work any more, and `/health/ready` says so while all still works.
    yield* Scope.addFinalizer(scope, Effect.andThen(registry.drain, Effect.sleep(settings.drainNoticeMs)))
    return { url, host, port, dataFolder: folder.path } satisfies RunningNode
  },
  (effect, options) =>
    effect.pipe(settingErrors, Effect.provideService(ConfigProvider.ConfigProvider, nodeConfigProvider(options))),
)

export type StartError = Effect.Error<ReturnType<typeof startNode>>
