import { assert, describe, it } from "@effect/vitest"
import { nameSites, quoteNames, tablesOf } from "./TableNames.ts"

const tables = new Set([
  "null.silver.orders",
  "null.silver.my-table",
  "default.silver.orders",
  "sales-eu.gold.top-10-routes",
  "system.bronze.x",
])
const isTable = ({ namespace, layer, name }: { namespace: string | null; layer: string; name: string }) =>
  tables.has(`${namespace}.${layer}.${name}`)

const rewritten = (sql: string) => quoteNames(sql, nameSites(sql), isTable).sql
const found = (sql: string) =>
  nameSites(sql).flatMap((site) =>
    tablesOf(site).map(({ namespace, layer, name }) => `${namespace ?? "-"}.${layer}.${name}`),
  )

describe("TableNames", () => {
  it.each<readonly [sql: string, names: ReadonlyArray<string>]>([
    ["select * from silver.orders", ["-.silver.orders"]],
    ["from default.silver.orders", ["default.silver.orders"]],
    ['from "default" . "silver" . "orders"', ["default.silver.orders"]],
    ["from DEFAULT.Silver.ORDERS", ["default.silver.orders"]],
    ["from silver /* c */ . -- d\n orders", ["-.silver.orders"]],
    ["from a.silver.x join bronze.y using (z)", ["a.silver.x", "-.bronze.y"]],
    ["from silver.my-table", ["-.silver.my-table", "-.silver.my"]],
    ["from silver.my - table", ["-.silver.my"]],
    ['from "silver"."my-table"', ["-.silver.my-table"]],
    ["from sales-eu.gold.t", ["sales-eu.gold.t", "eu.gold.t"]],
    ["from gold.top-10-routes", ["-.gold.top-10-routes", "-.gold.top-10", "-.gold.top"]],
    ["select 'from silver.orders' -- silver.x\n, $$ gold.y $$ /* bronze.z */", []],
    ['select "silver.orders" from (values (1)) t("silver.orders")', []],
    ["select silver from gold", []],
    ["select f(x).silver.orders", ["-.silver.orders"]],
  ])("%s names %j", (sql, names) => {
    assert.deepStrictEqual(found(sql), names)
  })

  it.each<readonly [sql: string, expected: string]>([
    ["from default.silver.orders", 'from "default".silver.orders'],
    ["from default.bronze.nope", 'from "default".bronze.nope'],
    [
      "select 'default.silver.orders' from default.silver.orders -- default.silver.orders",
      `select 'default.silver.orders' from "default".silver.orders -- default.silver.orders`,
    ],
    ["from silver.my-table", 'from silver."my-table"'],
    ["from silver.no-such join gold.neither-this", 'from silver."no-such" join gold."neither-this"'],
    ["select silver.my-other from t as silver", "select silver.my-other from t as silver"],
    ["from sales-eu.gold.top-10-routes t", 'from "sales-eu".gold."top-10-routes" t'],
    ['from system.bronze.x, "system".bronze.x', 'from "system:".bronze.x, "system:".bronze.x'],
    ["select t.gold.name from t", 'select "t".gold.name from t'],
    ["select case when true then 1 end", "select case when true then 1 end"],
  ])("%s becomes %s", (sql, expected) => {
    assert.strictEqual(rewritten(sql), expected)
  })

  it("every offset of the rewritten text leads back to the same character, or to the name that was replaced", () => {
    const sql = "select nope, x from default.silver.orders join sales-eu.gold.top-10-routes on missing"
    const { sql: changed, originalOf } = quoteNames(sql, nameSites(sql), isTable)
    for (const word of ["nope", "silver", "orders", "join", "gold", "missing"]) {
      assert.strictEqual(originalOf(changed.indexOf(word)), sql.indexOf(word), word)
    }
    assert.strictEqual(originalOf(changed.indexOf('"default"')), sql.indexOf("default"))
    assert.strictEqual(originalOf(changed.indexOf('"top-10')), sql.indexOf("top-10"))
    assert.strictEqual(originalOf(changed.length), sql.length)
  })
})
