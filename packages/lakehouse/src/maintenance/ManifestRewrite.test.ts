import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { IcebergTable } from "../iceberg/IcebergTable.ts"
import { hasLiveFiles } from "../iceberg/ManifestList.ts"
import { TestTables } from "../write/TestTable.ts"
import { compact } from "./Compaction.ts"
import { defaultCompaction } from "./CompactionPlan.ts"
import { expireSnapshots } from "./Expiry.ts"
import { rewriteManifests } from "./ManifestRewrite.ts"
import { makeTestTable, randomOf, testEngine } from "./TestTable.ts"

layer(TestTables, { excludeTestServices: true })("ManifestRewrite", (it) => {
  it.effect(
    "manifests become few and of one partition side by side; rows, deletes and v3's row ids stay, and later commits go on",
    () =>
      Effect.gen(function* () {
        const tables = yield* IcebergTable
        for (const seed of [Math.floor(Math.random() * 2 ** 31), 1, 2, 3]) {
          const random = randomOf(seed)
          const formatVersion = random(2) === 0 ? 2 : 3
          const table = yield* makeTestTable({ formatVersion, partitioned: random(2) === 0 })
          for (let index = 0; index < 8; index++) {
            yield* table.append(Array.from({ length: 1 + random(9) }, () => ({ k: "a", p: random(3) })))
            if (random(2) === 0) {
              yield* table.deletePositions(new Set(table.rows().flatMap(({ id }) => (random(4) === 0 ? [id] : []))))
            }
          }
          const ids = formatVersion === 3 ? yield* table.rowIds : []
          const before = (yield* tables.manifests((yield* table.current).metadata)).filter(hasLiveFiles)
          const done = yield* rewriteManifests({ head: table.head, id: `${table.name}-r`, minManifests: 2 })
          assert.isTrue(done.changed, `seed ${seed}`)
          const { metadata } = yield* table.current
          const after = (yield* tables.manifests(metadata)).filter(hasLiveFiles)
          assert.isBelow(after.length, before.length, `seed ${seed}`)
          assert.strictEqual(done.after, after.length)
          assert.deepStrictEqual(yield* table.read, table.expected(), `seed ${seed}`)
          if (formatVersion === 3) assert.deepStrictEqual(yield* table.rowIds, ids, `seed ${seed}`)
          assert.isFalse(
            (yield* rewriteManifests({ head: table.head, id: `${table.name}-s`, minManifests: 2 })).changed,
          )
          yield* table.append([{ k: "b", p: 1 }])
          yield* table.deletePositions(new Set([1, 2, 3]))
          yield* compact({ head: table.head, id: `${table.name}-c`, settings: defaultCompaction, engine: testEngine() })
          assert.deepStrictEqual(yield* table.read, table.expected(), `seed ${seed}: afterwards`)
          // New rows of v3 got ids that no other row has.
          const newest = formatVersion === 3 ? yield* table.rowIds : []
          assert.strictEqual(new Set(newest.map((row) => row.split(",")[1])).size, newest.length, `seed ${seed}`)
        }
      }).pipe(Effect.orDie),
    120_000,
  )

  it.effect("expiry keeps what the newest snapshots read, and takes schemas and specs that nothing uses", () =>
    Effect.gen(function* () {
      const tables = yield* IcebergTable
      const table = yield* makeTestTable({ formatVersion: 2, partitioned: true })
      for (let index = 0; index < 5; index++) yield* table.append([{ k: "a", p: index % 3 }])
      yield* table.partition(null)
      yield* table.partition("bucket[2]")
      yield* table.append([{ k: "a", p: 1 }])
      const settings = { maxAgeMs: -10_000, minSnapshots: 2 }
      const first = yield* expireSnapshots({ head: table.head, id: `${table.name}-x`, settings })
      assert.deepStrictEqual(first, { snapshots: 4, changed: true, skipped: false })
      const kept = (yield* table.current).metadata
      assert.strictEqual(kept.snapshots.length, 2)
      // Spec 1 was never written with; the first one still has files.
      assert.deepStrictEqual(
        kept.partitionSpecs.map(({ specId }) => specId),
        [0, 2],
      )
      assert.deepStrictEqual(yield* table.read, table.expected())
      yield* compact({ head: table.head, id: `${table.name}-c`, settings: defaultCompaction, engine: testEngine() })
      // The compaction's own snapshot still lists manifests of what it removed.
      yield* table.append([{ k: "b", p: 1 }])
      yield* expireSnapshots({ head: table.head, id: `${table.name}-y`, settings: { ...settings, minSnapshots: 1 } })
      const { metadata } = yield* table.current
      assert.deepStrictEqual(
        metadata.partitionSpecs.map(({ specId }) => specId),
        [2],
      )
      assert.strictEqual(metadata.snapshots.length, 1)
      assert.deepStrictEqual(yield* table.read, table.expected())
      assert.deepStrictEqual((yield* tables.files(metadata)).deletes, [])
      const idle = yield* expireSnapshots({ head: table.head, id: `${table.name}-z`, settings })
      assert.isFalse(idle.changed)
    }).pipe(Effect.orDie),
  )
})
