import type { QueryRpc } from "@rat/domain"
import { Context } from "effect"
import type { RpcClient, RpcGroup } from "effect/rpc"

/** The query role, wherever it runs: in this process or behind a socket. */
export class QueryClient extends Context.Service<QueryClient, RpcClient.RpcClient<RpcGroup.Rpcs<typeof QueryRpc>>>()(
  "rat/server/query/QueryClient",
) {}
