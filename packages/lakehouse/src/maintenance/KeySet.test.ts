import { assert, describe, it } from "@effect/vitest"
import { KeySet } from "./KeySet.ts"
import { placeOf, storeKey } from "./StoreKey.ts"
import { randomOf } from "./TestTable.ts"

describe("KeySet", () => {
  it("holds exactly what was added, through all its growing", () => {
    const seed = Math.floor(Math.random() * 2 ** 31)
    const random = randomOf(seed)
    const [set, model] = [new KeySet(), new Set<string>()]
    for (let index = 0; index < 30_000; index++) {
      const key = `ns/silver/t/data/${random(20_000)}.parquet`
      assert.strictEqual(set.add(key), !model.has(key), `seed ${seed}`)
      model.add(key)
    }
    assert.strictEqual(set.size, model.size, `seed ${seed}`)
    for (let index = 0; index < 20_000; index++) {
      const key = `ns/silver/t/data/${index}.parquet`
      assert.strictEqual(set.has(key), model.has(key), `seed ${seed}`)
    }
  })
})

describe("StoreKey", () => {
  it("finds the key of a location however it is spelled", () => {
    const s3 = { root: "s3://rat/" }
    for (const scheme of ["s3", "s3a", "s3n"]) assert.strictEqual(storeKey(s3, `${scheme}://rat/a/b`), "a/b")
    assert.isNull(storeKey(s3, "s3://other/a/b"))
    const file = { root: "file:///data/store/" }
    assert.strictEqual(storeKey(file, "file:/data/store/a/b"), "a/b")
    assert.strictEqual(storeKey(file, "file:///data/store/a/b"), "a/b")
    assert.isNull(storeKey(file, "file:///data/other/a"))
  })

  it("knows what belongs to tables and landing zones, and leaves everything else alone", () => {
    assert.deepInclude(placeOf("ns/silver/t/data/x.parquet"), { kind: "table", place: "ns/silver/t" })
    assert.deepInclude(placeOf("ns/gold/t/metadata/p=1/x.avro"), { kind: "table", place: "ns/gold/t" })
    assert.deepStrictEqual(placeOf("ns/landing/z/a.csv"), { kind: "landing", place: "ns/landing/z" })
    for (const key of ["blobs/ab/abcd", "ns/silver/t/x", "ns/platinum/t/data/x", "a", "ns/landing/z/deep/a.csv"]) {
      assert.deepStrictEqual(placeOf(key), { kind: "other" }, key)
    }
  })
})
