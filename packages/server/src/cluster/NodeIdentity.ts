import { hostname } from "node:os"
import type { Role } from "@rat/domain"
import { Context, Effect, Layer } from "effect"
import { SecureRandom } from "effect/crypto"

/** Who this process is. */
export class NodeIdentity extends Context.Service<
  NodeIdentity,
  {
    /**
     * `host-pid-xxxx`, unique for each start: leases carry it, and a process that comes after must not be taken for the one
     * before it, whose process id it may have.
     */
    readonly id: string
    readonly roles: ReadonlyArray<Role>
    readonly version: string
    /** Whether other nodes may join: then it can be reached by them. */
    readonly isClustered: boolean
  }
>()("rat/server/cluster/NodeIdentity") {
  static readonly layer = (options: {
    readonly roles: ReadonlyArray<Role>
    readonly version: string
    readonly isClustered: boolean
  }) =>
    Layer.effect(
      NodeIdentity,
      Effect.sync(() => ({
        id: `${hostname()}-${process.pid}-${SecureRandom.uuidV7Unsafe().slice(-4)}`,
        ...options,
      })),
    )
}
