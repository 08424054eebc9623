import { randomBytes } from "node:crypto"
import { Context, Effect, Layer, Redacted } from "effect"
import { SqlClient } from "effect/sql"

/**
 * The secret by which nodes know each other, 32 bytes: made by the first node and kept in the database that they share.
 * Who may read that database is a member anyway; nobody else can speak to a node.
 */
export class ClusterKey extends Context.Service<ClusterKey, Redacted.Redacted<Buffer>>()(
  "rat/server/cluster/ClusterKey",
) {
  static readonly layer = Layer.effect(
    ClusterKey,
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      yield* sql`insert into cluster_key (key) values (${randomBytes(32)}) on conflict do nothing`
      const [row] = yield* sql<{ readonly key: Uint8Array }>`select key from cluster_key`
      return Redacted.make(Buffer.from(row!.key), { label: "cluster key" })
    }),
  )
}
