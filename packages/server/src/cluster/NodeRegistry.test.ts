import { assert, layer } from "@effect/vitest"
import type { Role } from "@rat/domain"
import { TestPostgres } from "@rat/lakehouse"
import { Context, Effect, Exit, Layer, Schedule, Scope } from "effect"
import { SqlClient } from "effect/sql"
import { migrations } from "../sql/migrations.ts"
import { ClusterKey } from "./ClusterKey.ts"
import { NodeIdentity } from "./NodeIdentity.ts"
import { lifeLocks, NodeRegistry } from "./NodeRegistry.ts"
import { RpcListener } from "./RpcListener.ts"

/** A node's membership, apart from everything else that it does, and the way to end it. */
const join = (roles: ReadonlyArray<Role>) =>
  Effect.gen(function* () {
    const scope = yield* Scope.fork(yield* Effect.scope)
    const context = yield* Layer.build(
      Layer.fresh(NodeRegistry.layer).pipe(
        Layer.provide(Layer.fresh(RpcListener.layer({ listen: { host: "127.0.0.1", port: 0 }, advertise: null }))),
        Layer.provide(Layer.fresh(ClusterKey.layer)),
        Layer.provideMerge(Layer.fresh(NodeIdentity.layer({ roles, version: "1.2.3", isClustered: true }))),
      ),
    ).pipe(Scope.provide(scope))
    return {
      id: Context.get(context, NodeIdentity).id,
      registry: Context.get(context, NodeRegistry),
      leave: Scope.close(scope, Exit.void),
    }
  })

const until = <A, E, R>(look: Effect.Effect<A, E, R>, isDone: (found: A) => boolean) =>
  look.pipe(Effect.repeat({ until: isDone, schedule: Schedule.spaced("20 millis") }), Effect.timeout("8 seconds"))

const idsOf = (registry: NodeRegistry["Service"]) => Effect.map(registry.nodes, (nodes) => nodes.map(({ id }) => id))

layer(TestPostgres.layer(migrations, { maxConnections: 25 }), { excludeTestServices: true })("NodeRegistry", (it) => {
  it.effect("nodes find each other, see what the others are, and see them go", () =>
    Effect.gen(function* () {
      const first = yield* join(["api", "control"])
      const second = yield* join(["runner"])
      yield* second.registry.announce("http://127.0.0.1:9")
      const seen = yield* until(first.registry.nodes, (nodes) =>
        nodes.some(({ id, status }) => id === second.id && status === "ready"),
      )
      const row = seen.find(({ id }) => id === second.id)!
      assert.deepInclude(row, { roles: ["runner"], version: "1.2.3", url: "http://127.0.0.1:9", is_silent: false })
      assert.strictEqual(row.rpc_host, "127.0.0.1")
      assert.notStrictEqual(first.registry.number, second.registry.number)
      yield* second.registry.drain
      yield* until(first.registry.nodes, (nodes) =>
        nodes.some(({ id, status }) => id === second.id && status === "draining"),
      )
      yield* second.leave
      assert.deepStrictEqual(yield* until(idsOf(first.registry), (ids) => ids.length === 1), [first.id])
    }).pipe(Effect.scoped),
  )

  it.effect("a node that lost its session holds its lock again soon, also when its row was removed meanwhile", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const node = yield* join(["runner"])
      const holders = sql<{ readonly pid: number; readonly number: number }>`
        select pid, objid::integer as number from pg_locks
        where locktype = 'advisory' and classid = ${lifeLocks}::integer::oid
          and database = (select oid from pg_database where datname = current_database())`
      const [before] = yield* until(holders, (rows) => rows.length === 1)
      yield* sql`delete from node where id = ${node.id}`
      yield* sql`select pg_terminate_backend(${before!.pid})`
      const [after] = yield* until(holders, ([row]) => row !== undefined && row.pid !== before!.pid)
      const [row] = yield* until(
        sql<{ readonly number: bigint }>`select number from node where id = ${node.id}`,
        (rows) => rows.length === 1,
      )
      assert.strictEqual(BigInt(after!.number), row!.number)
      assert.strictEqual(node.registry.number, row!.number)
    }).pipe(Effect.scoped),
  )
})
