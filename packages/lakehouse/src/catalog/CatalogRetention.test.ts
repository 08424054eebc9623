import { assert, layer } from "@effect/vitest"
import { mainRef, NamespaceName, PipelineName, RefName, TableKey } from "@rat/domain"
import { DateTime, Effect, Layer } from "effect"
import { TestPostgres } from "../postgres/TestPostgres.ts"
import { Catalog } from "./Catalog.ts"
import { catalogMigrations } from "./CatalogMigrations.ts"
import { CatalogRetention, type PruneCursor } from "./CatalogRetention.ts"
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
const pruneAll = (at: { readonly before: DateTime.Utc; readonly droppedBefore: DateTime.Utc }) =>
  Effect.gen(function* () {
    const archive = yield* CatalogRetention
    let versions = 0
    let after: PruneCursor | null = null
    do {
      const step: { readonly next: PruneCursor | null; readonly removed: number } = yield* archive.pruneVersions({
        ...at,
        after,
        limit: 3,
      })
      versions += step.removed
      after = step.next
    } while (after !== null)
    let commits = 0
    let last: bigint | null = 0n
    while (last !== null) {
      const step: { readonly next: bigint | null; readonly removed: number } = yield* archive.pruneCommits({
        before: at.before,
        after: last,
        limit: 3,
      })
      commits += step.removed
      last = step.next
    }
    return { versions, commits }
  })

const testLayer = Layer.merge(PostgresCatalog.layer, CatalogRetention.layer).pipe(
  Layer.provideMerge(TestPostgres.layer(catalogMigrations)),
)

layer(testLayer, { excludeTestServices: true })("CatalogRetention", (it) => {
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
      const archive = yield* CatalogRetention
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
      assert.include(yield* archive.reachable("", 1000), "mine1")
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
      const archive = yield* CatalogRetention
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
      assert.deepStrictEqual(yield* pruneAll({ before: long, droppedBefore: long }), { versions: 0, commits: 0 })
      yield* pruneAll({ before: now, droppedBefore: long })
      const left = yield* archive.reachable("p", 1000)
      assert.deepStrictEqual(
        left.filter((location) => /^p\d/.test(location)),
        ["p2", "p4"],
      )
      assert.deepStrictEqual(yield* locations("prune", tag), ["p2"])
      assert.strictEqual((yield* catalog.dropped({ namespace: "prune" })).length, 1)
      yield* pruneAll({ before: now, droppedBefore: now })
      assert.strictEqual((yield* catalog.dropped({ namespace: "prune" })).length, 0)
      assert.strictEqual((yield* Effect.flip(catalog.at(first.id)))._tag, "CommitNotFound")
      assert.deepStrictEqual(yield* locations("prune", mainRef), ["p4"])
      yield* catalog.deleteRef(tag)
      yield* pruneAll({ before: now, droppedBefore: now })
      assert.notInclude(yield* archive.reachable("p", 1000), "p2")
    }),
  )
})
