import { assert, describe, it } from "@effect/vitest"
import { DateTime } from "effect"
import { baseName, storedName } from "./StoredName.ts"

const at = DateTime.makeUnsafe("2026-03-04T05:06:07.890Z")

describe("StoredName", () => {
  it("puts the UTC time before the name that the client sent", () => {
    assert.strictEqual(storedName("orders.csv", at, 1), "20260304_050607_orders.csv")
  })

  it("numbers later files of the same name before the extension", () => {
    assert.strictEqual(storedName("orders.csv", at, 3), "20260304_050607_orders_3.csv")
    assert.strictEqual(storedName("README", at, 2), "20260304_050607_README_2")
  })

  it.each([
    ["../../etc/passwd", "passwd"],
    ["C:\\Users\\me\\data.csv", "data.csv"],
    ["a\0b\n.csv", "a_b_.csv"],
    [".hidden", "hidden"],
    ["..", "file"],
    ["", "file"],
    ["///", "file"],
    ["*.csv", "csv"],
    ["a[1]?{x}.csv", "a_1_x_.csv"],
    ["it's $(rm -rf).csv", "it_s_rm_-rf_.csv"],
    ["Größe_日本.csv", "Größe_日本.csv"],
  ])("makes %j harmless", (sent, expected) => {
    assert.strictEqual(baseName(sent), expected)
  })

  it("keeps long names below the limit of file systems, extension included", () => {
    const name = storedName(`${"日".repeat(500)}.parquet`, at, 12)
    assert.isAtMost(Buffer.byteLength(name), 200)
    assert.isTrue(name.endsWith("_12.parquet"))
  })
})
