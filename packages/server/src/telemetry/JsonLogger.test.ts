import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Logger, Redacted, Tracer } from "effect"
import { formatJson } from "./JsonLogger.ts"
import { logRecord } from "./LogRecord.ts"
import { formatPretty } from "./PrettyLogger.ts"
import { isSecretName, redactText } from "./Redaction.ts"

/** The lines that `work` logs, in both formats. */
const logged = (work: Effect.Effect<unknown, unknown>) =>
  Effect.gen(function* () {
    const lines: Array<{ readonly json: Record<string, unknown>; readonly raw: string; readonly pretty: string }> = []
    const logger = Logger.make((options) => {
      const raw = formatJson(logRecord(options))
      lines.push({ raw, json: JSON.parse(raw), pretty: formatPretty(logRecord(options), false) })
    })
    yield* Effect.exit(work).pipe(Effect.provide(Logger.layer([logger])))
    return lines
  })

class Broken extends Error {
  override readonly name = "Broken"
}

describe("JsonLogger", () => {
  it.effect("writes one line with the platform's field names and the ids of the span", () =>
    Effect.gen(function* () {
      const parent = Tracer.externalSpan({ traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331" })
      const [line] = yield* logged(
        Effect.logInfo("Run finished").pipe(
          Effect.annotateLogs({
            run_id: "r1",
            attempt: 2,
            pipeline: "gold.flights",
            namespace: "default",
            phase: "publish",
          }),
          Effect.withParentSpan(parent),
        ),
      )
      const { timestamp, ...rest } = line!.json
      assert.match(String(timestamp), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
      assert.deepStrictEqual(rest, {
        level: "info",
        message: "Run finished",
        trace_id: "0af7651916cd43dd8448eb211c80319c",
        span_id: "b7ad6b7169203331",
        run_id: "r1",
        attempt: 2,
        pipeline: "gold.flights",
        namespace: "default",
        phase: "publish",
      })
      assert.notInclude(line!.raw, "\n")
    }),
  )

  it.effect("turns objects beside the message into fields and keeps what a field would overwrite", () =>
    Effect.gen(function* () {
      const [line] = yield* logged(
        Effect.logWarning("Slow", {
          duration_ms: 12,
          at: new Date(0),
          big: 2n ** 70n,
          message: "mine",
          none: Number.NaN,
        }),
      )
      const { timestamp, ...rest } = line!.json
      assert.isString(timestamp)
      assert.deepStrictEqual(rest, {
        level: "warn",
        message: "Slow",
        duration_ms: 12,
        at: "1970-01-01T00:00:00.000Z",
        big: String(2n ** 70n),
        message_: "mine",
        none: "NaN",
      })
    }),
  )

  it.effect("tells an expected failure with its causes, and a defect with its stack as well", () =>
    Effect.gen(function* () {
      const failure = new Broken("Commit failed", { cause: new Error("connection lost") })
      const [expected, defect] = yield* logged(
        Effect.andThen(Effect.logError("Gave up", Cause.fail(failure)), Effect.logError("Bug", Cause.die(failure))),
      )
      assert.strictEqual(expected!.json.error, "Commit failed: connection lost")
      assert.isUndefined(expected!.json.stack)
      assert.include(String(defect!.json.stack), "JsonLogger.test")
    }),
  )

  it.effect("writes no secret, whatever way it comes in", () =>
    Effect.gen(function* () {
      const circular: Record<string, unknown> = { password: "hunter2" }
      circular.self = circular
      const lines = yield* logged(
        Effect.logError(
          "Could not connect to postgres://rat:hunter2@db:5432/rat with password=hunter2",
          { nested: { list: [{ apiKey: "hunter2" }] }, circular, value: Redacted.make("hunter2") },
          Cause.fail(new Error("Authorization: Bearer hunter2hunter2 refused")),
        ).pipe(
          Effect.annotateLogs({
            S3_SECRET_KEY: "hunter2",
            "x-api-key": "hunter2",
            session_token: "hunter2",
            fencing_token: "7",
          }),
        ),
      )
      assert.strictEqual(lines.length, 1)
      assert.notInclude(lines[0]!.raw + lines[0]!.pretty, "hunter2")
      assert.strictEqual(lines[0]!.json.fencing_token, "7")
      assert.include(String(lines[0]!.json.message), "postgres://rat:[redacted]@db:5432/rat")
    }),
  )

  it("knows the names of secrets from those of other things", () => {
    const secrets = [
      "password",
      "dbPassword",
      "client_secret",
      "S3_ACCESS_KEY",
      "apiKey",
      "token",
      "refresh-token",
      "Cookie",
    ]
    const others = [
      "key",
      "merge_key",
      "idempotency_key",
      "store.key",
      "fencing_token",
      "tokens_used",
      "author",
      "secretary",
    ]
    assert.deepStrictEqual(
      secrets.filter((name) => !isSecretName(name)),
      [],
    )
    assert.deepStrictEqual(others.filter(isSecretName), [])
  })

  it("finds a secret behind other names and signs", () => {
    assert.strictEqual(
      redactText("GET http://host:1/x?token=hunter2&a=b failed: config:password=hunter2; secret: 'hunter 2', k=v"),
      "GET http://host:1/x?token=[redacted]&a=b failed: config:password=[redacted]; secret: [redacted], k=v",
    )
  })

  it("leaves text without secrets as it is", () => {
    for (const text of [
      "select a from t where k = 'v'",
      "s3://bucket/a/b",
      "http://localhost:8080/x?a=b",
      "12:30:01 ok",
    ]) {
      assert.strictEqual(redactText(text), text)
    }
  })

  it.effect("shows people one line: time, level, message, fields", () =>
    Effect.gen(function* () {
      const [line] = yield* logged(
        Effect.logInfo("Listening").pipe(Effect.annotateLogs({ url: "http://localhost:1", note: "two words" })),
      )
      assert.match(line!.pretty, /^\d\d:\d\d:\d\d INFO {2}Listening url=http:\/\/localhost:1 note="two words"$/)
    }),
  )
})
