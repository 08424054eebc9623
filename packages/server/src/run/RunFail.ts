import { decideRetry, type Lease, type RetryDecision, type RunFailure } from "@rat/domain"
import { Effect, Random } from "effect"
import { SqlClient } from "effect/sql"
import { Outbox } from "../event/Outbox.ts"
import { toJsonb } from "../sql/Jsonb.ts"
import { retryContention } from "../sql/SqlRetry.ts"
import { makeBranches } from "./RunBranch.ts"
import { makeEnding } from "./RunEnding.ts"
import { announce } from "./RunEvents.ts"
import { RunHub } from "./RunHub.ts"
import { RunSettings } from "./RunSettings.ts"

/**
 * What becomes of a run whose attempt failed: queued again, not to be claimed before its time, or failed for good. The domain
 * decides (`decideRetry`); the guard of the statement sees to it that it is the newest attempt that failed, and once.
 */
export const makeFail = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const settings = yield* RunSettings
  const outbox = yield* Outbox
  const hub = yield* RunHub
  const branches = yield* makeBranches
  const { confirm, end, tell } = yield* makeEnding

  const tally = (lease: Lease) =>
    Effect.map(
      sql<{ readonly failures: number; readonly outages: number }>`
        select failures, outages
        from run
        where id = ${lease.runId} and status = 'running' and fencing_token = ${lease.fencingToken}`,
      (rows) => rows[0],
    )

  const requeue = (
    lease: Lease,
    failure: RunFailure,
    { as, delayMs }: RetryDecision & { readonly _tag: "Retry" },
  ) => sql`
    with held as (
      select id from run
      where id = ${lease.runId} and status = 'running' and fencing_token = ${lease.fencingToken} and publishing is null
      for no key update
    ),
    requeued as (
      update run r
      set status = 'queued',
          lease_owner = null,
          lease_expires_at = null,
          phase = null,
          failures = r.failures + ${as === "failure" ? 1 : 0}::integer,
          outages = r.outages + ${as === "outage" ? 1 : 0}::integer,
          retry_at = now() + make_interval(secs => ${delayMs / 1000}::float8)
      from held
      where r.id = held.id
      returning r.*
    ),
    closed as (
      update run_attempt a
      set ended_at = now(),
          outcome = 'failed',
          phase = ${failure.phase},
          phases = ${toJsonb(failure.phases)}::jsonb,
          error = ${failure.error},
          error_code = ${failure.code},
          retry_at = e.retry_at
      from requeued e
      where a.run_id = e.id and a.attempt = e.attempt
    ),
    noted as (
      insert into run_log (run_id, seq, attempt, at, level, phase, message)
      select
        e.id, (select coalesce(max(l.seq), 0) + 1 from run_log l where l.run_id = e.id), e.attempt, now(), 'warn',
        ${failure.phase},
        'Attempt ' || e.attempt || ' failed (' || ${failure.code} || '); attempt ' || (e.attempt + 1) || ' begins in '
          || round(${delayMs / 1000}::numeric, 1) || ' s.'
      from requeued e
    ),
    announced as (${announce(sql, "requeued")})
    select id from requeued`

  const retryLater = (lease: Lease, failure: RunFailure, decision: RetryDecision & { readonly _tag: "Retry" }) =>
    Effect.gen(function* () {
      const rows = yield* retryContention(requeue(lease, failure, decision))
      if (rows.length === 0) return yield* confirm(lease, "failed")
      yield* outbox.wake
      yield* hub.tell(lease.runId, { _tag: "Reread" })
      // Another run of the pipeline may go first; and the claim that finds this one not to be due comes back when it is.
      yield* hub.wake
    })

  const endFailed = (lease: Lease, failure: RunFailure) =>
    Effect.gen(function* () {
      const [ended] = yield* end(
        [
          {
            lease,
            status: "failed",
            phase: failure.phase,
            error: failure.error,
            errorCode: failure.code,
            rowsWritten: null,
            snapshotId: null,
            landingFileIds: [],
            description: "",
            phases: failure.phases,
            quality: failure.quality,
          },
        ],
        { isBare: false, events: [] },
      )
      if (ended === undefined) yield* confirm(lease, "failed")
      else {
        yield* outbox.wake
        yield* branches.expireOf(ended)
      }
      return ended
    }).pipe(
      sql.withTransaction,
      retryContention,
      Effect.flatMap((ended) => (ended === undefined ? Effect.void : tell(ended, "failed"))),
    )

  return {
    /**
     * Ends an attempt as failed. The run is queued again where another attempt may succeed and there is one left; otherwise it ends, and
     * its branch stays readable until it expires. Repeating it is no error.
     */
    fail: Effect.fn("RunRepository.fail")(function* (lease: Lease, failure: RunFailure) {
      if (!failure.retryable) return yield* endFailed(lease, failure)
      const before = yield* tally(lease)
      if (before === undefined) return yield* confirm(lease, "failed")
      const decision = decideRetry(
        { code: failure.code, retryable: failure.retryable, policy: failure.retry },
        before,
        { maxOutageRetries: settings.maxOutageRetries },
        yield* Random.next,
      )
      return yield* decision._tag === "Retry" ? retryLater(lease, failure, decision) : endFailed(lease, failure)
    }),
  }
})
