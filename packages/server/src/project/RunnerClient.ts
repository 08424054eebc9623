import type { RunnerRpc } from "@rat/domain"
import { Context } from "effect"
import type { RpcGroup } from "effect/rpc"
import type { RoleClient } from "../cluster/RoleClient.ts"

/** The runner role, wherever it runs: it knows templates, settings and SQL. */
export class RunnerClient extends Context.Service<RunnerClient, RoleClient<RpcGroup.Rpcs<typeof RunnerRpc>>>()(
  "rat/server/project/RunnerClient",
) {}
