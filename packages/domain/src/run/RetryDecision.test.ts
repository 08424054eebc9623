import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import fc from "fast-check"
import { failureKind } from "./FailureKind.ts"
import { decideRetry } from "./RetryDecision.ts"
import { defaultRetryPolicy, RetryPolicy, retryDelayMs, retryRanges } from "./RetryPolicy.ts"
import { RunFailure } from "./RunControlRpc.ts"
import { RunParameters } from "./RunParameters.ts"

const within = ({ least, most }: { readonly least: number; readonly most: number }) =>
  fc.double({ min: least, max: most, noNaN: true })

const policy = fc
  .record({
    maxRetries: fc.integer({ min: retryRanges.max_retries.least, max: retryRanges.max_retries.most }),
    delaySeconds: within(retryRanges.retry_delay_seconds),
    multiplier: within(retryRanges.retry_multiplier),
    maxDelaySeconds: within(retryRanges.retry_max_delay_seconds),
    jitter: within(retryRanges.retry_jitter),
  })
  .map((fields) => new RetryPolicy(fields))

const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })
const outages = ["store.unavailable", "catalog.unavailable"]
const transients = ["slot.died", "branch.missing", "internal"]
const finals = [
  "sql.error",
  "quality.failed",
  "config.invalid",
  "zone.missing",
  "publish.conflict",
  "limit.memory",
  "?",
]

describe("A retry", () => {
  it("is never earlier, later or longer than its policy says, whatever the chance and however many there were", () => {
    fc.assert(
      fc.property(policy, fc.integer({ min: 1, max: 500 }), random, (some, failures, chance) => {
        const delay = retryDelayMs(some, failures, chance)
        const base = Math.min(some.maxDelaySeconds, some.delaySeconds * some.multiplier ** (failures - 1) || 0)
        assert.isTrue(Number.isInteger(delay) && delay >= 0)
        assert.isAtMost(delay, Math.round(some.maxDelaySeconds * 1000))
        // Half a millisecond of rounding, and what doubles lose.
        const slack = 1 + base * 1e-6
        assert.isAtLeast(delay, base * 1000 * (1 - some.jitter) - slack)
        assert.isAtMost(delay, base * 1000 * (1 + some.jitter) + slack)
      }),
    )
  })

  it("comes later than the one before it, without jitter, until the longest delay is reached", () => {
    fc.assert(
      fc.property(policy, fc.integer({ min: 1, max: 50 }), (some, failures) => {
        const even = new RetryPolicy({ ...some, jitter: 0 })
        assert.isAtMost(retryDelayMs(even, failures, 0.5), retryDelayMs(even, failures + 1, 0.5))
      }),
    )
  })

  it("follows the numbers of the pages: 30, 60, 120 s by default, and constant pauses for who wants them", () => {
    const delays = (some: RetryPolicy) => [1, 2, 3].map((failures) => retryDelayMs(some, failures, 0.5))
    assert.deepStrictEqual(delays(defaultRetryPolicy), [30_000, 60_000, 120_000])
    assert.deepStrictEqual(delays(new RetryPolicy({ ...defaultRetryPolicy, multiplier: 1 })), [30_000, 30_000, 30_000])
    const capped = new RetryPolicy({ ...defaultRetryPolicy, maxDelaySeconds: 50, jitter: 1 })
    assert.deepStrictEqual(retryDelayMs(capped, 9, 0.999), 50_000)
  })

  it("happens exactly as often as the policy says, or the limit for outages, and never where the runner says that it is final", () => {
    fc.assert(
      fc.property(
        policy,
        fc.array(fc.constantFrom(...transients, ...outages, ...finals), { maxLength: 300 }),
        fc.nat(30),
        random,
        (some, codes, maxOutageRetries, chance) => {
          const tally = { failures: 0, outages: 0 }
          for (const code of codes) {
            const decision = decideRetry({ code, retryable: true, policy: some }, tally, { maxOutageRetries }, chance)
            const kind = failureKind(code)
            // A runner that knows better than the table may have a final code repeated, by the pipeline's policy.
            const isLeft = kind === "outage" ? tally.outages < maxOutageRetries : tally.failures < some.maxRetries
            assert.strictEqual(decision._tag, isLeft ? "Retry" : "Fail")
            if (decision._tag === "Fail") return
            assert.strictEqual(decision.as, kind === "outage" ? "outage" : "failure")
            if (decision.as === "outage") {
              tally.outages++
              assert.isAtMost(decision.delayMs, 30_000)
            } else tally.failures++
            assert.isAtMost(tally.failures, some.maxRetries)
            assert.isAtMost(tally.outages, maxOutageRetries)
          }
        },
      ),
    )
    fc.assert(
      fc.property(policy, fc.constantFrom(...transients, ...outages, ...finals), random, (some, code, chance) => {
        const attempt = { code, retryable: false, policy: some }
        const decision = decideRetry(attempt, { failures: 0, outages: 0 }, { maxOutageRetries: 9 }, chance)
        assert.strictEqual(decision._tag, "Fail")
      }),
    )
  })

  it("is not wanted by a failure that an older node tells of", () => {
    const old = { error: "e", code: "slot.died", phase: "execute", phases: [], quality: [] }
    const failure = Schema.decodeUnknownSync(RunFailure)(old)
    assert.isFalse(failure.retryable)
    assert.deepStrictEqual({ ...failure.retry }, { ...defaultRetryPolicy })
  })
})

describe("Parameters of a run", () => {
  const decode = Schema.decodeUnknownSync(RunParameters)

  it("are JSON under names that a template can write", () => {
    const good = { day: "2026-01-01", _n: 1, list: [1, "a", null], deep: { a: { b: true } }, A9: null }
    assert.deepStrictEqual(decode(good), good)
    for (const bad of ["", "a b", "9a", "a-b", "ä", "a".repeat(101)]) {
      assert.throws(() => decode({ [bad]: 1 }), /no name of a parameter/)
    }
  })

  it("are bounded in number and size", () => {
    const many = Object.fromEntries(Array.from({ length: 101 }, (_, index) => [`p${index}`, index]))
    assert.throws(() => decode(many), /at most 100 parameters, not 101/)
    assert.throws(() => decode({ a: "ä".repeat(10_000) }), /at most 16384 bytes/)
    for (const bad of [[], "x", 1, null]) assert.throws(() => decode(bad))
  })
})
