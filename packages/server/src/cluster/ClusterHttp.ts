import { Api, Cluster, Role } from "@rat/domain"
import { Effect } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { SqlClient } from "effect/sql"
import { wired } from "../http/ErrorEnvelope.ts"
import { shardCount } from "./ActorRuntime.ts"
import { NodeIdentity } from "./NodeIdentity.ts"
import { NodeRegistry } from "./NodeRegistry.ts"
import { toClusterNode } from "./NodeRow.ts"

export const ClusterHttp = HttpApiBuilder.group(
  Api,
  "cluster",
  Effect.fn(function* (handlers) {
    const sql = yield* SqlClient.SqlClient
    const registry = yield* NodeRegistry
    const self = yield* NodeIdentity

    const running = sql<{ readonly node: string; readonly runs: number }>`
      select lease_owner as node, count(*)::integer as runs from run where status = 'running' group by lease_owner`

    return handlers.handle("get", () =>
      wired(
        Effect.gen(function* () {
          const rows = yield* registry.nodes
          const runs = new Map((yield* running).map((row) => [row.node, row.runs]))
          const nodes = rows.map((row) =>
            toClusterNode(row, {
              self: self.id,
              running: runs.get(row.id) ?? 0,
              // A node that is alone has all actors.
              shards: self.isClustered ? (row.load.shards ?? 0) : shardCount,
            }),
          )
          const present = new Set(nodes.filter(({ health }) => health === "ok").flatMap(({ roles }) => roles))
          return new Cluster({
            nodes,
            shards: shardCount,
            missing_roles: Role.literals.filter((role) => !present.has(role)),
          })
        }),
      ),
    )
  }),
)
