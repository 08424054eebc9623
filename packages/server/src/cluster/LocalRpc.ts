import { Effect } from "effect"
import { type Rpc, RpcClient, type RpcGroup, RpcServer } from "effect/rpc"

/**
 * A client of a group whose handlers live in this process: the same messages, streams, back-pressure and interruption
 * as over a socket, without encoding. A defect of a handler fails its own call and no other. Spans of both sides are called
 * `${role}.${message}`.
 */
export const localClient = Effect.fnUntraced(function* <Rpcs extends Rpc.Any>(
  group: RpcGroup.RpcGroup<Rpcs>,
  role: string,
) {
  // Each side needs the other's `write`; neither is called before both are there.
  let toClient: Effect.Success<ReturnType<typeof RpcClient.makeNoSerialization<Rpcs, never>>>["write"]
  const server = yield* RpcServer.makeNoSerialization(group, {
    spanPrefix: role,
    disableFatalDefects: true,
    onFromServer: (response) => toClient(response),
  })
  const client = yield* RpcClient.makeNoSerialization(group, {
    spanPrefix: role,
    supportsAck: true,
    onFromClient: ({ message }) => server.write(0, message),
  })
  toClient = client.write
  return client.client
})
