import { assert, describe, it } from "@effect/vitest"
import {
  FileNotFound,
  FileProtected,
  NamespaceExists,
  ProjectInvalid,
  ProjectIssue,
  QueryBusy,
  QueryForbidden,
  QueryInvalid,
  QueryTimedOut,
  QueryUnavailable,
  QueueFull,
  RunFinished,
  RunId,
} from "@rat/domain"
import { SlotDied, SlotsBusy, StoreUnavailable } from "@rat/lakehouse"
import { SqlError } from "effect/sql"
import { envelopeResponse, wireError, wireFailure, wireStatus } from "./ErrorEnvelope.ts"

const sqlError = (reason: SqlError.SqlError["reason"]) => new SqlError.SqlError({ reason })
const lost = sqlError(new SqlError.ConnectionError({ cause: new Error("ECONNREFUSED 10.0.0.7:5432"), message: "lost" }))
const broken = sqlError(new SqlError.SqlSyntaxError({ cause: new Error("column secret"), message: "column secret" }))
const runId = RunId.make("01890a5d-ac96-774b-bcce-b302099a8057")

describe("ErrorEnvelope", () => {
  it.each([
    [new QueryInvalid({ reason: "no" }), 400, "INVALID_ARGUMENT", "VALIDATION"],
    [new FileProtected({ path: "x" }), 403, "FORBIDDEN", "AUTHORIZATION"],
    [new QueryForbidden({ reason: "no" }), 403, "FORBIDDEN", "AUTHORIZATION"],
    [new FileNotFound({ path: "x" }), 404, "NOT_FOUND", "NOT_FOUND"],
    [new NamespaceExists({ namespace: "n" }), 409, "ALREADY_EXISTS", "CONFLICT"],
    [new RunFinished({ runId, status: "success" }), 409, "ALREADY_FINISHED", "CONFLICT"],
    [new ProjectInvalid({ issues: [] }), 422, "INVALID_ARGUMENT", "VALIDATION"],
    [new SlotsBusy({ pool: "query", waiting: 3 }), 429, "RESOURCE_EXHAUSTED", "RATE_LIMIT"],
    [broken, 500, "INTERNAL", "INTERNAL"],
    [new TypeError("x is undefined"), 500, "INTERNAL", "INTERNAL"],
    ["a string that somebody threw", 500, "INTERNAL", "INTERNAL"],
    [lost, 503, "UNAVAILABLE", "UNAVAILABLE"],
    [new StoreUnavailable({ key: "k", reason: "500" }), 503, "UNAVAILABLE", "UNAVAILABLE"],
    [new SlotDied({ slot: "1", how: "SIGKILL" }), 503, "UNAVAILABLE", "UNAVAILABLE"],
    [new QueryUnavailable({ reason: "away" }), 503, "UNAVAILABLE", "UNAVAILABLE"],
    [new QueryTimedOut({ timeoutMs: 1000 }), 504, "DEADLINE_EXCEEDED", "INTERNAL"],
  ])("%s becomes %i %s", (error, status, code, type) => {
    const wire = wireFailure(error, "r-1")
    assert.strictEqual(wireStatus(wire), status)
    assert.deepStrictEqual([wire.error.code, wire.error.type, wire.error.request_id], [code, type, "r-1"])
    assert.isNotEmpty(wire.error.message)
  })

  it("says nothing of the inside in a 500, nor of the address of a database that is away", () => {
    assert.notInclude(JSON.stringify(wireFailure(broken)), "secret")
    assert.notInclude(JSON.stringify(wireFailure(lost)), "10.0.0.7")
  })

  it("carries what a client can act upon", () => {
    const issue = new ProjectIssue({ path: "a.sql", line: 2, code: "sql.syntax", message: "no" })
    assert.deepStrictEqual(wireFailure(new ProjectInvalid({ issues: [issue] })).error.details, {
      issues: [{ path: "a.sql", line: 2, code: "sql.syntax", message: "no" }],
    })
    assert.deepStrictEqual(
      wireFailure(new QueryInvalid({ reason: "no", line: 1, column: 8, position: 7 })).error.details,
      { line: 1, column: 8, position: 7 },
    )
    assert.isUndefined(wireFailure(new QueryInvalid({ reason: "no" })).error.details)
  })

  it("says when to try again", () => {
    const queue = new QueueFull({ scope: "namespace", name: "n", limit: 5, retryAfterSeconds: 9 })
    assert.strictEqual(envelopeResponse(wireFailure(queue)).headers["retry-after"], "9")
    assert.strictEqual(
      envelopeResponse(wireFailure(new QueryBusy({ retryAfterSeconds: 3 }))).headers["retry-after"],
      "3",
    )
    assert.strictEqual(envelopeResponse(wireFailure(lost)).headers["retry-after"], "1")
    assert.isUndefined(envelopeResponse(wireFailure(new FileNotFound({ path: "x" }))).headers["retry-after"])
  })

  it("gives an error that is on the wire already the request's id and leaves the rest as it is", () => {
    const made = wireError(409, "taken", { code: "MINE", details: { a: 1 } })
    assert.deepStrictEqual(wireFailure(made, "r-2").error, {
      code: "MINE",
      type: "CONFLICT",
      message: "taken",
      details: { a: 1 },
      request_id: "r-2",
    })
  })
})
