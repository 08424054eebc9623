import { assert, layer } from "@effect/vitest"
import {
  defaultMaintenancePolicy,
  MaintenancePolicy,
  mainRef,
  NamespaceName,
  OperationReport,
  OrphanReport,
  PipelineName,
  TableKey,
  TableReport,
  TableSize,
} from "@rat/domain"
import { Catalog, PostgresCatalog, TestPostgres } from "@rat/lakehouse"
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { Outbox } from "../event/Outbox.ts"
import { migrations } from "../sql/migrations.ts"
import type { ClaimedMaintenance } from "./MaintenanceClaim.ts"
import { MaintenanceRepository } from "./MaintenanceRepository.ts"
import { MaintenanceSettings } from "./MaintenanceSettings.ts"

const Test = MaintenanceRepository.layer.pipe(
  Layer.provideMerge(
    Layer.mergeAll(
      Outbox.layer,
      PostgresCatalog.layer,
      MaintenanceSettings.layerWith({ everyCommits: 3, everyHours: 24, leaseSeconds: 30, orphanIntervalHours: 24 }),
    ),
  ),
  Layer.provideMerge(TestPostgres.layer(migrations)),
)

let versions = 0
let tables = 0

const makeTable = () =>
  new TableKey({
    namespace: NamespaceName.make("default"),
    layer: "silver",
    name: PipelineName.make(`t${++tables}`),
  })

const commit = (key: TableKey, times = 1) =>
  Effect.gen(function* () {
    const catalog = yield* Catalog
    for (let time = 0; time < times; time++) {
      const expected = (yield* catalog.table(mainRef, key))?.metadataLocation ?? null
      const next = { metadataLocation: `file:///v${++versions}`, snapshotId: null, rowCount: 1, sizeBytes: 1 }
      yield* catalog.commit(mainRef, {
        message: "test",
        author: "test",
        runId: null,
        changes: [{ key, expected, next }],
      })
    }
  })

const size = new TableSize({ data_files: 1, delete_files: 0, rows: 1, size_bytes: 1, manifests: 1, snapshots: 1 })
const report = (key: TableKey, groups: number, policy: Partial<MaintenancePolicy> = {}) =>
  new TableReport({
    ...key,
    policy: new MaintenancePolicy({ ...defaultMaintenancePolicy, every_commits: 3, ...policy }),
    before: size,
    after: size,
    operations: [
      new OperationReport({
        operation: "compact",
        groups,
        skipped: 0,
        files_before: 0,
        files_after: 0,
        bytes_before: 0,
        bytes_after: 0,
        snapshots_removed: 0,
        notes: [],
      }),
    ],
  })

const orphans = new OrphanReport({
  objects: 1,
  live_objects: 1,
  waiting_objects: 0,
  waiting_bytes: 0,
  removed_objects: 0,
  removed_bytes: 0,
  places: [],
  unreadable: [],
})

const eventsOf = (key: string) =>
  Effect.flatMap(SqlClient.SqlClient, (sql) =>
    Effect.map(sql<{ type: string }>`select type from outbox where key = ${key} order by id`, (rows) =>
      rows.map(({ type }) => type),
    ),
  )

/** Takes what is in the queue; only the test's own is there. */
const claimed = Effect.flatMap(MaintenanceRepository, (repository) =>
  Effect.map(repository.claim("node"), (held) => held as ClaimedMaintenance),
)

layer(Test, { excludeTestServices: true })("MaintenanceRepository", (it) => {
  it.effect(
    "a table is due after enough commits, or after any commit and enough time, and is not when nothing changed",
    () =>
      Effect.gen(function* () {
        const repository = yield* MaintenanceRepository
        const sql = yield* SqlClient.SqlClient
        const key = makeTable()
        yield* commit(key, 2)
        assert.strictEqual(yield* repository.enqueueDue(), 0)
        yield* commit(key)
        assert.strictEqual(yield* repository.enqueueDue(), 1)
        assert.strictEqual(yield* repository.enqueueDue(), 0, "it is in the queue already")
        const held = yield* claimed
        assert.strictEqual(yield* repository.enqueueDue(), 0, "it is at work already")
        assert.isTrue(yield* repository.succeedTable(held, report(key, 1)))
        assert.strictEqual(yield* repository.enqueueDue(), 0)
        yield* sql`update maintenance_table set maintained_at = now() - interval '25 hours' where name = ${key.name}`
        assert.strictEqual(yield* repository.enqueueDue(), 0, "nothing changed since")
        yield* commit(key)
        assert.strictEqual(yield* repository.enqueueDue(), 1)
        yield* repository.succeedTable(yield* claimed, report(key, 1))
        assert.deepStrictEqual(yield* eventsOf(key.toString()), [
          "maintenance.running",
          "maintenance.succeeded",
          "maintenance.running",
          "maintenance.succeeded",
        ])
      }).pipe(Effect.orDie),
  )

  it.effect(
    "a table whose policy is off is never due, nor one with a run at work; a failed one waits for new commits",
    () =>
      Effect.gen(function* () {
        const repository = yield* MaintenanceRepository
        const sql = yield* SqlClient.SqlClient
        const [off, pipelineOff, busy, failing] = [makeTable(), makeTable(), makeTable(), makeTable()]
        for (const key of [off, busy, failing]) yield* commit(key, 3)
        yield* repository.setPolicy(off, { enabled: false })
        yield* sql`
        insert into run (id, kind, namespace, pipeline_id, layer, pipeline, status, trigger, lease_owner)
        values ('01890a5d-ac96-774b-bcce-b302099a8057', 'pipeline', 'default', gen_random_uuid(), 'silver', ${busy.name}, 'running', 'x', 'n')`
        assert.strictEqual(yield* repository.enqueueDue(), 1)
        const held = yield* claimed
        assert.strictEqual(held.table?.name, failing.name)
        assert.isTrue(yield* repository.fail(held, "no room"))
        assert.strictEqual(yield* repository.enqueueDue(), 0)
        yield* commit(failing, 3)
        assert.strictEqual(yield* repository.enqueueDue(), 1)
        yield* repository.succeedTable(yield* claimed, report(failing, 1))
        yield* sql`delete from run`
        assert.strictEqual(yield* repository.enqueueDue(), 1)
        yield* repository.succeedTable(yield* claimed, report(busy, 1))
        // The pipeline's own word is known once the table was looked at.
        yield* commit(pipelineOff, 3)
        yield* repository.enqueueDue()
        yield* repository.succeedTable(yield* claimed, report(pipelineOff, 0, { enabled: false }))
        yield* commit(pipelineOff, 3)
        assert.strictEqual(yield* repository.enqueueDue(), 0)
        // The API's word wins over it.
        yield* repository.setPolicy(pipelineOff, { enabled: true })
        assert.strictEqual(yield* repository.enqueueDue(), 1)
        yield* repository.succeedTable(yield* claimed, report(pipelineOff, 0))
      }).pipe(Effect.orDie),
  )

  it.effect("a look of the policy that finds nothing to do leaves no history, a wish always does", () =>
    Effect.gen(function* () {
      const repository = yield* MaintenanceRepository
      const key = makeTable()
      yield* commit(key, 3)
      yield* repository.enqueueDue()
      const table = key.toString()
      assert.isTrue(yield* repository.succeedTable(yield* claimed, report(key, 0)))
      assert.strictEqual((yield* repository.list({ table, limit: 10, offset: 0 })).total, 0)
      const id = yield* repository.submit({ kind: "table", table: key, operations: ["compact"], trigger: "manual" })
      const again = yield* Effect.flip(
        repository.submit({ kind: "table", table: key, operations: ["compact"], trigger: "manual" }),
      )
      assert.strictEqual(again._tag, "MaintenanceBusy")
      const held = yield* claimed
      assert.deepStrictEqual([held.id, held.operations], [id, ["compact"]])
      yield* repository.succeedTable(held, report(key, 0))
      const { runs } = yield* repository.list({ table, limit: 10, offset: 0 })
      assert.deepStrictEqual(
        runs.map((run) => [run.id, run.status, run.table_report?.operations.length]),
        [[id, "succeeded", 1]],
      )
    }).pipe(Effect.orDie),
  )

  it.effect("of two nodes one gets a run; a silent one loses it, and cannot end it any more", () =>
    Effect.gen(function* () {
      const repository = yield* MaintenanceRepository
      const sql = yield* SqlClient.SqlClient
      const key = makeTable()
      yield* repository.submit({ kind: "table", table: key, operations: ["compact"], trigger: "manual" })
      const [one, two] = yield* Effect.all([repository.claim("one"), repository.claim("two")], { concurrency: 2 })
      const held = (one ?? two)!
      assert.isNull(one === null ? one : two)
      assert.isTrue(yield* repository.renew(held))
      assert.strictEqual(yield* repository.expireLeases(), 0)
      // A node that stops gives it back at once.
      yield* repository.release(held)
      assert.isFalse(yield* repository.renew(held))
      const again = yield* claimed
      assert.deepStrictEqual([again.id, again.attempt], [held.id, 2])
      assert.strictEqual(yield* repository.expireLeases(), 0)
      const silence = sql`update maintenance_run set lease_expires_at = now() - interval '1 second' where id = ${held.id}`
      yield* sql`update maintenance_run set attempt = 1 where id = ${held.id}`
      yield* silence
      assert.strictEqual(yield* repository.expireLeases(), 1)
      const second = yield* claimed
      assert.deepStrictEqual([second.id, second.attempt], [held.id, 2])
      assert.isFalse(yield* repository.renew(held))
      assert.isFalse(yield* repository.succeedTable(held, report(key, 1)))
      assert.isFalse(yield* repository.fail(held, "late"))
      yield* silence
      yield* repository.expireLeases()
      const third = yield* claimed
      yield* silence
      yield* repository.expireLeases()
      assert.isNull(yield* repository.claim("one"))
      const found = yield* repository.find(third.id)
      assert.strictEqual(found.status, "failed")
      assert.include(found.error, "died")
    }).pipe(Effect.orDie),
  )

  it.effect("orphans are looked for once in the interval, and one removal at a time", () =>
    Effect.gen(function* () {
      const repository = yield* MaintenanceRepository
      const sql = yield* SqlClient.SqlClient
      const counts = yield* Effect.all([repository.enqueueOrphans(), repository.enqueueOrphans()], { concurrency: 2 })
      assert.deepStrictEqual(counts.toSorted(), [0, 1])
      const busy = yield* Effect.flip(
        repository.submit({ kind: "orphans", table: null, operations: [], trigger: "manual" }),
      )
      assert.strictEqual(busy._tag, "MaintenanceBusy")
      const held = yield* claimed
      assert.isTrue(yield* repository.succeedOrphans(held, orphans))
      assert.strictEqual(yield* repository.enqueueOrphans(), 0)
      yield* sql`update maintenance_run set finished_at = now() - interval '25 hours' where id = ${held.id}`
      assert.strictEqual(yield* repository.enqueueOrphans(), 1)
      yield* repository.succeedOrphans(yield* claimed, orphans)
      yield* sql`update maintenance_run set finished_at = now() - interval '1000 days'`
      assert.isAbove(yield* repository.prune(), 0)
    }).pipe(Effect.orDie),
  )
})
