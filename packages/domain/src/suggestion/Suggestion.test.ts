import { assert, describe, it } from "@effect/vitest"
import { didYouMean, nearest } from "./Suggestion.ts"

const layers = ["bronze", "silver", "gold"]

describe("nearest", () => {
  it.each([
    ["silvr", "silver", "a letter is missing"],
    ["silverr", "silver", "a letter is too many"],
    ["siluer", "silver", "a letter is another"],
    ["glod", "gold", "two neighbours are swapped"],
    ["GOLD", "gold", "upper case is no difference"],
    ["bruntze", "bronze", "a third of the letters may be wrong"],
    ["gol", "gold", "one letter may always be wrong"],
    ["platinum", null, "nothing is near"],
    ["g", null, "too little is right"],
    ["", null, "there is no word"],
  ])("%j means %j: %s", (word, meant, _why) => {
    assert.strictEqual(nearest(word, layers), meant)
  })

  it("takes the nearest of several, and the first of equals", () => {
    assert.strictEqual(nearest("orders_1", ["orders_12", "orders_1x", "orders_l"]), "orders_12")
    assert.strictEqual(nearest("merge_stategy", ["merge_category", "merge_strategy"]), "merge_strategy")
  })

  it("does not spend time on text that is no name", () => {
    assert.isNull(nearest("x".repeat(100_000), ["x".repeat(100_000)]))
  })
})

describe("didYouMean", () => {
  it("is the end of a sentence, or nothing", () => {
    assert.strictEqual(didYouMean("silvr", layers), ' Did you mean "silver"?')
    assert.strictEqual(didYouMean("platinum", layers), "")
  })
})
