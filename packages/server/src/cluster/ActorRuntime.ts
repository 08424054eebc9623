import { Effect, Layer, Option } from "effect"
import {
  MachineId,
  MessageStorage,
  Runner,
  RunnerAddress,
  RunnerHealth,
  RunnerServer,
  RunnerStorage,
  Runners,
  ShardId,
  Sharding,
  ShardingConfig,
} from "effect/cluster"
import { RpcSerialization, RpcServer } from "effect/rpc"
import { SocketServer } from "effect/socket"
import type { ClusterKey } from "./ClusterKey.ts"
import { NodeIdentity } from "./NodeIdentity.ts"
import { nodeProtocol, rpcSerialization } from "./NodeProtocol.ts"
import { NodeRegistry } from "./NodeRegistry.ts"
import { RpcListener } from "./RpcListener.ts"

/** Over how many shards the actors are spread: enough for dozens of control nodes. The same on every node. */
export const shardCount = 300

/** Snowflake ids have room for so many machines. */
const machines = 1024

/** Messages are volatile, since the state of actors is in our rows, so nothing is stored and no storage is polled. */
const messages = MessageStorage.layerNoop

const config = (options: Partial<ShardingConfig.ShardingConfig["Service"]>) =>
  ShardingConfig.layer({
    shardsPerGroup: shardCount,
    // Looks at the registry's picture in memory, so it costs nothing.
    refreshAssignmentsInterval: "250 millis",
    shardLockRefreshInterval: "1 second",
    shardLockExpiration: "5 seconds",
    runnerHealthCheckInterval: "1 second",
    sendRetryInterval: "50 millis",
    entityTerminationTimeout: "5 seconds",
    // Messages stay in this process: encoding them only to decode them again would be most of their cost.
    simulateRemoteSerialization: false,
    ...options,
  })

/**
 * Who is in the cluster: this process, until it ends. It does not leave at a stop, since nobody takes over from it, and a
 * cluster without a runner would be warned about while the actors end.
 */
const onlyRunner = Layer.effect(
  RunnerStorage.RunnerStorage,
  Effect.map(RunnerStorage.makeMemory, (memory) =>
    RunnerStorage.RunnerStorage.of({ ...memory, unregister: () => Effect.void }),
  ),
)

/** All actors live in this process. Times are short: an actor must be there when the first request is. */
const layerSingle: Layer.Layer<Sharding.Sharding> = Sharding.layer.pipe(
  Layer.provide(Runners.layerNoop),
  Layer.provide([messages, onlyRunner, RunnerHealth.layerNoop]),
  Layer.provide(config({})),
)

const addressOf = (host: string, port: number) => RunnerAddress.make(host, port)

/**
 * The control nodes of the registry. There are no locks of shards: who holds an actor follows from who is there, so for an
 * instant two nodes may hold the same one. That harms nobody, since actors hold nothing that is not in a row and every change
 * of a row is guarded by itself; and an outage of Postgres interrupts no actor.
 */
const registeredRunners = Layer.effect(
  RunnerStorage.RunnerStorage,
  Effect.gen(function* () {
    const registry = yield* NodeRegistry
    const self = yield* NodeIdentity
    const listener = yield* RpcListener
    const own = Runner.make({ address: addressOf(listener.host, listener.port), groups: ["default"], weight: 1 })
    let membership: "none" | "member" | "left" = "none"
    return RunnerStorage.RunnerStorage.of({
      register: () =>
        Effect.sync(() => {
          membership = "member"
          return MachineId.make(Number(registry.number % BigInt(machines)))
        }),
      unregister: () =>
        Effect.sync(() => {
          membership = "left"
        }),
      getRunners: Effect.map(registry.nodes, (nodes) => {
        const others = nodes.flatMap((node) =>
          node.id !== self.id && node.roles.includes("control") && node.rpc_host !== null && node.status === "ready"
            ? [
                [
                  Runner.make({ address: addressOf(node.rpc_host, node.rpc_port!), groups: ["default"], weight: 1 }),
                  !node.is_silent,
                ] as const,
              ]
            : [],
        )
        // The last one stays in its own picture until its end: an empty one would be warned about.
        const isIn = membership === "member" || (membership === "left" && others.length === 0)
        return isIn ? [[own, true] as const, ...others] : others
      }),
      setRunnerHealth: () => Effect.void,
      acquire: (_address, shards) => Effect.sync(() => [...shards]),
      refresh: (_address, shards) => Effect.sync(() => [...shards]),
      release: () => Effect.void,
      releaseAll: () => Effect.void,
    })
  }),
)

/** The registry knows who lives; asking each node again would only be slower. */
const registeredHealth = Layer.effect(
  RunnerHealth.RunnerHealth,
  Effect.map(NodeRegistry, (registry) =>
    RunnerHealth.RunnerHealth.of({
      isAlive: (address) =>
        Effect.map(registry.nodes, (nodes) =>
          nodes.some((node) => node.rpc_host === address.host && node.rpc_port === address.port && !node.is_silent),
        ),
    }),
  ),
)

const clientProtocol = Layer.effect(
  Runners.RpcClientProtocol,
  Effect.gen(function* () {
    const serialization = yield* RpcSerialization.RpcSerialization
    const context = yield* Effect.context<ClusterKey | RpcSerialization.RpcSerialization>()
    return Runners.RpcClientProtocol.of({
      codecFor: serialization.codecFor,
      make: (address) => Effect.provideContext(nodeProtocol("control", address.host, address.port), context),
    })
  }),
)

/** Tells how many shards this node holds. */
const shardReport = Layer.effectDiscard(
  Effect.gen(function* () {
    const sharding = yield* Sharding.Sharding
    const registry = yield* NodeRegistry
    const ids = Array.from({ length: shardCount }, (_, index) => ShardId.make("default", index + 1))
    yield* registry.report(Effect.sync(() => ({ shards: ids.filter((id) => sharding.hasShardId(id)).length })))
  }),
)

/** A node of a cluster: actors live on its control nodes, and every node can send to them. */
const layerCluster = Layer.unwrap(
  Effect.gen(function* () {
    const { roles } = yield* NodeIdentity
    const listener = yield* RpcListener
    const clients = Runners.layerRpc.pipe(Layer.provide(clientProtocol))
    if (!roles.includes("control")) {
      return Sharding.layer.pipe(
        Layer.provide(clients),
        Layer.provide([messages, registeredRunners, RunnerHealth.layerNoop]),
        Layer.provide(config({ runnerAddress: Option.none() })),
        Layer.provide(rpcSerialization),
      )
    }
    const server = RpcServer.layerProtocolSocketServer.pipe(
      Layer.provide(Layer.succeed(SocketServer.SocketServer, listener.serverOf("control"))),
    )
    return Layer.merge(RunnerServer.layer, shardReport).pipe(
      Layer.provideMerge(Sharding.layer),
      Layer.provide(clients),
      Layer.provide([server, messages, registeredRunners, registeredHealth]),
      Layer.provide(config({ runnerAddress: Option.some(addressOf(listener.host, listener.port)) })),
      Layer.provide(rpcSerialization),
    )
  }),
)

export const ActorRuntime = { layerSingle, layerCluster }
