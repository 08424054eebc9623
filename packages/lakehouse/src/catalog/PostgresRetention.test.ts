import { assert, layer } from "@effect/vitest"
import { mainRef, NamespaceName, PipelineName, RefName, TableKey } from "@rat/domain"
import { DateTime, Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { TestPostgres } from "../postgres/TestPostgres.ts"
import { Catalog } from "./Catalog.ts"
import { catalogMigrations } from "./CatalogMigrations.ts"
import { PostgresCatalog } from "./PostgresCatalog.ts"

const key = (namespace: string, name: string) =>
  new TableKey({ namespace: NamespaceName.make(namespace), layer: "silver", name: PipelineName.make(name) })
const by = { message: "m", author: "test", runId: null }
const next = (metadataLocation: string) => ({ metadataLocation, snapshotId: "1", rowCount: 1, sizeBytes: 1 })

const write = (ref: RefName, table: TableKey, location: string | null) =>
  Effect.gen(function* () {
    const catalog = yield* Catalog
    const expected = (yield* catalog.table(ref, table))?.metadataLocation ?? null
    const change = { key: table, expected, next: location === null ? null : next(location) }
    return yield* catalog.commit(ref, { ...by, changes: [change] })
  })

const locations = (namespace: string, ref: RefName) =>
  Effect.gen(function* () {
    const catalog = yield* Catalog
    return (yield* catalog.tables(ref, { namespace })).map(({ metadataLocation }) => metadataLocation)
  })

/** Whole passes over everything, in small steps. */
const pruneAll = (before: DateTime.Utc) =>
  Effect.gen(function* () {
    const catalog = yield* Catalog
    let removed = 0
    for (let step = 0; step < 20; step++) removed += yield* catalog.prune(before, 3)
    return removed
  })

const reachable = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const rows = yield* sql<{ location: string }>`select location from catalog_reachable('', 1000) as location`
  return rows.map(({ location }) => location)
})

const testLayer = PostgresCatalog.layer.pipe(Layer.provideMerge(TestPostgres.layer(catalogMigrations)))

layer(testLayer, { excludeTestServices: true })("What the catalog remembers", (it) => {
  it.effect("the second of two identical merges answers with the first one's commit", () =>
    Effect.gen(function* () {
      const catalog = yield* Catalog
      const branch = RefName.make("twice")
      yield* catalog.createBranch(branch, { from: mainRef })
      yield* write(branch, key("twice", "a"), "t1")
      const first = yield* catalog.merge(branch, by)
      assert.deepStrictEqual(yield* catalog.merge(branch, by), first)
      assert.strictEqual((yield* Effect.flip(catalog.merge(RefName.make("never-there"), by)))._tag, "RefNotFound")
    }),
  )

  it.effect("dropped tables are listed with their last version, on main and on a branch, and come back", () =>
    Effect.gen(function* () {
      const catalog = yield* Catalog
      const [mine, base] = [key("drop", "mine"), key("drop", "base")]
      yield* write(mainRef, base, "base1")
      const branch = RefName.make("dropper")
      yield* catalog.createBranch(branch, { from: mainRef })
      yield* write(branch, mine, "mine1")
      yield* write(branch, mine, null)
      yield* write(branch, base, null)
      const shown = (ref: RefName) =>
        Effect.map(catalog.dropped({ ref, namespace: "drop" }), (tables) =>
          tables.map(({ pointer }) => `${pointer.key.name} ${pointer.metadataLocation}`).sort(),
        )
      assert.deepStrictEqual(yield* shown(branch), ["base base1", "mine mine1"])
      assert.deepStrictEqual(yield* shown(mainRef), [])
      assert.include(yield* reachable, "mine1")
      yield* write(branch, mine, "mine1")
      assert.deepStrictEqual(yield* shown(branch), ["base base1"])
      yield* write(mainRef, base, null)
      assert.deepStrictEqual(yield* shown(mainRef), ["base base1"])
      yield* write(mainRef, base, "base1")
      assert.deepStrictEqual(yield* shown(mainRef), [])
    }),
  )

  it.effect("retention takes versions that nobody sees, keeps what a ref sees, and then refuses states beyond it", () =>
    Effect.gen(function* () {
      const catalog = yield* Catalog
      const table = key("prune", "a")
      const first = yield* write(mainRef, table, "p1")
      yield* write(mainRef, table, "p2")
      const tag = RefName.make("keeps-p2")
      yield* catalog.createTag(tag, { from: mainRef })
      yield* write(mainRef, table, "p3")
      yield* write(mainRef, table, "p4")
      const gone = key("prune", "gone")
      yield* write(mainRef, gone, "g1")
      yield* write(mainRef, gone, null)
      const now = DateTime.add(yield* DateTime.now, { minutes: 1 })
      const long = DateTime.subtract(now, { days: 1 })
      assert.strictEqual(yield* pruneAll(long), 0)
      assert.strictEqual((yield* catalog.dropped({ namespace: "prune" })).length, 1)
      assert.isAbove(yield* pruneAll(now), 0)
      const left = yield* reachable
      assert.deepStrictEqual(
        left.filter((location) => /^[pg]\d/.test(location)),
        ["p2", "p4"],
      )
      assert.deepStrictEqual(yield* locations("prune", tag), ["p2"])
      assert.strictEqual((yield* catalog.dropped({ namespace: "prune" })).length, 0)
      assert.strictEqual((yield* Effect.flip(catalog.at(first.id)))._tag, "CommitNotFound")
      assert.deepStrictEqual(yield* locations("prune", mainRef), ["p4"])
      yield* catalog.deleteRef(tag)
      yield* pruneAll(now)
      assert.notInclude(yield* reachable, "p2")
    }),
  )
})
