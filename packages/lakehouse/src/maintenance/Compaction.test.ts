import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { IcebergTable } from "../iceberg/IcebergTable.ts"
import { TestTables } from "../write/TestTable.ts"
import { compact } from "./Compaction.ts"
import { type CompactionSettings, defaultCompaction } from "./CompactionPlan.ts"
import { makeTestTable, randomOf, type TestTable, testEngine } from "./TestTable.ts"

/** Everything that has deletes is rewritten, whatever its size. */
const eager: CompactionSettings = {
  ...defaultCompaction,
  minInputFiles: 2,
  deleteFileThreshold: 1,
  deleteRatio: 0.000001,
}

const keys = [null, "a", "b", "c", "d"]

/** One random change of the table by another writer. */
const step = Effect.fnUntraced(function* (table: TestTable, random: (below: number) => number) {
  switch (random(5)) {
    case 0:
    case 1:
      return yield* table.append(
        Array.from({ length: 1 + random(40) }, () => ({ k: keys[random(keys.length)]!, p: random(3) })),
      )
    case 2:
    case 3: {
      const rows = table.rows()
      const gone = rows.filter(() => random(4) === 0).map(({ id }) => id)
      return yield* table.deletePositions(new Set(gone))
    }
    default: {
      const k = keys[random(keys.length)]!
      const p = random(3)
      const isPartitioned = yield* table.deleteEquality(k, p)
      table.forget((row) => row.k === k && (!isPartitioned || row.p === p))
    }
  }
})

layer(TestTables, { excludeTestServices: true })("Compaction", (it) => {
  it.effect(
    "rows, and v3's row ids, are the same before and after, whatever deletes and partitions there are",
    () =>
      Effect.gen(function* () {
        const engine = testEngine()
        for (const seed of [Math.floor(Math.random() * 2 ** 31), 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]) {
          const random = randomOf(seed)
          const formatVersion = random(2) === 0 ? 2 : 3
          const table = yield* makeTestTable({ formatVersion, partitioned: random(2) === 0 })
          const about = `seed ${seed}`
          for (let round = 0; round < 3; round++) {
            yield* table.append([{ k: "a", p: 1 }])
            for (let steps = 0; steps < 2 + random(6); steps++) yield* step(table, random)
            const before = yield* table.read
            assert.deepStrictEqual(before, table.expected(), `${about} before`)
            const ids = formatVersion === 3 ? yield* table.rowIds : []
            const settings = random(3) === 0 ? { ...eager, targetFileBytes: 2 ** 16 } : eager
            const report = yield* compact({ head: table.head, id: `${table.name}-r${round}`, settings, engine })
            assert.strictEqual(report.skipped, 0, about)
            assert.deepStrictEqual(yield* table.read, before, `${about} after`)
            if (formatVersion === 3) assert.deepStrictEqual(yield* table.rowIds, ids, `${about} row ids`)
            const { metadata } = yield* table.current
            const live = yield* (yield* IcebergTable).files(metadata)
            assert.deepStrictEqual(live.deletes, [], `${about}: no deletes are left`)
          }
        }
      }).pipe(Effect.orDie),
    120_000,
  )

  it.effect(
    "a writer that is faster loses nothing, whatever it does, and appends and newer equality deletes cost the compaction nothing",
    () =>
      Effect.gen(function* () {
        for (const seed of [Math.floor(Math.random() * 2 ** 31), ...Array.from({ length: 15 }, (_, index) => index)]) {
          const random = randomOf(seed)
          const table = yield* makeTestTable({ formatVersion: random(2) === 0 ? 2 : 3, partitioned: random(2) === 0 })
          const about = `seed ${seed}`
          for (let steps = 0; steps < 5; steps++) yield* step(table, random)
          yield* table.append([{ k: "a", p: 1 }])
          yield* table.append([{ k: "b", p: 1 }])
          let kind = ""
          const other = Effect.suspend(() => {
            if (kind !== "") return Effect.void
            const choice = random(3)
            kind = choice === 0 ? "append" : choice === 1 ? "equality" : "positions"
            if (kind === "append") return table.append([{ k: "c", p: random(3) }])
            if (kind === "positions") return table.deletePositions(new Set(table.rows().map(({ id }) => id)))
            const p = random(3)
            return Effect.map(table.deleteEquality("a", p), (isPartitioned) =>
              table.forget((row) => row.k === "a" && (!isPartitioned || row.p === p)),
            )
          }).pipe(Effect.orDie)
          const report = yield* compact({
            head: table.head,
            id: `${table.name}-r`,
            settings: eager,
            engine: Effect.flatMap(Effect.context<Effect.Services<typeof other>>(), (context) =>
              testEngine(Effect.provide(other, context)),
            ),
          })
          assert.deepStrictEqual(yield* table.read, table.expected(), `${about} ${kind}`)
          if (kind !== "positions") assert.strictEqual(report.skipped, 0, `${about} ${kind}`)
          else assert.isAbove(report.skipped, 0, `${about} ${kind}`)
          // What was skipped is taken the next time.
          yield* compact({ head: table.head, id: `${table.name}-s`, settings: eager, engine: testEngine() })
          assert.deepStrictEqual(yield* table.read, table.expected(), `${about} ${kind} again`)
        }
      }).pipe(Effect.orDie),
    120_000,
  )

  it.effect(
    "files of older partition specs move into the current one, rows and row ids as they were",
    () =>
      Effect.gen(function* () {
        const tables = yield* IcebergTable
        for (const seed of [Math.floor(Math.random() * 2 ** 31), 1, 2, 3, 4, 5]) {
          const random = randomOf(seed)
          const formatVersion = random(2) === 0 ? 2 : 3
          const table = yield* makeTestTable({ formatVersion, partitioned: random(2) === 0 })
          for (const transform of ["bucket[2]", null, "identity", "truncate[2]"].slice(0, 1 + random(4))) {
            yield* table.append(Array.from({ length: 1 + random(30) }, () => ({ k: "a", p: random(3) })))
            yield* table.deletePositions(new Set(table.rows().flatMap(({ id }) => (random(3) === 0 ? [id] : []))))
            yield* table.partition(transform)
          }
          const ids = formatVersion === 3 ? yield* table.rowIds : []
          yield* compact({ head: table.head, id: `${table.name}-r`, settings: defaultCompaction, engine: testEngine() })
          assert.deepStrictEqual(yield* table.read, table.expected(), `seed ${seed}`)
          if (formatVersion === 3) assert.deepStrictEqual(yield* table.rowIds, ids, `seed ${seed}`)
          const { metadata } = yield* table.current
          const { data } = yield* tables.files(metadata)
          assert.deepStrictEqual(
            [...new Set(data.map(({ specId }) => specId))],
            [metadata.defaultSpecId],
            `seed ${seed}`,
          )
          const spec = metadata.partitionSpecs.find(({ specId }) => specId === metadata.defaultSpecId)!
          assert.isTrue(
            data.every(({ partition }) => partition.length === spec.fields.length),
            `seed ${seed}`,
          )
        }
      }).pipe(Effect.orDie),
    120_000,
  )
})
