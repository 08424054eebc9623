import { assert, describe, it } from "@effect/vitest"
import { SlotDied, SlotOpFailed, StoreUnavailable } from "@rat/lakehouse"
import { Cause } from "effect"
import { SqlError } from "effect/sql"
import { failureOf } from "./Failure.ts"
import { RunFailed } from "./RunFailed.ts"

const cases: ReadonlyArray<readonly [sentence: string, cause: Cause.Cause<unknown>, code: string, text: RegExp]> = [
  [
    "of the run itself is told as it is",
    Cause.fail(new RunFailed({ code: "zone.empty", reason: "No files." })),
    "zone.empty",
    /^No files\.$/,
  ],
  [
    "of a statement keeps the engine's code and words",
    Cause.fail(new SlotOpFailed({ op: "copy", code: "sql.error", reason: "Binder Error: x" })),
    "sql.error",
    /^Binder Error: x$/,
  ],
  [
    "of the slot's own code is not told as the person's",
    Cause.fail(
      new SlotOpFailed({ op: "copy", code: "slot.defect", reason: "x is not a function\n    at f (/a/b.ts:1:1)" }),
    ),
    "internal",
    /^Something unexpected went wrong, and nothing was published: x is not a function\./,
  ],
  [
    "of the slot's process says what to do",
    Cause.fail(new SlotDied({ slot: "run/1", how: "SIGSEGV" })),
    "slot.died",
    /SIGSEGV.*Run it again/,
  ],
  [
    "of the store says what to do",
    Cause.fail(new StoreUnavailable({ key: "a/b", reason: "it did not answer within 60 s.", isOutage: true })),
    "store.unavailable",
    /60 s.*rat doctor/,
  ],
  [
    "of a store that answers is no outage to wait for",
    Cause.fail(new StoreUnavailable({ key: "a/b", reason: "the disk is full." })),
    "store.refused",
    /disk is full/,
  ],
  [
    "of the database does not show its statements",
    Cause.fail(new SqlError.SqlError({ reason: new SqlError.ConnectionError({ cause: new Error("select secret") }) })),
    "catalog.unavailable",
    /^The database that holds the catalog did not answer\./,
  ],
  [
    "that nobody expected has no stack trace",
    Cause.die(new Error("boom\n    at f (/x.ts:1:1)")),
    "internal",
    /published: boom\. The log/,
  ],
]

describe("A failure", () => {
  for (const [sentence, cause, code, text] of cases) {
    it(sentence, () => {
      const failure = failureOf(cause)
      assert.strictEqual(failure.code, code)
      assert.match(failure.error, text)
      assert.notMatch(failure.error, /\.ts:\d|select secret/)
    })
  }
})
