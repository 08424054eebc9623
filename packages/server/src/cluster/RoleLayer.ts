import type { Role } from "@rat/domain"
import { type Context, Effect, Layer } from "effect"
import { type Rpc, type RpcGroup, RpcServer } from "effect/rpc"
import { SocketServer } from "effect/socket"
import type { ClusterKey } from "./ClusterKey.ts"
import { localClient } from "./LocalRpc.ts"
import { NodeIdentity } from "./NodeIdentity.ts"
import { rpcSerialization } from "./NodeProtocol.ts"
import { NodeRegistry } from "./NodeRegistry.ts"
import type { NodeLoad } from "./NodeRow.ts"
import { makeRoleClient, type RoleClient } from "./RoleClient.ts"
import { RpcListener } from "./RpcListener.ts"

type Slotted = Exclude<Role, "api" | "control">

/**
 * A role as the other roles see it: a client of its RPC group. `handlers` is the role itself, where this node has it: then
 * calls need not leave the process, other nodes may call too, and its slots are told with the heartbeat.
 */
export const roleLayer = <Self, Rpcs extends Rpc.Any, E, R>(
  service: Context.Service<Self, RoleClient<Rpcs>>,
  role: Slotted,
  group: RpcGroup.RpcGroup<Rpcs>,
  handlers: Layer.Layer<Rpc.ToHandler<Rpcs>, E, R> | null,
) => {
  const name = `${role.charAt(0).toUpperCase()}${role.slice(1)}`
  const local = Effect.gen(function* () {
    const client = (yield* localClient(group, name)) as unknown as Record<string, (payload: unknown) => unknown>
    const registry = yield* NodeRegistry
    yield* registry.report(
      Effect.map(client.Health!(undefined) as Effect.Effect<NodeLoad[Slotted]>, (health) => ({ [role]: health })),
    )
    return client
  })
  const remote = (client: Record<string, (payload: unknown) => unknown> | null) =>
    makeRoleClient(role, group, client === null ? null : (tag, payload) => client[tag]!(payload) as never)

  // What the group's own schemas and middlewares could ask for is nothing; the compiler cannot know that of any group.
  type Built = Layer.Layer<Self, E, R | ClusterKey | NodeIdentity | NodeRegistry>
  return Layer.unwrap(
    Effect.gen(function* (): Effect.fn.Return<Built, never, NodeIdentity | RpcListener> {
      const { isClustered } = yield* NodeIdentity
      const far = (own: Parameters<typeof remote>[0]) => Effect.provide(remote(own), rpcSerialization)
      if (handlers === null) return Layer.effect(service, far(null))
      if (!isClustered) {
        return Layer.effect(service, local as unknown as Effect.Effect<RoleClient<Rpcs>>).pipe(Layer.provide(handlers))
      }
      const listener = yield* RpcListener
      const server = RpcServer.layer(group, { spanPrefix: name, disableFatalDefects: true }).pipe(
        // Fresh: a layer is built once in a node, and a node with two roles would answer both of them on one's connections.
        Layer.provide(Layer.fresh(RpcServer.layerProtocolSocketServer)),
        Layer.provide(Layer.succeed(SocketServer.SocketServer, listener.serverOf(role))),
        Layer.provide(rpcSerialization),
      )
      const both = Layer.merge(Layer.effect(service, Effect.flatMap(local, far)), server)
      return both.pipe(Layer.provide(handlers)) as unknown as Built
    }),
  )
}
