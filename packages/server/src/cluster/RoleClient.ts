import { type Role, RoleUnavailable } from "@rat/domain"
import { Cause, Duration, Effect, Exit, RcMap, type Scope, Stream } from "effect"
import { type Rpc, RpcClient, type RpcClientError, type RpcGroup, RpcSchema } from "effect/rpc"
import { NodeIdentity } from "./NodeIdentity.ts"
import { nodeProtocol } from "./NodeProtocol.ts"
import { NodeRegistry } from "./NodeRegistry.ts"
import type { NodeRow } from "./NodeRow.ts"

/** Connections that nobody uses. */
const idleTime = Duration.minutes(3)
/** A node that could not be reached is passed over for this long while there are others. */
const avoidMs = 2_000

/** A client of any group whose calls are answered by some node with a role. */
export type RoleClient<Rpcs extends Rpc.Any> = RpcClient.RpcClient<Rpcs, RoleUnavailable>

type Call = (tag: string, payload: unknown) => Effect.Effect<unknown, unknown> | Stream.Stream<unknown, unknown>

const isTransport = (error: unknown): error is RpcClientError.RpcClientError =>
  typeof error === "object" && error !== null && "_tag" in error && error._tag === "RpcClientError"

/**
 * Sends each call to the node with the fewest calls of ours in flight, our own first. One that cannot be connected to is
 * passed over for a while, and the call goes to the next one; a call whose answer was lost half-way is the caller's to repeat.
 */
export const makeRoleClient = Effect.fnUntraced(function* <Rpcs extends Rpc.Any>(
  role: Exclude<Role, "api" | "control">,
  group: RpcGroup.RpcGroup<Rpcs>,
  /** Calls of the group's handlers in this process, where it has the role. */
  local: Call | null,
) {
  const registry = yield* NodeRegistry
  const self = yield* NodeIdentity
  const inFlight = new Map<string, number>()
  const avoidUntil = new Map<string, number>()

  const clients = yield* RcMap.make({
    lookup: (address: string) => {
      const [host, port] = [
        address.slice(0, address.lastIndexOf(":")),
        Number(address.slice(address.lastIndexOf(":") + 1)),
      ]
      return Effect.flatMap(nodeProtocol(role, host, port), (protocol) =>
        RpcClient.make(group as unknown as RpcGroup.RpcGroup<Rpc.Any>, { flatten: true, spanPrefix: role }).pipe(
          Effect.provideService(RpcClient.Protocol, protocol),
        ),
      )
    },
    idleTimeToLive: idleTime,
  })

  const candidates = Effect.map(registry.nodes, (nodes) => {
    const now = performance.now()
    const able = nodes.filter(
      (node) =>
        node.roles.includes(role) &&
        (node.id === self.id ? local !== null : node.rpc_host !== null) &&
        (node.id === self.id || (node.status === "ready" && !node.is_silent)),
    )
    const rank = (node: NodeRow) =>
      ((avoidUntil.get(node.id) ?? 0) > now ? 1e6 : 0) +
      2 * (inFlight.get(node.id) ?? 0) +
      (node.id === self.id ? -1 : 0)
    return able.sort((left, right) => rank(left) - rank(right))
  })

  const unavailable = (reason: string, isUnsure = false) => new RoleUnavailable({ role, reason, isUnsure })

  const count = (node: NodeRow) =>
    Effect.acquireRelease(
      Effect.sync(() => void inFlight.set(node.id, (inFlight.get(node.id) ?? 0) + 1)),
      () => Effect.sync(() => void inFlight.set(node.id, inFlight.get(node.id)! - 1)),
    )

  const callOf = (node: NodeRow) =>
    node.id === self.id
      ? Effect.succeed(local!)
      : (RcMap.get(clients, `${node.rpc_host}:${node.rpc_port}`) as unknown as Effect.Effect<Call, never, Scope.Scope>)

  const lost = (node: NodeRow, error: RpcClientError.RpcClientError) => {
    avoidUntil.set(node.id, performance.now() + avoidMs)
    return error.reason._tag === "SocketOpenError"
      ? unavailable(`${node.id} cannot be connected to.`)
      : unavailable(`the connection to ${node.id} was lost while it worked.`, true)
  }
  /** Tries node after node while nobody can have heard of the call. */
  const attempt = <A, R>(run: (node: NodeRow, call: Call) => Effect.Effect<A, unknown, R>) =>
    Effect.gen(function* () {
      const nodes = yield* candidates
      if (nodes.length === 0) return yield* unavailable("there is none, or none that is ready.")
      let last: RoleUnavailable | undefined
      for (const node of nodes) {
        const exit = yield* Effect.result(
          Effect.flatMap(callOf(node), (call) => run(node, call)).pipe(
            Effect.mapError((error) => (isTransport(error) ? lost(node, error) : error)),
          ),
        )
        if (exit._tag === "Success") return exit.success
        if (!(exit.failure instanceof RoleUnavailable) || exit.failure.isUnsure) return yield* Effect.fail(exit.failure)
        last = exit.failure
      }
      return yield* Effect.fail(last!)
    })

  const client: Record<string, (payload: unknown) => unknown> = {}
  for (const [tag, rpc] of group.requests) {
    const isStream = RpcSchema.isStreamSchema((rpc as unknown as Rpc.AnyWithProps).successSchema)
    client[tag] = isStream
      ? (payload) =>
          // What a stream has begun with cannot be begun again elsewhere: only its opening may go to the next node.
          Stream.unwrap(
            attempt((node, call) =>
              Effect.gen(function* () {
                yield* count(node)
                const pull = yield* Stream.toPull(call(tag, payload) as Stream.Stream<unknown, unknown>)
                const first = yield* Effect.exit(pull)
                if (Exit.isFailure(first)) {
                  const error = Cause.findErrorOption(first.cause)
                  if (error._tag === "Some" && isTransport(error.value)) return yield* Effect.fail(error.value)
                }
                let isFirst = true
                return Stream.fromPull(
                  Effect.succeed(
                    Effect.suspend(() => {
                      if (!isFirst) return pull
                      isFirst = false
                      return first
                    }),
                  ),
                ).pipe(Stream.mapError((error) => (isTransport(error) ? lost(node, error) : error)))
              }),
            ),
          )
      : (payload) =>
          Effect.scoped(
            attempt((node, call) => Effect.andThen(count(node), call(tag, payload) as Effect.Effect<unknown, unknown>)),
          )
  }
  return client as unknown as RoleClient<Rpcs>
})
