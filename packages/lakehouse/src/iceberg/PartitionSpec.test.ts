import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import { applyUpdates } from "./ApplyUpdates.ts"
import { bindSpec, partitionFields, partitionPath } from "./PartitionSpec.ts"
import type { Schema, TableMetadata } from "./TableMetadata.ts"

const schema: Schema = {
  schemaId: 0,
  fields: [
    { id: 1, name: "id", required: true, type: "long" },
    { id: 2, name: "ts", required: false, type: "timestamp" },
    { id: 3, name: "Region", required: false, type: "string" },
    {
      id: 4,
      name: "tags",
      required: false,
      type: { type: "list", elementId: 5, elementRequired: false, element: "string" },
    },
    { id: 6, name: "ts_month", required: false, type: "int" },
  ],
  identifierFieldIds: [],
}
const wanted = (...list: ReadonlyArray<string>) =>
  list.map((text) => {
    const [transform, column] = text.split(" ") as [string, string]
    return { column, transform }
  })
const context = { nowMs: 1, location: "file:///t", uuid: "9c12d441-03fe-4693-9a96-a0705ddf69c1" }
const create: TableMetadata = Result.getOrThrow(
  applyUpdates(
    null,
    [
      { action: "add-schema", schema },
      { action: "set-current-schema", schemaId: -1 },
    ],
    context,
  ),
)
const evolve = (metadata: TableMetadata, ...list: ReadonlyArray<string>) =>
  Result.getOrThrow(
    applyUpdates(metadata, Result.getOrThrow(bindSpec(metadata, schema, wanted(...list))).updates, context),
  )
const current = (metadata: TableMetadata) =>
  metadata.partitionSpecs.find(({ specId }) => specId === metadata.defaultSpecId)!
const shown = (metadata: TableMetadata) => current(metadata).fields.map(({ fieldId, name }) => `${fieldId} ${name}`)
const problem = (...list: ReadonlyArray<string>) =>
  Result.match(bindSpec(null, schema, wanted(...list)), { onSuccess: () => "", onFailure: (text) => text })

describe("PartitionSpec", () => {
  it("what people write becomes a spec whose fields are named as all writers do", () => {
    const table = evolve(create, "day ts", "bucket[16] ID", "identity Region", "truncate[2] region", "void id")
    assert.deepStrictEqual(shown(table), [
      "1000 ts_day",
      "1001 id_bucket_16",
      "1002 Region",
      "1003 Region_trunc_2",
      "1004 id_null",
    ])
    assert.strictEqual(table.lastPartitionId, 1004)
  })

  it("the same wish changes nothing, an older spec is taken up again, and fields keep their ids for ever", () => {
    const first = evolve(create, "day ts", "bucket[4] id")
    assert.strictEqual(evolve(first, "day ts", "bucket[4] id").partitionSpecs.length, first.partitionSpecs.length)
    const second = evolve(first, "bucket[8] id", "day ts")
    assert.deepStrictEqual(shown(second), ["1002 id_bucket_8", "1000 ts_day"])
    const back = evolve(second, "day ts", "bucket[4] id")
    assert.strictEqual(back.defaultSpecId, first.defaultSpecId)
    assert.strictEqual(back.partitionSpecs.length, second.partitionSpecs.length)
    const none = evolve(back)
    assert.deepStrictEqual(current(none).fields, [])
    assert.deepStrictEqual(shown(evolve(none, "bucket[4] id", "identity Region")), ["1001 id_bucket_4", "1003 Region"])
  })

  it("a wish that cannot be says which column and what to do", () => {
    assert.include(problem("day nope"), 'no column "nope"')
    assert.include(problem("weekly ts"), '"weekly" is no transform')
    assert.include(problem("day id"), 'day cannot be applied to "id", which is long')
    assert.include(problem("identity tags"), "a list")
    assert.include(problem("day ts", "day TS"), "given twice")
    assert.include(problem("month ts"), '"ts_month" would have the name of a column')
    assert.strictEqual(problem("identity ts_month"), "")
  })

  it("paths for people show what the values mean", () => {
    const table = evolve(create, "year ts", "hour ts", "day ts", "identity Region", "bucket[4] id")
    const fields = partitionFields(current(table), table.schemas, table.currentSchemaId)
    assert.strictEqual(
      partitionPath(fields, [-1n, 24n * 365n + 5n, 0n, "a/b c.d", null]),
      "ts_year=1969/ts_hour=1971-01-01-05/ts_day=1970-01-01/Region=a%2Fb+c%2Ed/id_bucket_4=null",
    )
  })

  it("a partition by a column that is gone keeps its type from an older schema", () => {
    const table = evolve(create, "truncate[2] Region")
    const without = { ...schema, fields: schema.fields.filter(({ name }) => name !== "Region") }
    const dropped = Result.getOrThrow(
      applyUpdates(
        table,
        [
          { action: "add-schema", schema: without },
          { action: "set-current-schema", schemaId: -1 },
        ],
        context,
      ),
    )
    const [field] = partitionFields(current(dropped), dropped.schemas, dropped.currentSchemaId)
    assert.deepInclude(field, { sourceType: "string", type: "string" })
  })
})
