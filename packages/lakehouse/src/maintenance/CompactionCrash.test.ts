import { join } from "node:path"
import { assert, layer } from "@effect/vitest"
import { Effect, Exit, Layer } from "effect"
import { IcebergTable } from "../iceberg/IcebergTable.ts"
import { ScanPlanner } from "../scan/ScanPlanner.ts"
import { FileStore } from "../store/FileStore.ts"
import { ObjectStore } from "../store/ObjectStore.ts"
import { TestDuckDb } from "../write/TestTable.ts"
import { compact } from "./Compaction.ts"
import { defaultCompaction } from "./CompactionPlan.ts"
import { expireSnapshots } from "./Expiry.ts"
import { rewriteManifests } from "./ManifestRewrite.ts"
import { makeTestTable, testEngine } from "./TestTable.ts"

/** Writes until the "process" dies: counts down with each write of the store, and before and after the catalog's step. */
let stepsLeft = Number.POSITIVE_INFINITY
const step = Effect.suspend(() => (stepsLeft-- <= 0 ? Effect.die("killed") : Effect.void))

const FaultyStore = Layer.effect(
  ObjectStore,
  Effect.map(ObjectStore, (store) =>
    ObjectStore.of({
      ...store,
      put: (...args) => Effect.andThen(step, store.put(...args)),
      putFile: (...args) => Effect.andThen(step, store.putFile(...args)),
    }),
  ),
).pipe(
  Layer.provide(Layer.unwrap(Effect.map(TestDuckDb, ({ folder }) => FileStore.layer({ root: join(folder, "store") })))),
)

const Test = ScanPlanner.layer.pipe(
  Layer.provideMerge(IcebergTable.layer),
  Layer.provideMerge(FaultyStore),
  Layer.provideMerge(TestDuckDb.layer),
)

layer(Test, { excludeTestServices: true })("Compaction that is killed", (it) => {
  it.effect(
    "between any two writes leaves the table as it was or as it should be, and the next one ends the work",
    () =>
      Effect.gen(function* () {
        let wasKilled = true
        for (let steps = 0; wasKilled; steps++) {
          const table = yield* makeTestTable({ formatVersion: steps % 2 === 0 ? 2 : 3, partitioned: true })
          for (let index = 0; index < 6; index++) yield* table.append([0, 1].map((p) => ({ k: "a", p })))
          yield* table.deletePositions(new Set([2, 5]))
          const head = {
            ...table.head,
            move: (...args: Parameters<typeof table.head.move>) =>
              Effect.andThen(
                step,
                Effect.tap(table.head.move(...args), () => step),
              ),
          }
          const work = (id: string) =>
            Effect.gen(function* () {
              yield* compact({ head, id, settings: defaultCompaction, engine: testEngine() })
              yield* rewriteManifests({ head, id, minManifests: 2 })
              yield* expireSnapshots({ head, id, settings: { maxAgeMs: -10_000, minSnapshots: 1 } })
            })
          stepsLeft = steps
          const exit = yield* Effect.exit(work(`${table.name}-m`))
          stepsLeft = Number.POSITIVE_INFINITY
          wasKilled = Exit.isFailure(exit)
          assert.deepStrictEqual(yield* table.read, table.expected(), `killed after ${steps} writes`)
          // The same run again, as after a restart.
          yield* work(`${table.name}-m`)
          assert.deepStrictEqual(yield* table.read, table.expected(), `ended after ${steps} writes`)
          const { metadata } = yield* table.current
          const live = yield* (yield* IcebergTable).files(metadata)
          assert.deepStrictEqual([live.data.length, live.deletes.length], [2, 0], `after ${steps} writes`)
          assert.strictEqual(metadata.snapshots.length, 1)
          if (!wasKilled) assert.isAbove(steps, 10)
        }
      }).pipe(Effect.orDie),
    120_000,
  )
})
