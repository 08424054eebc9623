import { Schema } from "effect"
import { SlotHealth } from "../slot/SlotHealth.ts"

/**
 * What a node does. `api` answers HTTP; `control` holds actors, finishes what others left and looks after tables; `runner`
 * executes runs; `query` executes interactive SQL. A node has one role or several.
 */
export const Role = Schema.Literals(["api", "control", "runner", "query"])
export type Role = typeof Role.Type

/** `ready` takes work; `draining` ends what it has. */
export const NodeStatus = Schema.Literals(["ready", "draining"])
export type NodeStatus = typeof NodeStatus.Type

/** A node of the cluster as the registry knows it. */
export class ClusterNode extends Schema.Class<ClusterNode>("rat/domain/ClusterNode")({
  /** Unique for each start: host, process and a random part. */
  id: Schema.String,
  roles: Schema.Array(Role),
  status: NodeStatus,
  /** `ok`: heard of lately. `silent`: alive by its session, but not heard of: stopped, overloaded or cut off. */
  health: Schema.Literals(["ok", "silent"]),
  version: Schema.String,
  /** Highest migration that its program knows. */
  schema_version: Schema.Int,
  /** Where it answers HTTP (health and metrics without the role `api`). */
  url: Schema.String,
  /** Where other nodes reach it; null for a node that is alone. */
  rpc_address: Schema.NullOr(Schema.String),
  started_at: Schema.DateTimeUtcFromDate,
  heartbeat_at: Schema.DateTimeUtcFromDate,
  /** Runs that it executes now. */
  running: Schema.Int,
  /** Slot processes by role, as of its last heartbeat. */
  slots: Schema.Struct({
    runner: Schema.optional(SlotHealth),
    query: Schema.optional(SlotHealth),
  }),
  /** Shares of the actors that it holds. */
  shards: Schema.Int,
  /** The node that answers. */
  is_self: Schema.Boolean,
}) {}

export class Cluster extends Schema.Class<Cluster>("rat/domain/Cluster")({
  nodes: Schema.Array(ClusterNode),
  /** Shards over which the actors are spread. */
  shards: Schema.Int,
  /** Roles that no node has at the moment: what they do waits. */
  missing_roles: Schema.Array(Role),
}) {}
