import type { RunControlRpc } from "@rat/domain"
import { Context } from "effect"
import type { RpcClient, RpcClientError } from "effect/rpc"

/**
 * The control role as runners see it: a client of its RPC group. Whoever composes a node provides it, in memory when both
 * roles share a process, over a socket otherwise (then calls may also fail with `RpcClientError`).
 */
export class RunControl extends Context.Service<
  RunControl,
  RpcClient.FromGroup<typeof RunControlRpc, RpcClientError.RpcClientError>
>()("rat/runner/claim/RunControl") {}
