import { type Role, RoleUnavailable } from "@rat/domain"
import { type Dependency, DependencyUnavailable, Outbound, outbound, verdicts } from "@rat/lakehouse"
import { Cause, Duration, Effect, Exit, RcMap, type Scope, Stream } from "effect"
import { type Rpc, RpcClient, type RpcClientError, type RpcGroup, RpcSchema } from "effect/rpc"
import { NodeIdentity } from "./NodeIdentity.ts"
import { nodeProtocol } from "./NodeProtocol.ts"
import { NodeRegistry } from "./NodeRegistry.ts"
import type { NodeRow } from "./NodeRow.ts"

/** Connections that nobody uses. */
const idleTime = Duration.minutes(3)
/** Nodes that a call may go to, one after the other: what breaks several is not the nodes' doing. */
const maxNodes = 3

/** A client of any group whose calls are answered by some node with a role. */
export type RoleClient<Rpcs extends Rpc.Any> = RpcClient.RpcClient<Rpcs, RoleUnavailable>

type Call = (tag: string, payload: unknown) => Effect.Effect<unknown, unknown> | Stream.Stream<unknown, unknown>

/** A node as it is called: over a connection with a circuit, or in this process without either. */
interface Target {
  readonly call: Call
  readonly dependency: Dependency | null
}

const isTransport = (error: unknown): error is RpcClientError.RpcClientError =>
  typeof error === "object" && error !== null && "_tag" in error && error._tag === "RpcClientError"

/** A lost connection is all that a node can be at fault for. How long a call takes is the callee's to limit; pings find out who is gone. */
const limits = {
  deadline: Duration.infinity,
  retries: 0,
  verdict: (error: unknown) => (isTransport(error) ? verdicts.outage : verdicts.answer),
}

/**
 * Sends each call to the node with the fewest calls of ours in flight, our own first. Everything that roles ask of each other may
 * happen twice, so a call whose node is lost goes to the next one; a stream only until its first piece is there.
 */
export const makeRoleClient = Effect.fnUntraced(function* <Rpcs extends Rpc.Any>(
  role: Exclude<Role, "api" | "control">,
  group: RpcGroup.RpcGroup<Rpcs>,
  /** Calls of the group's handlers in this process, where it has the role. */
  local: Call | null,
) {
  const registry = yield* NodeRegistry
  const self = yield* NodeIdentity
  const { dependencies } = yield* Outbound
  const inFlight = new Map<string, number>()

  const addressOf = (node: NodeRow) => `${node.rpc_host}:${node.rpc_port}`
  const targets = yield* RcMap.make({
    lookup: (address: string) =>
      Effect.gen(function* () {
        const colon = address.lastIndexOf(":")
        const dependency = yield* outbound({ dependency: "rpc", endpoint: address })
        const protocol = yield* nodeProtocol(role, address.slice(0, colon), Number(address.slice(colon + 1)))
        const call = yield* RpcClient.make(group as unknown as RpcGroup.RpcGroup<Rpc.Any>, {
          flatten: true,
          spanPrefix: role,
        }).pipe(Effect.provideService(RpcClient.Protocol, protocol))
        return { call: call as unknown as Call, dependency } satisfies Target
      }),
    idleTimeToLive: idleTime,
  })
  const targetOf = (node: NodeRow): Effect.Effect<Target, never, Scope.Scope> =>
    node.id === self.id ? Effect.succeed({ call: local!, dependency: null }) : RcMap.get(targets, addressOf(node))

  const candidates = Effect.map(registry.nodes, (nodes) => {
    const open = new Set<string>()
    for (const { name, endpoint, circuit } of dependencies) {
      if (name === "rpc" && circuit.state === "open") open.add(endpoint)
    }
    const rank = (node: NodeRow) =>
      (open.has(addressOf(node)) ? 1e6 : 0) + 2 * (inFlight.get(node.id) ?? 0) + (node.id === self.id ? -1 : 0)
    return nodes
      .filter(
        (node) =>
          node.roles.includes(role) &&
          (node.id === self.id ? local !== null : node.rpc_host !== null && node.status === "ready" && !node.is_silent),
      )
      .sort((left, right) => rank(left) - rank(right))
      .slice(0, maxNodes)
  })

  const unavailable = (reason: string) => new RoleUnavailable({ role, reason })
  const lost = (node: NodeRow) => `the connection to ${node.id} was lost.`

  const count = (node: NodeRow) =>
    Effect.acquireRelease(
      Effect.sync(() => void inFlight.set(node.id, (inFlight.get(node.id) ?? 0) + 1)),
      () => Effect.sync(() => void inFlight.set(node.id, inFlight.get(node.id)! - 1)),
    )

  /** Tries node after node. */
  const attempt = <A, R>(tag: string, run: (node: NodeRow, call: Call) => Effect.Effect<A, unknown, R>) =>
    Effect.gen(function* () {
      const nodes = yield* candidates
      if (nodes.length === 0) return yield* unavailable("there is none, or none that is ready.")
      let reason = ""
      for (const node of nodes) {
        const { call, dependency } = yield* targetOf(node)
        const act = Effect.andThen(count(node), run(node, call))
        const exit = yield* Effect.result(dependency === null ? act : dependency.call(tag, act, limits))
        if (exit._tag === "Success") return exit.success
        const error = exit.failure
        if (!isTransport(error) && !(error instanceof DependencyUnavailable)) return yield* Effect.fail(error)
        reason = isTransport(error) ? lost(node) : error.detail
      }
      return yield* unavailable(reason)
    })

  const client: Record<string, (payload: unknown) => unknown> = {}
  for (const [tag, rpc] of group.requests) {
    client[tag] = RpcSchema.isStreamSchema((rpc as unknown as Rpc.AnyWithProps).successSchema)
      ? (payload) =>
          Stream.unwrap(
            attempt(tag, (node, call) =>
              Effect.gen(function* () {
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
                ).pipe(Stream.mapError((error) => (isTransport(error) ? unavailable(lost(node)) : error)))
              }),
            ),
          )
      : (payload) => Effect.scoped(attempt(tag, (_node, call) => call(tag, payload) as Effect.Effect<unknown, unknown>))
  }
  return client as unknown as RoleClient<Rpcs>
})
