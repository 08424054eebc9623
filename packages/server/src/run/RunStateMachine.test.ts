import { assert, layer } from "@effect/vitest"
import {
  canMove,
  defaultRetryPolicy,
  type FailureKind,
  isTerminal,
  type Lease,
  NamespaceName,
  outcomeWithoutTable,
  RetryPolicy,
  RunFailure,
  type RunId,
  type RunStatus,
  sourcesOf,
} from "@rat/domain"
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import fc from "fast-check"
import { RunRepository } from "./RunRepository.ts"
import { testRuns } from "./TestRuns.ts"

/** What anybody may do to a run, with any lease that was ever handed out. */
type Step =
  | { readonly do: "claim" }
  | { readonly do: "expire" }
  | { readonly do: "cancel" }
  /** The time of a run that waits for its next attempt comes. */
  | { readonly do: "wait" }
  | { readonly do: "renew" | "report" | "succeed"; readonly lease: number }
  | { readonly do: "fail"; readonly lease: number; readonly kind: FailureKind }

/** Which of the leases so far, or (-1) the newest one. */
const whose = fc.oneof({ arbitrary: fc.constant(-1), weight: 3 }, fc.nat(5))

const chosen = (leases: ReadonlyArray<Lease>, which: number) =>
  leases.at(which < 0 ? -1 : which % Math.max(1, leases.length))

/** Ends for good are rare, or no run would live to see its limits. */
const step: fc.Arbitrary<Step> = fc.oneof(
  { arbitrary: fc.record({ do: fc.constant("claim" as const) }), weight: 6 },
  { arbitrary: fc.record({ do: fc.constant("expire" as const) }), weight: 3 },
  { arbitrary: fc.record({ do: fc.constant("wait" as const) }), weight: 4 },
  { arbitrary: fc.record({ do: fc.constant("cancel" as const) }), weight: 1 },
  {
    arbitrary: fc.record({ do: fc.constantFrom("renew" as const, "report" as const), lease: whose }),
    weight: 3,
  },
  { arbitrary: fc.record({ do: fc.constant("succeed" as const), lease: whose }), weight: 1 },
  {
    arbitrary: fc.record({
      do: fc.constant("fail" as const),
      lease: whose,
      kind: fc.constantFrom<FailureKind>("transient", "transient", "transient", "outage", "outage", "outage", "final"),
    }),
    weight: 4,
  },
)

const maxAttempts = 3
const maxOutageRetries = 2
const policy = new RetryPolicy({ ...defaultRetryPolicy, maxRetries: 2 })
const kinds: ReadonlyArray<FailureKind> = ["final", "transient", "outage"]
const codes = { final: "sql.error", transient: "slot.died", outage: "store.unavailable" }

/** The machine as the domain defines it, for one run: what a sequence of steps must do. */
interface Model {
  status: RunStatus
  attempt: number
  failures: number
  outages: number
  isDue: boolean
  /** How attempts ended of their own accord. */
  readonly ends: Map<number, "succeeded" | "failed">
}

const holds = (model: Model, lease: Lease) => model.status === "running" && lease.attempt === model.attempt

const nothing = outcomeWithoutTable([])
const broken = (kind: FailureKind) =>
  new RunFailure({
    error: "e",
    code: codes[kind],
    phase: "execute",
    phases: [],
    quality: [],
    retryable: kind !== "final",
    retry: policy,
  })

const submit = Effect.flatMap(RunRepository, (runs) =>
  runs.submit({
    kind: "noop",
    namespace: NamespaceName.make("default"),
    pipelineId: null,
    trigger: "t",
    idempotencyKey: null,
    traceparent: null,
  }),
)

/** Applies one step and answers whether it was accepted, and with a lease where it brought one. */
const apply = Effect.fnUntraced(function* (runId: RunId, action: Step, leases: ReadonlyArray<Lease>) {
  const runs = yield* RunRepository
  const sql = yield* SqlClient.SqlClient
  const accepted = <A, E extends { readonly _tag: string }, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.match(effect, { onSuccess: () => true, onFailure: () => false })
  switch (action.do) {
    case "claim":
      return yield* runs.claim("node", 1)
    case "expire":
      yield* sql`update run set lease_expires_at = now() - interval '1 ms' where id = ${runId} and status = 'running'`
      return (yield* runs.expireLeases()) > 0
    case "cancel":
      return yield* accepted(runs.cancel(runId))
    case "wait":
      yield* sql`update run set retry_at = now() where id = ${runId} and retry_at is not null`
      yield* sql`update run_queue set eligible_at = now() where run_id = ${runId} and eligible_at is not null`
      return false
    default: {
      const lease = chosen(leases, action.lease)
      if (lease === undefined) return false
      switch (action.do) {
        case "renew":
          return (yield* runs.renew([lease])).lost.length === 0
        case "report":
          return yield* accepted(runs.report({ lease, phase: "execute", logs: [] }))
        case "succeed":
          return yield* accepted(runs.succeed(lease, nothing))
        case "fail":
          return yield* accepted(runs.fail(lease, broken(action.kind)))
      }
    }
  }
})

const rowOf = (runId: RunId) =>
  Effect.flatMap(
    SqlClient.SqlClient,
    (sql) => sql<{ status: RunStatus; attempt: number; token: number; last: string }>`
      select r.status, r.attempt, r.fencing_token::integer as token,
        (select o.payload ->> 'status' from outbox o where o.key = r.id::text order by o.id desc limit 1) as last
      from run r
      where r.id = ${runId}`,
  ).pipe(Effect.map((rows) => rows[0]!))

layer(RunRepository.layer.pipe(Layer.provideMerge(testRuns({ maxAttempts, maxOutageRetries, leaseSeconds: 60 }))), {
  excludeTestServices: true,
})("Run state machine", (it) => {
  it.effect("any sequence of steps does to the rows what the machine of the domain says", () =>
    Effect.gen(function* () {
      const context = yield* Effect.context<RunRepository | SqlClient.SqlClient>()
      const follows = Effect.fnUntraced(function* (steps: ReadonlyArray<Step>) {
        const sql = yield* SqlClient.SqlClient
        yield* sql`delete from run`
        const run = yield* submit
        const model: Model = {
          status: "queued",
          attempt: 0,
          failures: 0,
          outages: 0,
          isDue: true,
          ends: new Map(),
        }
        const leases: Array<Lease> = []
        for (const action of steps) {
          const before = model.status
          const answer = yield* apply(run.id, action, leases)
          switch (action.do) {
            case "claim": {
              const claimed = answer as ReadonlyArray<{ readonly lease: Lease }>
              assert.strictEqual(claimed.length, model.status === "queued" && model.isDue ? 1 : 0)
              for (const { lease } of claimed) {
                leases.push(lease)
                model.status = "running"
                model.attempt += 1
                assert.strictEqual(lease.attempt, model.attempt)
              }
              break
            }
            case "expire":
              assert.strictEqual(answer, model.status === "running")
              if (model.status === "running") {
                const lost = model.attempt - model.failures - model.outages
                model.status = lost < maxAttempts ? "queued" : "failed"
              }
              break
            case "wait":
              model.isDue = true
              break
            case "cancel":
              assert.strictEqual(answer, sourcesOf("cancelled").includes(model.status))
              if (!isTerminal(model.status)) model.status = "cancelled"
              break
            default: {
              const lease = chosen(leases, action.lease)
              const isHeld = lease !== undefined && holds(model, lease)
              const end = action.do === "succeed" ? "succeeded" : action.do === "fail" ? "failed" : undefined
              // Repeating the end of an attempt is no error and changes nothing.
              const isRepeat = lease !== undefined && end !== undefined && model.ends.get(lease.attempt) === end
              assert.strictEqual(answer, isHeld || isRepeat, `${action.do} as ${lease?.attempt}`)
              if (!isHeld || end === undefined) break
              model.ends.set(lease.attempt, end)
              model.status = end
              if (action.do !== "fail") break
              if (action.kind === "transient" && model.failures < policy.maxRetries) {
                Object.assign(model, { status: "queued", isDue: false, failures: model.failures + 1 })
              } else if (action.kind === "outage" && model.outages < maxOutageRetries) {
                Object.assign(model, { status: "queued", isDue: false, outages: model.outages + 1 })
              }
            }
          }
          assert.isTrue(before === model.status || canMove(before, model.status), `${before} -> ${model.status}`)
          assert.deepStrictEqual(yield* rowOf(run.id), {
            status: model.status,
            attempt: model.attempt,
            token: model.attempt,
            last: model.status,
          })
        }
      })
      yield* Effect.promise(() =>
        fc.assert(
          fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 40, size: "max" }), (steps) =>
            Effect.runPromise(Effect.provideContext(follows(steps), context)),
          ),
          { numRuns: 60 },
        ),
      )
    }),
  )

  it.effect(
    "whatever many connections do at once, a run ends once, with one event, by the holder of its newest lease",
    () =>
      Effect.gen(function* () {
        const context = yield* Effect.context<RunRepository | SqlClient.SqlClient>()
        const survives = Effect.fnUntraced(function* (steps: ReadonlyArray<Step>) {
          const sql = yield* SqlClient.SqlClient
          yield* sql`delete from run`
          const run = yield* submit
          const leases: Array<Lease> = []
          const ends: Array<string> = []
          yield* Effect.forEach(
            steps,
            (action) =>
              Effect.gen(function* () {
                const known = [...leases]
                // An attempt fails in one way, however often it says so.
                const told = action.do === "fail" ? chosen(known, action.lease) : undefined
                const kind = told === undefined ? "final" : kinds[told.attempt % kinds.length]!
                const answer = yield* apply(run.id, action.do === "fail" ? { ...action, kind } : action, known)
                if (Array.isArray(answer)) for (const { lease } of answer) leases.push(lease)
                if (answer !== true) return
                if (action.do === "cancel") ends.push("cancelled")
                if (action.do === "succeed") ends.push("succeeded")
                if (action.do === "fail" && kind === "final") ends.push("failed")
              }),
            { concurrency: 8, discard: true },
          )
          const row = yield* rowOf(run.id)
          assert.strictEqual(row.last, row.status, "status and event commit together")
          assert.strictEqual(row.token, leases.length, "every lease was a new token")
          const terminal = yield* sql<{ type: string }>`
          select type from outbox
          where key = ${run.id} and type in ('run.succeeded', 'run.failed', 'run.cancelled')`
          assert.strictEqual(terminal.length, isTerminal(row.status) ? 1 : 0)
          // Who was told that it ended the run did: all agree, and the row agrees with them.
          for (const end of ends) assert.strictEqual(end, row.status)
          // Each event follows from the one before it.
          const history = yield* sql<{ status: RunStatus }>`
          select payload ->> 'status' as status from outbox where key = ${run.id} order by id`
          for (const [index, { status }] of history.entries()) {
            if (index > 0) assert.isTrue(canMove(history[index - 1]!.status, status))
          }
        })
        yield* Effect.promise(() =>
          fc.assert(
            fc.asyncProperty(fc.array(step, { minLength: 8, maxLength: 30, size: "max" }), (steps) =>
              Effect.runPromise(Effect.provideContext(survives([{ do: "claim" }, ...steps]), context)),
            ),
            { numRuns: 40 },
          ),
        )
      }),
  )
})
