import { ClusterNode, type NodeStatus, type Role, SlotHealth } from "@rat/domain"
import { DateTime } from "effect"

/** What a node tells of itself with each heartbeat. */
export interface NodeLoad {
  readonly shards: number
  readonly runner?: SlotHealth
  readonly query?: SlotHealth
}

/** Table `node`, with what only Postgres can say. */
export interface NodeRow {
  readonly id: string
  readonly number: bigint
  readonly roles: ReadonlyArray<Role>
  readonly status: NodeStatus
  readonly version: string
  readonly schema_version: number
  readonly url: string
  readonly rpc_host: string | null
  readonly rpc_port: number | null
  readonly load: Partial<NodeLoad>
  readonly started_at: Date
  readonly heartbeat_at: Date
  readonly is_silent: boolean
}

export const toClusterNode = (
  row: NodeRow,
  about: { readonly self: string; readonly running: number; readonly shards: number },
): ClusterNode =>
  new ClusterNode({
    id: row.id,
    roles: row.roles,
    status: row.status,
    health: row.is_silent ? "silent" : "ok",
    version: row.version,
    schema_version: row.schema_version,
    url: row.url,
    rpc_address: row.rpc_host === null ? null : `${row.rpc_host}:${row.rpc_port}`,
    started_at: DateTime.fromDateUnsafe(row.started_at),
    heartbeat_at: DateTime.fromDateUnsafe(row.heartbeat_at),
    running: about.running,
    shards: about.shards,
    slots: {
      ...(row.load.runner === undefined ? {} : { runner: new SlotHealth(row.load.runner) }),
      ...(row.load.query === undefined ? {} : { query: new SlotHealth(row.load.query) }),
    },
    is_self: row.id === about.self,
  })
