import { readFileSync } from "node:fs"
import { maintenancePolicyKeys, PipelineConfig, supportedStrategies } from "@rat/domain"
import { describe, expect, it } from "vitest"
import { parseProjectSettings, settingsKeys } from "./ProjectSettings.ts"

const schemaOf = (name: string) =>
  JSON.parse(readFileSync(new URL(`../../schema/${name}.schema.json`, import.meta.url), "utf8"))

describe("rat.yaml", () => {
  it("holds a name, a namespace and landing zones", () => {
    const { settings, issues } = parseProjectSettings("name: shop\nnamespace: sales\nlanding_zones: [orders, items]\n")
    expect(issues).toEqual([])
    expect(settings).toEqual({ name: "shop", namespace: "sales", landingZones: ["orders", "items"] })
  })

  it("needs nothing but a name", () => {
    expect(parseProjectSettings("name: shop").settings).toEqual({
      name: "shop",
      namespace: undefined,
      landingZones: [],
    })
  })

  it("tells every problem at once, each with its place, and what was probably meant", () => {
    const { settings, issues } = parseProjectSettings(
      "name: My Shop\nnamspace: sales\nlanding_zones:\n  - ok\n  - Bad Zone\n",
    )
    expect(settings).toBeUndefined()
    expect(issues.map((issue) => [issue.line, issue.column, issue.code])).toEqual([
      [1, 7, "project.invalid_value"],
      [2, 1, "project.unknown_key"],
      [5, 5, "project.invalid_value"],
    ])
    expect(issues[1]!.message).toContain("Did you mean `namespace`?")
  })

  it("may be empty, broken or a list: each is a sentence, not a crash", () => {
    for (const source of ["", "name: [", "- a\n- b\n", "namespace: sales\n", "{}"]) {
      const { settings, issues } = parseProjectSettings(source)
      expect(settings).toBeUndefined()
      expect(issues.length).toBeGreaterThan(0)
    }
  })

  it("has a JSON Schema for editors with the same keys", () => {
    expect(Object.keys(schemaOf("rat").properties)).toEqual(settingsKeys)
  })
})

describe("the JSON Schema of config.yaml", () => {
  it("has the settings that the platform reads, and the strategies that are built", () => {
    const { properties } = schemaOf("config")
    // Sizes are written without the unit in their name too; descriptions of columns stand under `columns`.
    const keys = Object.keys(properties)
      .filter((key) => key !== "memory_limit" && key !== "target_file_size")
      .map((key) => (key === "columns" ? "column_descriptions" : key))
    expect(Object.keys(properties.maintenance.properties)).toEqual(maintenancePolicyKeys)
    expect(keys.toSorted()).toEqual(Object.keys(PipelineConfig.fields).toSorted())
    expect(properties.merge_strategy.enum).toEqual(supportedStrategies)
  })
})
