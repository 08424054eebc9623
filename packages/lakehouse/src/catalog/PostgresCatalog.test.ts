import { assert, layer } from "@effect/vitest"
import { mainRef, NamespaceName, PipelineName, RefName, TableKey } from "@rat/domain"
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { TestPostgres } from "../postgres/TestPostgres.ts"
import { Catalog, type TableChange } from "./Catalog.ts"
import { catalogContract } from "./CatalogContract.ts"
import { catalogContractFence } from "./CatalogContractFence.ts"
import { catalogMigrations } from "./CatalogMigrations.ts"
import { PostgresCatalog } from "./PostgresCatalog.ts"

const key = (name: string, namespace = "ns") =>
  new TableKey({ namespace: NamespaceName.make(namespace), layer: "silver", name: PipelineName.make(name) })
const branch = (name: string) => RefName.make(name)
const change = (table: TableKey, expected: string | null, next: string | null): TableChange => ({
  key: table,
  expected,
  next:
    next === null ? null : { metadataLocation: next, snapshotId: `s-${next}`, rowCount: 3, sizeBytes: 5_000_000_000 },
})
const by = { message: "m", author: "test", runId: null }

const commit = (ref: string, ...changes: ReadonlyArray<TableChange>) =>
  Effect.flatMap(Catalog, (catalog) => catalog.commit(branch(ref), { ...by, changes }))
const locationOf = (ref: string, table: TableKey) =>
  Effect.flatMap(Catalog, (catalog) => catalog.table(branch(ref), table)).pipe(
    Effect.map((pointer) => pointer?.metadataLocation ?? null),
  )

catalogContract("PostgresCatalog", PostgresCatalog.layer.pipe(Layer.provide(TestPostgres.layer(catalogMigrations))))
catalogContractFence(
  "PostgresCatalog",
  PostgresCatalog.layer.pipe(Layer.provide(TestPostgres.layer(catalogMigrations, { maxConnections: 8 }))),
  { runs: 60 },
)

layer(PostgresCatalog.layer.pipe(Layer.provideMerge(TestPostgres.layer(catalogMigrations))), {
  excludeTestServices: true,
})("PostgresCatalog in Postgres", (it) => {
  it.effect("a merge joins the caller's transaction: rolled back, main and the branch are as before", () =>
    Effect.gen(function* () {
      const catalog = yield* Catalog
      const sql = yield* SqlClient.SqlClient
      const a = key("a7")
      yield* catalog.createBranch(branch("run-7"), { from: mainRef })
      yield* commit("run-7", change(a, null, "a@1"))
      const refused = yield* catalog.merge(branch("run-7"), by).pipe(
        Effect.andThen(locationOf("main", a)),
        Effect.flatMap((seen) => Effect.fail(`inside: ${seen}`)),
        sql.withTransaction,
        Effect.flip,
      )
      assert.strictEqual(refused, "inside: a@1")
      assert.isNull(yield* locationOf("main", a))
      assert.strictEqual(yield* locationOf("run-7", a), "a@1")
    }),
  )

  it.effect("creating a branch reads and writes the same number of rows with 10 tables and with 10,000", () =>
    // Shows F-11
    Effect.gen(function* () {
      const catalog = yield* Catalog
      const sql = yield* SqlClient.SqlClient
      const counters = sql<{ read: number; written: number }>`
        select
          sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::int as read,
          sum(n_tup_ins + n_tup_upd + n_tup_del)::int as written
        from pg_stat_xact_user_tables
        where relname like 'catalog_%'`
      // The session's own counters, so other sessions don't disturb.
      const rowsTouched = (name: string) =>
        Effect.gen(function* () {
          // A handful of rows is read faster without an index; what counts is the plan for many.
          yield* sql`set local enable_seqscan = off`
          const [before] = yield* counters
          yield* catalog.createBranch(branch(name), { from: mainRef })
          const [after] = yield* counters
          return { read: after!.read - before!.read, written: after!.written - before!.written }
        }).pipe(sql.withTransaction)
      const ten = Array.from({ length: 10 }, (_, n) => change(key(`f${n}`, "few"), null, `f${n}@1`))
      yield* commit("main", ...ten)
      yield* sql`analyze`
      const few = yield* rowsTouched("few")
      const many = Array.from({ length: 10_000 }, (_, n) => change(key(`t${n}`, "many"), null, `t${n}@1`))
      yield* commit("main", ...many)
      yield* sql`analyze`
      const after = yield* rowsTouched("many")
      assert.deepStrictEqual([few.written, after.written], [1, 1])
      assert.isAtMost(after.read, few.read)
      assert.strictEqual((yield* catalog.tables(branch("many"), { namespace: "many" })).length, 10_000)
    }),
  )
})
