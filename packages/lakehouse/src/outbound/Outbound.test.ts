import { assert, describe, it } from "@effect/vitest"
import { Data, Duration, Effect, Exit, Fiber, Metric } from "effect"
import { TestClock } from "effect/testing"
import { circuitOf, DependencyUnavailable, Outbound, outbound } from "./Outbound.ts"
import { defaultPolicies, dependencyNames, type OutboundPolicy, parsePolicies } from "./OutboundPolicy.ts"
import { verdicts } from "./Verdict.ts"

class Down extends Data.TaggedError("Down")<{ readonly reason: string }> {}
class No extends Data.TaggedError("No") {}
class Busy extends Data.TaggedError("Busy") {}

const verdictOf = (error: unknown) =>
  error instanceof Down ? verdicts.outage : error instanceof Busy ? verdicts.busy : verdicts.answer

const { millis, seconds } = Duration

const withPolicies = (text: string) =>
  Effect.map(parsePolicies(text), (policies) => Effect.provideService(Outbound, { policies, dependencies: new Set() }))

/** Runs the effect while the test's clock moves in steps of 10 ms; answers with its exit and how long it took. */
const timed = <A, E>(effect: Effect.Effect<A, E>) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkChild(Effect.exit(effect), { startImmediately: true })
    let ms = 0
    while (fiber.pollUnsafe() === undefined) {
      yield* TestClock.adjust(10)
      ms += 10
      if (ms > 600_000) throw new Error("it never ends")
    }
    return { exit: yield* Fiber.join(fiber), ms }
  })

const counted = <A, E>(attempt: (nth: number) => Effect.Effect<A, E>) => {
  let tries = 0
  return { attempt: Effect.suspend(() => attempt(++tries)), tries: () => tries }
}

describe("A call that leaves the process", () => {
  for (const name of dependencyNames) {
    const policy: OutboundPolicy = defaultPolicies[name]
    const deadlineMs = Duration.toMillis(policy.deadline)

    it.effect(`to ${name} ends at its deadline when nobody answers, and says so`, () =>
      Effect.gen(function* () {
        const { call } = yield* outbound({ dependency: name, endpoint: "there:1", verdict: verdictOf })
        const { exit, ms } = yield* timed(Effect.flip(call("ask", Effect.never, { retries: 0 })))
        assert.approximately(ms, deadlineMs, 20)
        assert.isTrue(Exit.isSuccess(exit))
        const error = Exit.getSuccess(exit)
        assert.isTrue(error._tag === "Some" && error.value instanceof DependencyUnavailable)
        assert.include(String(error._tag === "Some" && error.value.message), `there:1 cannot be used: no answer within`)
      }),
    )

    it.effect(`to ${name} is tried ${policy.retries} times more when that may help, with growing waits`, () =>
      Effect.gen(function* () {
        const { call } = yield* outbound({ dependency: name, endpoint: "there:1", verdict: verdictOf })
        const down = counted(() => Effect.fail(new Down({ reason: "reset." })))
        // A deadline beyond all waits, so that only the number of tries counts.
        const { ms } = yield* timed(call("ask", down.attempt, { deadline: seconds(600) }))
        assert.strictEqual(down.tries(), 1 + policy.retries)
        let expected = 0
        for (let nth = 0; nth < policy.retries; nth++) {
          expected += Math.min(Duration.toMillis(policy.firstDelay) * 2 ** nth, Duration.toMillis(policy.maxDelay))
        }
        // Jitter is between 80 % and 120 %.
        assert.isAtLeast(ms, 0.8 * expected)
        assert.isAtMost(ms, 1.2 * expected + 10 * (1 + policy.retries))
      }),
    )

    it.effect(
      `to ${name} is refused after ${policy.failuresToOpen} failures in a row, until its circuit lets one try`,
      () =>
        Effect.gen(function* () {
          const dependency = yield* outbound({ dependency: name, endpoint: "there:1", verdict: verdictOf })
          const down = counted(() => Effect.fail(new Down({ reason: "nothing listens there." })))
          const fail = dependency.call("ask", down.attempt, { retries: 0 })
          for (let nth = 0; nth < policy.failuresToOpen; nth++) {
            assert.strictEqual(dependency.circuit.state, "closed")
            yield* Effect.exit(fail)
          }
          let openMs = Duration.toMillis(policy.openFor)
          const maxMs = Duration.toMillis(policy.maxOpenFor)
          for (let probe = 1; probe <= 8; probe++) {
            assert.strictEqual(dependency.circuit.state, "open")
            const refused = yield* Effect.flip(fail)
            assert.isTrue(refused instanceof DependencyUnavailable && refused.reason === "refused")
            assert.include(refused.message, "the last one being: nothing listens there.")
            yield* TestClock.adjust(openMs - 1)
            yield* Effect.exit(fail)
            assert.strictEqual(down.tries(), policy.failuresToOpen + probe - 1, "it asked before its time")
            yield* TestClock.adjust(1)
            yield* Effect.exit(fail)
            assert.strictEqual(down.tries(), policy.failuresToOpen + probe, "it did not ask when it was time")
            openMs = Math.min(openMs * 2, maxMs)
          }
          yield* TestClock.adjust(openMs)
          yield* dependency.call("ask", Effect.void)
          assert.strictEqual(dependency.circuit.state, "closed")
          yield* Effect.exit(fail)
          assert.strictEqual(dependency.circuit.state, "closed", "one failure after a success opens nothing")
        }),
    )
  }

  it.effect("is not repeated after an answer, however often the answer is no, and no circuit opens", () =>
    Effect.gen(function* () {
      const dependency = yield* outbound({ dependency: "rpc", endpoint: "there:1", verdict: verdictOf })
      for (let nth = 0; nth < 20; nth++) {
        const no = counted(() => Effect.fail(new No()))
        assert.strictEqual((yield* Effect.flip(dependency.call("ask", no.attempt)))._tag, "No")
        assert.strictEqual(no.tries(), 1)
      }
      assert.strictEqual(dependency.circuit.state, "closed")
    }),
  )

  it.effect("waits for one that is busy without holding it for dead", () =>
    Effect.gen(function* () {
      const dependency = yield* outbound({ dependency: "rpc", endpoint: "there:1", verdict: verdictOf })
      const busy = counted((nth) => (nth < 3 ? Effect.fail(new Busy()) : Effect.succeed("yes")))
      const { exit } = yield* timed(dependency.call("ask", busy.attempt))
      assert.deepStrictEqual(exit, Exit.succeed("yes"))
      for (let nth = 0; nth < 10; nth++) yield* timed(dependency.call("ask", Effect.fail(new Busy())))
      assert.strictEqual(dependency.circuit.state, "closed")
    }),
  )

  it.effect("starts no further try once trying has lasted a deadline", () =>
    Effect.gen(function* () {
      const { call } = yield* outbound({ dependency: "object_store", endpoint: "there:1", verdict: verdictOf })
      const hang = counted(() => Effect.never)
      const { ms } = yield* timed(call("ask", hang.attempt))
      const deadlineMs = Duration.toMillis(defaultPolicies.object_store.deadline)
      assert.isAtMost(hang.tries(), 2)
      assert.isAtMost(ms, 2 * deadlineMs + 1000)
    }),
  )

  it.effect("that is interrupted says nothing about the other side, also as the one that finds out", () =>
    Effect.gen(function* () {
      const dependency = yield* outbound({
        dependency: "rpc",
        endpoint: "there:1",
        verdict: verdictOf,
        limits: { failuresToOpen: 1, openFor: millis(100) },
      })
      const interrupted = Effect.gen(function* () {
        const fiber = yield* Effect.forkChild(dependency.call("ask", Effect.never), { startImmediately: true })
        yield* Fiber.interrupt(fiber)
      })
      yield* interrupted
      assert.strictEqual(dependency.circuit.state, "closed")
      yield* Effect.exit(dependency.call("ask", Effect.fail(new Down({ reason: "reset" })), { retries: 0 }))
      yield* TestClock.adjust(100)
      yield* interrupted
      assert.strictEqual(dependency.circuit.state, "half_open")
      yield* dependency.call("ask", Effect.void)
      assert.strictEqual(dependency.circuit.state, "closed")
    }),
  )

  it.effect("lets only one find out; what began before the circuit opened does not close it", () =>
    Effect.gen(function* () {
      const dependency = yield* outbound({
        dependency: "rpc",
        endpoint: "there:1",
        verdict: verdictOf,
        limits: { failuresToOpen: 1, openFor: millis(100) },
      })
      const slow = yield* Effect.forkChild(dependency.call("ask", Effect.sleep("150 millis")), {
        startImmediately: true,
      })
      yield* Effect.exit(dependency.call("ask", Effect.fail(new Down({ reason: "reset" })), { retries: 0 }))
      yield* TestClock.adjust(100)
      const probe = yield* Effect.forkChild(dependency.call("ask", Effect.sleep("1 second")), {
        startImmediately: true,
      })
      const others = yield* Effect.forEach([1, 2, 3], () => Effect.exit(dependency.call("ask", Effect.void)))
      assert.isTrue(others.every(Exit.isFailure))
      yield* TestClock.adjust(50)
      yield* Fiber.join(slow)
      assert.strictEqual(dependency.circuit.state, "half_open")
      yield* TestClock.adjust(950)
      yield* Fiber.join(probe)
      assert.strictEqual(dependency.circuit.state, "closed")
    }),
  )

  it.effect(
    "is refused while the dependency's own probe finds out, which it does again and again, and no caller has to",
    () =>
      Effect.gen(function* () {
        let isBack = false
        const probed = counted(() => (isBack ? Effect.void : Effect.fail(new Down({ reason: "still away." }))))
        const dependency = yield* outbound({
          dependency: "postgres",
          endpoint: "there:1",
          verdict: verdictOf,
          probe: probed.attempt,
        })
        const { failuresToOpen, maxOpenFor } = defaultPolicies.postgres
        const down = Effect.exit(dependency.call("ask", Effect.fail(new Down({ reason: "reset." })), { retries: 0 }))
        for (let nth = 0; nth < failuresToOpen; nth++) yield* down
        const asked = counted(() => Effect.void)
        for (let round = 1; round <= 20; round++) {
          yield* TestClock.adjust(Duration.toMillis(maxOpenFor) + 2)
          assert.isAtLeast(probed.tries(), round)
          const refused = yield* Effect.flip(dependency.call("ask", asked.attempt))
          assert.include(String(refused.message), "the last one being: still away.")
        }
        assert.strictEqual(asked.tries(), 0)
        isBack = true
        yield* TestClock.adjust(Duration.toMillis(maxOpenFor) + 2)
        yield* dependency.call("ask", asked.attempt)
        assert.strictEqual(asked.tries(), 1)
      }),
  )

  it.effect("is counted by how it ended, and circuits are shown only while their owner lives", () =>
    Effect.gen(function* () {
      const dependencies = new Set<never>()
      const shown = Effect.map(
        Metric.snapshot,
        (metrics) =>
          metrics.filter(({ attributes, id }) => id === "rat_circuit_state" && attributes?.endpoint === "shown:1")
            .length,
      )
      yield* Effect.gen(function* () {
        const { call } = yield* outbound({ dependency: "nessie", endpoint: "shown:1", verdict: verdictOf })
        yield* call("ask", Effect.void)
        yield* Effect.exit(call("ask", Effect.fail(new No())))
        yield* timed(call("ask", Effect.fail(new Down({ reason: "reset" }))))
        assert.strictEqual(yield* shown, 1)
        assert.strictEqual(dependencies.size, 1)
        assert.strictEqual(circuitOf(dependencies, "nessie"), "closed")
      }).pipe(Effect.scoped, Effect.provideService(Outbound, { policies: defaultPolicies, dependencies }))
      assert.strictEqual(yield* shown, 0)
      assert.strictEqual(dependencies.size, 0)
      const counts = new Map(
        (yield* Metric.snapshot).flatMap(({ attributes, id, state }) =>
          attributes?.dependency === "nessie" && "count" in state
            ? [[`${id} ${attributes.outcome ?? ""}`, Number(state.count)] as const]
            : [],
        ),
      )
      assert.strictEqual(counts.get("rat_outbound_calls_total ok"), 1)
      assert.strictEqual(counts.get("rat_outbound_calls_total answered"), 1)
      assert.strictEqual(counts.get("rat_outbound_calls_total unavailable"), 1)
      assert.strictEqual(counts.get("rat_outbound_retries_total "), defaultPolicies.nessie.retries)
      assert.strictEqual(counts.get("rat_outbound_call_duration_seconds "), 3)
    }).pipe(Effect.provideService(Metric.MetricRegistry, new Map())),
  )
})

describe("RAT_OUTBOUND", () => {
  const limits = {
    deadline: "3 seconds",
    retries: "7",
    first_delay: "20 millis",
    max_delay: "1500 millis",
    failures_to_open: "9",
    open_for: "2 seconds",
    max_open_for: "90 seconds",
  }

  it.effect("changes each limit of each dependency, and nothing else", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* parsePolicies(""), defaultPolicies)
      for (const name of dependencyNames) {
        for (const [limit, value] of Object.entries(limits)) {
          const policies = yield* parsePolicies(`, ${name}.${limit} = ${value} ,`)
          for (const other of dependencyNames) {
            const changed = Object.entries(policies[other]).filter(
              ([field, now]) => String(now) !== String(defaultPolicies[other][field as keyof OutboundPolicy]),
            )
            assert.strictEqual(changed.length, other === name ? 1 : 0, `${name}.${limit}`)
          }
        }
      }
      const { object_store } = yield* parsePolicies("object_store.data_deadline=5 minutes")
      assert.strictEqual(Duration.toMillis(object_store.dataDeadline), 300_000)
    }),
  )

  it.effect("is what calls of the node obey", () =>
    Effect.gen(function* () {
      const provided = yield* withPolicies("rpc.deadline=300 millis,rpc.retries=1,rpc.failures_to_open=1")
      const dependency = yield* provided(outbound({ dependency: "rpc", endpoint: "there:1", verdict: verdictOf }))
      const hang = counted(() => Effect.never)
      const { ms } = yield* timed(dependency.call("ask", hang.attempt, { retries: 0 }))
      assert.approximately(ms, 300, 20)
      assert.strictEqual(dependency.circuit.state, "open")
    }),
  )

  it.effect("is refused with a sentence when it cannot be meant", () =>
    Effect.gen(function* () {
      const refusals = {
        rubbish: "has no such shape",
        "rpc.deadline": "has no such shape",
        "redis.deadline=1 second": "names no dependency (they are postgres,",
        "rpc.patience=1 second": "names no limit of it (they are deadline, retries,",
        "rpc.data_deadline=1 second": "names no limit of it",
        "rpc.deadline=soon": "needs a duration",
        "rpc.deadline=0 seconds": "needs a duration",
        "rpc.deadline=-3 seconds": "needs a duration",
        "rpc.deadline=Infinity": "needs a duration",
        "rpc.retries=many": "needs a number",
        "rpc.retries=-1": "needs a number",
        "rpc.failures_to_open=0": "needs a number",
      }
      for (const [text, reason] of Object.entries(refusals)) {
        const { message } = yield* Effect.flip(parsePolicies(text))
        assert.include(message, `RAT_OUTBOUND cannot be used: "${text}" ${reason}`)
      }
    }),
  )
})
