import { NodeSocket } from "@effect/platform-node"
import { Outbound } from "@rat/lakehouse"
import { Duration, Effect } from "effect"
import { RpcClient, RpcSerialization } from "effect/rpc"
import { Socket } from "effect/socket"
import { ClusterKey } from "./ClusterKey.ts"
import { clientTls } from "./NodeTls.ts"
import { type RpcProtocol, rpcProtocols } from "./RpcListener.ts"

/** How often a connection is asked for a sign of life while nothing else comes over it. */
const pingInterval = Duration.seconds(2)

/** Most bytes of one message; results of queries come in pieces that are far smaller. */
const maxMessageBytes = 64 * 2 ** 20

/** Objects whose unknown fields are passed over, so that nodes of two versions understand each other. */
export const rpcSerialization = RpcSerialization.layerNdjsonWith({ maxBufferSize: maxMessageBytes })

/** A connection to another node. It opens with its first call, and opens again after it was lost. */
export const nodeProtocol = Effect.fnUntraced(function* (protocol: RpcProtocol, host: string, port: number) {
  const key = yield* ClusterKey
  const { policies } = yield* Outbound
  const { deadline } = policies.rpc
  const tls = clientTls(key, rpcProtocols[protocol])
  const socket = yield* NodeSocket.makeTls({ ...tls, host, port, openTimeout: deadline })
  return yield* RpcClient.makeProtocolSocket({ pingInterval, pingTimeout: deadline }).pipe(
    Effect.provideService(Socket.Socket, socket),
  )
})
