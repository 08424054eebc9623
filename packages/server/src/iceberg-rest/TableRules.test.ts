import { assert, describe, it } from "@effect/vitest"
import { updatesProblem } from "./TableRules.ts"

const store = { root: "file:///data/store/", keyOf: (location: string) => location }
const table = "file:///data/store/ns/silver/t"

const snapshotIn = (manifestList: string) =>
  updatesProblem(store, table, [{ action: "add-snapshot", snapshot: { manifestList } as never }])

describe("TableRules", () => {
  it("a table's files lie in its folder, however the client spells the location", () => {
    for (const spelled of [`${table}/metadata/a.avro`, "file:/data/store/ns/silver/t/metadata/a.avro"]) {
      assert.isNull(snapshotIn(spelled))
    }
    assert.isNull(updatesProblem(store, table, [{ action: "set-location", location: "file:/data/store/ns/silver/t/" }]))
  })

  it("what lies elsewhere is refused in every spelling", () => {
    for (const spelled of [
      "file:/data/store/ns/silver/t2/metadata/a.avro",
      "file:/data/store/ns/silver/t/../t2/a.avro",
      "file:/etc/passwd",
      "file:////data/store/ns/silver/t/metadata/a.avro",
      "/data/store/ns/silver/t/metadata/a.avro",
    ]) {
      assert.strictEqual(snapshotIn(spelled)?.type, "BadRequestException", spelled)
    }
  })
})
