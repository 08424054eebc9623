import { assert, layer } from "@effect/vitest"
import { mainRef, NamespaceName, PipelineName, RefName, TableKey } from "@rat/domain"
import { Deferred, Effect, Fiber, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { TestPostgres } from "../postgres/TestPostgres.ts"
import { Catalog } from "./Catalog.ts"
import { catalogContractRaces } from "./CatalogContractRaces.ts"
import { catalogMigrations } from "./CatalogMigrations.ts"
import { PostgresCatalog } from "./PostgresCatalog.ts"

const key = (namespace: string, name: string) =>
  new TableKey({ namespace: NamespaceName.make(namespace), layer: "silver", name: PipelineName.make(name) })
const next = (metadataLocation: string) => ({ metadataLocation, snapshotId: null, rowCount: 0, sizeBytes: 0 })
const by = { message: "m", author: "test", runId: null }

const catalogLayer = PostgresCatalog.layer.pipe(
  Layer.provideMerge(TestPostgres.layer(catalogMigrations, { maxConnections: 16 })),
)

catalogContractRaces(catalogLayer, 15)

layer(catalogLayer, { excludeTestServices: true })("Many writers of the catalog in Postgres", (it) => {
  it.effect("of different tables don't wait for each other, not even for one whose transaction hangs", () =>
    Effect.gen(function* () {
      const catalog = yield* Catalog
      const sql = yield* SqlClient.SqlClient
      const publish = (name: string) =>
        Effect.gen(function* () {
          yield* catalog.createBranch(RefName.make(name), { from: mainRef })
          yield* catalog.commit(RefName.make(name), {
            ...by,
            changes: [{ key: key("hang", name), expected: null, next: next("1") }],
          })
          return yield* catalog.merge(RefName.make(name), by)
        })
      const hangs = yield* Deferred.make<void>()
      const released = yield* Deferred.make<void>()
      const slow = yield* publish("slow").pipe(
        Effect.andThen(Deferred.succeed(hangs, undefined)),
        Effect.andThen(Deferred.await(released)),
        sql.withTransaction,
        Effect.forkChild,
      )
      yield* Deferred.await(hangs)
      yield* catalog.createBranch(RefName.make("between"), { from: mainRef })
      yield* publish("quick").pipe(Effect.timeout("5 seconds"))
      yield* Deferred.succeed(released, undefined)
      yield* Fiber.join(slow)
      // Its number is lower than the quick one's, but it was not there when the branch was made.
      assert.deepStrictEqual(yield* catalog.tables(RefName.make("between"), { namespace: "hang" }), [])
      assert.strictEqual((yield* catalog.tables(mainRef, { namespace: "hang" })).length, 2)
    }),
  )
})
