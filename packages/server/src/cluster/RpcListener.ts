import { NodeSocket, NodeSocketServer } from "@effect/platform-node"
import { Context, Effect, Layer, Schema } from "effect"
import { NetAddress } from "effect/net"
import { type Socket, SocketServer } from "effect/socket"
import { ClusterKey } from "./ClusterKey.ts"
import { serverTls } from "./NodeTls.ts"

/** What nodes say to each other, by the role that answers. Names of ALPN: they are on the wire between versions. */
export const rpcProtocols = { control: "rat-control/1", runner: "rat-runner/1", query: "rat-query/1" } as const
export type RpcProtocol = keyof typeof rpcProtocols

/** The address for other nodes cannot be listened at. */
export class RpcListenFailed extends Schema.TaggedError<RpcListenFailed>()("RpcListenFailed", {
  address: Schema.String,
  cause: Schema.Defect(),
}) {
  override get message() {
    const detail = this.cause instanceof Error ? ` (${this.cause.message})` : ""
    return `Other nodes cannot reach this one: listening on ${this.address} failed${detail}. Choose another address with RAT_RPC_ADDR, HOST:PORT; port 0 takes a free one.`
  }
}

type Handler = (socket: Socket.Socket) => Effect.Effect<unknown>

/**
 * The port for other nodes, apart from the public one. Only who holds the cluster's key gets past the handshake; the
 * protocol that was agreed on in it chooses the role.
 */
export class RpcListener extends Context.Service<
  RpcListener,
  {
    /** As told to other nodes. */
    readonly host: string
    readonly port: number
    readonly serverOf: (protocol: RpcProtocol) => SocketServer.SocketServer["Service"]
  }
>()("rat/server/cluster/RpcListener") {
  /** For a node that is alone: nobody is listened to. */
  static readonly layerNone = Layer.succeed(
    RpcListener,
    RpcListener.of({
      host: "",
      port: 0,
      serverOf: () => {
        throw new Error("A node that is alone has no port for others.")
      },
    }),
  )

  /** `advertise`: the host under which others find this machine; null: the one that is listened at. */
  static readonly layer = ({
    listen,
    advertise,
  }: {
    readonly listen: { readonly host: string; readonly port: number }
    readonly advertise: string | null
  }) =>
    Layer.effect(
      RpcListener,
      Effect.gen(function* () {
        const key = yield* ClusterKey
        const handlers = new Map<string, Handler>()
        const server = yield* NodeSocketServer.makeTls({
          ...serverTls(key, Object.values(rpcProtocols)),
          ...listen,
        }).pipe(
          Effect.mapError(
            ({ reason }) => new RpcListenFailed({ address: `${listen.host}:${listen.port}`, cause: reason.cause }),
          ),
        )
        const answer = (socket: Socket.Socket) =>
          Effect.flatMap(NodeSocket.NetSocket, (connection) => {
            const spoken = "alpnProtocol" in connection ? String(connection.alpnProtocol) : ""
            const handler = handlers.get(spoken)
            // A role that this node does not have (any more): the caller's view is old, and its next one is better.
            return handler === undefined ? Effect.sync(() => connection.destroy()) : handler(socket)
          })
        // The server itself provides each connection's socket.
        yield* Effect.forkScoped(server.run(answer) as Effect.Effect<never>, { startImmediately: true })
        const { address } = server
        return RpcListener.of({
          host: advertise ?? listen.host,
          port: NetAddress.isUnixPathAddress(address) ? listen.port : address.port,
          serverOf: (protocol) =>
            SocketServer.SocketServer.of({
              address,
              run: <R, E, _>(handler: (socket: Socket.Socket) => Effect.Effect<_, E, R>) =>
                Effect.flatMap(Effect.context<R>(), (context) =>
                  Effect.callback<never>(() => {
                    const name = rpcProtocols[protocol]
                    handlers.set(name, (socket) =>
                      handler(socket).pipe(
                        Effect.provideContext(context),
                        Effect.ignoreCause({ log: "Debug", message: "A connection of another node ended" }),
                      ),
                    )
                    return Effect.sync(() => handlers.delete(name))
                  }),
                ),
            }),
        })
      }),
    )
}
