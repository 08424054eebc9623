import { assert, describe, it } from "@effect/vitest"
import type { DataFile, DeleteFile } from "../iceberg/DataFile.ts"
import { type CompactionSettings, defaultCompaction, planCompaction } from "./CompactionPlan.ts"
import { randomOf } from "./TestTable.ts"

const none = new Map<number, never>()
const bare = {
  columnSizes: none,
  valueCounts: none,
  nullValueCounts: none,
  nanValueCounts: none,
  lowerBounds: none,
  upperBounds: none,
  sequenceNumber: 1n,
}
const table = {
  partitionSpecs: [
    { specId: 0, fields: [] },
    { specId: 1, fields: [{ sourceId: 1, fieldId: 1000, name: "p", transform: "identity" }] },
  ],
  defaultSpecId: 1,
  defaultSortOrderId: 0,
}
let files = 0
const data = (sizeBytes: number, p = 0, more: Partial<DataFile> = {}): DataFile => ({
  ...bare,
  content: "data",
  filePath: `f${++files}`,
  specId: 1,
  partition: [BigInt(p)],
  recordCount: 100,
  fileSizeBytes: sizeBytes,
  ...more,
})
const positions = (file: DataFile, rows: number): DeleteFile => ({
  ...bare,
  content: "position-deletes",
  format: "parquet",
  filePath: `d${++files}`,
  specId: file.specId,
  partition: file.partition,
  recordCount: rows,
  fileSizeBytes: 1,
  sequenceNumber: 2n,
  referencedDataFile: file.filePath,
})

const settings: CompactionSettings = {
  ...defaultCompaction,
  targetFileBytes: 1000,
  minInputFiles: 4,
  maxGroupBytes: 5000,
}
const sizes = (groups: ReturnType<typeof planCompaction>) =>
  groups.map((group) => group.files.map(({ fileSizeBytes }) => fileSizeBytes).toSorted((a, b) => a - b))

describe("CompactionPlan", () => {
  it("leaves files of the right size alone, and small ones until there are enough", () => {
    const right = [data(1000), data(800), data(1700)]
    assert.deepStrictEqual(planCompaction(table, right, [], settings), [])
    const few = [...right, data(10), data(20), data(30)]
    assert.deepStrictEqual(planCompaction(table, few, [], settings), [])
    assert.deepStrictEqual(sizes(planCompaction(table, [...few, data(40)], [], settings)), [[10, 20, 30, 40]])
    // Two that make a whole file are worth it at once; a too large one is cut.
    assert.deepStrictEqual(sizes(planCompaction(table, [data(600), data(700)], [], settings)), [[600, 700]])
    assert.deepStrictEqual(sizes(planCompaction(table, [data(1900)], [], settings)), [[1900]])
  })

  it("takes files that deletes weigh on, with the deletes that concern them", () => {
    const [heavy, light, many] = [data(1000), data(1000), data(1000)]
    const deletes = [positions(heavy, 10), positions(light, 9), ...Array.from({ length: 4 }, () => positions(many, 1))]
    const groups = planCompaction(table, [heavy, light, many], deletes, settings)
    assert.deepStrictEqual(
      groups.flatMap((group) => group.files.map(({ filePath }) => filePath)).toSorted(),
      [heavy.filePath, many.filePath].toSorted(),
    )
    assert.strictEqual(groups.flatMap((group) => group.deletes).length, 5)
  })

  it("moves files of old specs, and unsorted ones when asked to", () => {
    const old = data(1000, 0, { specId: 0, partition: [] })
    assert.deepStrictEqual(planCompaction(table, [old], [], settings)[0]?.files, [old])
    const sorted = { ...table, defaultSortOrderId: 1 }
    const [one, two] = [data(1000, 0, { sortOrderId: 1 }), data(1000)]
    assert.deepStrictEqual(planCompaction(sorted, [one, two], [], settings), [])
    assert.deepStrictEqual(planCompaction(sorted, [one, two], [], { ...settings, sort: true })[0]?.files, [two])
  })

  it("never mixes partitions, takes no file twice, and keeps groups within their limit, for any files", () => {
    for (const seed of [Math.floor(Math.random() * 2 ** 31), 1, 2, 3, 4, 5]) {
      const random = randomOf(seed)
      const all = Array.from({ length: 300 }, () => data(1 + random(2500), random(4)))
      const groups = planCompaction(table, all, [], settings)
      const taken = groups.flatMap((group) => group.files)
      assert.strictEqual(new Set(taken).size, taken.length, `seed ${seed}`)
      for (const group of groups) {
        assert.strictEqual(new Set(group.files.map(({ partition }) => String(partition))).size, 1, `seed ${seed}`)
        assert.isTrue(group.sizeBytes <= 5000 || group.files.length === 1, `seed ${seed}`)
      }
    }
  })
})
