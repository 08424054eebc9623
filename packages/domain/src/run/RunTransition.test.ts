import { assert, describe, it } from "@effect/vitest"
import fc from "fast-check"
import { fromWireStatus, RunStatus, toWireStatus, WireRunStatus } from "./Run.ts"
import { canMove, isTerminal, sourcesOf } from "./RunTransition.ts"

const statuses = RunStatus.literals
const anyStatus = fc.constantFrom(...statuses)

describe("RunTransition", () => {
  it("a walk along allowed moves never leaves a terminal status", () => {
    fc.assert(
      fc.property(fc.array(anyStatus, { maxLength: 50 }), (wishes) => {
        let status: (typeof statuses)[number] = "queued"
        let ended: (typeof statuses)[number] | undefined
        for (const wish of wishes) {
          if (canMove(status, wish)) status = wish
          if (ended !== undefined) assert.strictEqual(status, ended)
          if (["succeeded", "failed", "cancelled"].includes(status)) ended = status
        }
      }),
    )
  })

  it("only a running run can succeed or fail, and a pending one can be cancelled", () => {
    assert.deepStrictEqual([...sourcesOf("succeeded")], ["running"])
    assert.deepStrictEqual([...sourcesOf("failed")], ["running"])
    assert.deepStrictEqual([...sourcesOf("cancelled")].sort(), ["queued", "running"])
  })

  it("a run goes back to the queue only from running, when its lease expired", () => {
    assert.deepStrictEqual([...sourcesOf("queued")], ["running"])
  })

  it("exactly the statuses without a way out are terminal", () => {
    assert.deepStrictEqual(statuses.filter(isTerminal), ["succeeded", "failed", "cancelled"])
  })

  it("the words of the HTTP API and of the database name the same statuses", () => {
    assert.deepStrictEqual(statuses.map(toWireStatus), ["pending", "running", "success", "failed", "cancelled"])
    for (const word of WireRunStatus.literals) assert.strictEqual(toWireStatus(fromWireStatus(word)), word)
  })
})
