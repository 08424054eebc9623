import { assert, layer } from "@effect/vitest"
import { NamespaceName } from "@rat/domain"
import { Effect, Layer, Schedule } from "effect"
import { SqlClient } from "effect/sql"
import { MaintenanceRepository } from "../maintenance/MaintenanceRepository.ts"
import { MaintenanceSettings } from "../maintenance/MaintenanceSettings.ts"
import { RunRepository } from "../run/RunRepository.ts"
import { testRuns } from "../run/TestRuns.ts"
import { ClusterKey } from "./ClusterKey.ts"
import { NodeIdentity } from "./NodeIdentity.ts"
import { NodeReaper } from "./NodeReaper.ts"
import { lifeLocks, NodeRegistry } from "./NodeRegistry.ts"
import { RpcListener } from "./RpcListener.ts"

/** A control node that watches; leases are long, so that nothing but the watch takes runs back. */
const watcher = NodeReaper.layer.pipe(
  Layer.provideMerge(NodeRegistry.layer),
  Layer.provideMerge(RpcListener.layer({ listen: { host: "127.0.0.1", port: 0 }, advertise: null })),
  Layer.provideMerge(ClusterKey.layer),
  Layer.provideMerge(NodeIdentity.layer({ roles: ["control"], version: "1.2.3", isClustered: true })),
  Layer.provideMerge(Layer.mergeAll(RunRepository.layer, MaintenanceRepository.layer)),
  Layer.provideMerge(
    MaintenanceSettings.layerWith({ everyCommits: 3, everyHours: 24, leaseSeconds: 300, orphanIntervalHours: 24 }),
  ),
  Layer.provideMerge(testRuns({ leaseSeconds: 300 })),
)

const claimBy = (node: string) =>
  Effect.gen(function* () {
    const runs = yield* RunRepository
    yield* runs.submit({
      kind: "noop",
      namespace: NamespaceName.make("default"),
      pipelineId: null,
      trigger: "t",
      idempotencyKey: null,
      traceparent: null,
    })
    const [claimed] = yield* runs.claim(node, 1)
    return claimed!.lease.runId
  })

const addNode = (id: string) =>
  Effect.flatMap(
    SqlClient.SqlClient,
    (sql) => sql<{ readonly number: bigint }>`
      insert into node (id, number, roles, status, version, schema_version, url)
      values (${id}, nextval('node_number'), array['runner'], 'ready', '1', 1, '')
      returning number`,
  ).pipe(Effect.map(([row]) => Number(row!.number)))

const status = (id: string) =>
  Effect.flatMap(
    SqlClient.SqlClient,
    (sql) => sql<{ readonly status: string }>`select status from run where id = ${id}`,
  ).pipe(Effect.map(([row]) => row!.status))

const nodeIds = Effect.flatMap(
  SqlClient.SqlClient,
  (sql) => sql<{ readonly id: string }>`select id from node order by number`,
).pipe(Effect.map((rows) => rows.map(({ id }) => id)))

layer(watcher, { excludeTestServices: true, timeout: "30 seconds" })("NodeReaper", (it) => {
  it.effect(
    "gives back at once what a node held whose session is gone, and what nobody's is; living nodes keep theirs",
    () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const { id: self } = yield* NodeIdentity
        const number = yield* addNode("alive")
        yield* addNode("killed")
        const [kept, lost, orphaned] = [yield* claimBy("alive"), yield* claimBy("killed"), yield* claimBy("never-was")]
        const isOver = Effect.gen(function* () {
          return (yield* status(lost)) === "queued" && (yield* status(orphaned)) === "queued"
        })
        // The session of the one that lives, held for as long as the test looks.
        yield* Effect.gen(function* () {
          yield* sql`select pg_advisory_xact_lock(${lifeLocks}::integer, ${number}::integer)`
          yield* isOver.pipe(
            Effect.repeat({ until: (over) => over, schedule: Schedule.spaced("50 millis") }),
            Effect.timeout("15 seconds"),
          )
          assert.strictEqual(yield* status(kept), "running")
          assert.deepStrictEqual(yield* nodeIds, [self, "alive"])
        }).pipe(sql.withTransaction)
        const [attempt] = yield* sql<{
          readonly outcome: string
        }>`select outcome from run_attempt where run_id = ${lost}`
        assert.strictEqual(attempt!.outcome, "lost")
      }),
  )
})
