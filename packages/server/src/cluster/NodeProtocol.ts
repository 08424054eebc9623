import { NodeSocket } from "@effect/platform-node"
import { Duration, Effect } from "effect"
import { RpcClient, RpcSerialization } from "effect/rpc"
import { Socket } from "effect/socket"
import { ClusterKey } from "./ClusterKey.ts"
import { clientTls } from "./NodeTls.ts"
import { type RpcProtocol, rpcProtocols } from "./RpcListener.ts"

/** A machine on the same network answers within this, or something is wrong with it. */
const openTimeout = Duration.seconds(2)
/** A silent connection is one that was lost. */
const pingInterval = Duration.seconds(2)
const pingTimeout = Duration.seconds(6)

/** Most bytes of one message; results of queries come in pieces that are far smaller. */
const maxMessageBytes = 64 * 2 ** 20

/** Objects whose unknown fields are passed over, so that nodes of two versions understand each other. */
export const rpcSerialization = RpcSerialization.layerNdjsonWith({ maxBufferSize: maxMessageBytes })

/** A connection to another node. It opens with its first call, and opens again after it was lost. */
export const nodeProtocol = Effect.fnUntraced(function* (protocol: RpcProtocol, host: string, port: number) {
  const key = yield* ClusterKey
  const socket = yield* NodeSocket.makeTls({ ...clientTls(key, rpcProtocols[protocol]), host, port, openTimeout })
  return yield* RpcClient.makeProtocolSocket({ pingInterval, pingTimeout }).pipe(
    Effect.provideService(Socket.Socket, socket),
  )
})
