import type { QueryRpc } from "@rat/domain"
import { Context } from "effect"
import type { RpcGroup } from "effect/rpc"
import type { RoleClient } from "../cluster/RoleClient.ts"

/** The query role, wherever it runs: in this process or behind a socket. */
export class QueryClient extends Context.Service<QueryClient, RoleClient<RpcGroup.Rpcs<typeof QueryRpc>>>()(
  "rat/server/query/QueryClient",
) {}
