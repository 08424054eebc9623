import { assert, describe, it } from "@effect/vitest"
import { locationsBelow } from "./ObjectLocation.ts"

describe("ObjectLocation", () => {
  it("knows an object by every spelling that engines have for its location", () => {
    const files = locationsBelow("file:///data/store/")
    assert.strictEqual(files.keyOf("file:///data/store/ns/t/a.parquet"), "ns/t/a.parquet")
    assert.strictEqual(files.keyOf("file:/data/store/ns/t/a.parquet"), "ns/t/a.parquet")
    const bucket = locationsBelow("s3://bucket/")
    for (const scheme of ["s3", "s3a", "s3n"]) assert.strictEqual(bucket.keyOf(`${scheme}://bucket/k//x`), "k//x")
  })

  it("refuses what lies elsewhere, in every spelling", () => {
    const files = locationsBelow("file:///data/store/")
    for (const location of [
      "file:/data/other",
      "file:///data/storeroom/x",
      "file://host/data/store/x",
      "s3a://data/store/x",
    ]) {
      assert.throws(() => files.keyOf(location), /does not lie in/)
    }
  })
})
