import type { RunnerRpc } from "@rat/domain"
import { Context } from "effect"
import type { RpcClient, RpcGroup } from "effect/rpc"

/** The runner role, wherever it runs: it knows templates, settings and SQL. */
export class RunnerClient extends Context.Service<RunnerClient, RpcClient.RpcClient<RpcGroup.Rpcs<typeof RunnerRpc>>>()(
  "rat/server/project/RunnerClient",
) {}
