import {
  type ClaimedRun,
  decodeCheckpoint,
  failureKind,
  type LeaseLost,
  noopWaitMs,
  outcomeWithoutTable,
  RefName,
  type RetryPolicy,
  RunFailure,
  type RunTarget,
  retryPolicyOf,
  runBranch,
  TableKey,
} from "@rat/domain"
import { isPostgresOutage, type RefState } from "@rat/lakehouse"
import { Cause, Effect, Schedule } from "effect"
import { SqlError } from "effect/sql"
import { RunControl } from "../claim/RunControl.ts"
import { RunnerConfig } from "../RunnerConfig.ts"
import { RunnerSlots } from "../sandbox/RunnerSlots.ts"
import type { ActiveRun } from "./ActiveRun.ts"
import { holdBranch } from "./Branch.ts"
import { Codes } from "./Code.ts"
import { commit } from "./Commit.ts"
import { untilReached } from "./ControlCall.ts"
import { execute } from "./Execute.ts"
import { failureOf } from "./Failure.ts"
import { withSlotFiles } from "./Inputs.ts"
import { committedBefore, readOwnTable } from "./OwnTable.ts"
import { makePatience, patientLakehouse } from "./Patience.ts"
import type { PhaseClock } from "./PhaseClock.ts"
import { type Publishable, publish } from "./Publish.ts"
import { requirePassing, runQualityTests } from "./Quality.ts"
import { resolve } from "./Resolve.ts"
import { RunFailed } from "./RunFailed.ts"
import type { RunLog } from "./RunLog.ts"
import { makeRunProgress, type RunProgress } from "./RunProgress.ts"
import { write } from "./Write.ts"

/** How often a run whose table changed on main meanwhile is executed on a fresh branch before it gives up. */
const maxRebases = 4

/** An attempt, and what its caller wants to know of it. */
export interface Attempt {
  readonly claimed: ClaimedRun
  readonly log: RunLog
  readonly clock: PhaseClock
  /** Quality results so far: a failure carries them too. */
  quality: Publishable["quality"]
  /** What the pipeline's settings say of retries, once they have been read. */
  retry?: RetryPolicy
  /** Returns at once while the lease is good; when it may have run out, not before control has said whether it has. */
  readonly confirm: Effect.Effect<void, LeaseLost>
  /** What the run has done so far; null where there is nothing to go on from. */
  progress: RunProgress | null
  /** The run needs no slot any more (or again, when its publishing met a conflict). */
  readonly slotFree: (isFree: boolean) => void
}

/** Bounds work and waiting. What waits for an outage when the time is up fails with that: it is not the pipeline that took too long. */
const within = (run: ActiveRun, seconds: number) =>
  Effect.timeoutOrElse({
    duration: `${seconds} seconds`,
    orElse: () =>
      Effect.fail(
        run.patience.waitsFor() ??
          new RunFailed({
            code: "limit.time",
            reason: `The run was stopped after ${seconds} s, its time limit. Make it do less, or raise timeout_seconds of the pipeline.`,
          }),
      ),
  })

/** What an earlier attempt has committed and tested, if the branch still is as that one left it: nothing is left but to publish. */
const testedBefore = Effect.fnUntraced(function* (run: ActiveRun, branch: RefState) {
  const inputs = run.progress.inputs()
  const quality = run.progress.quality()
  if (inputs === null || quality === null || inputs.baseCommit !== (branch.base?.toString() ?? null)) return null
  const committed = committedBefore(yield* readOwnTable(run), inputs.digest, run.progress.committed())
  return committed === null ? null : { committed, quality, inputs }
})

/**
 * Everything up to and including the quality tests, on the run's branch. What earlier attempts have done is not done again. The slot is
 * given back at the end.
 */
const prepare = (attempt: Attempt, run: ActiveRun) =>
  Effect.gen(function* () {
    const slots = yield* RunnerSlots
    const codes = yield* Codes
    const config = yield* RunnerConfig
    const { clock, progress } = run
    yield* attempt.confirm
    const isTested = progress.quality() !== null
    const [early, branch, code] = yield* Effect.all(
      [
        isTested ? Effect.succeed(null) : slots.acquire,
        clock.within("branch", holdBranch(run)),
        clock.within("resolve", run.patience.patiently(codes.load(run.target))),
      ],
      { concurrency: "unbounded" },
    ).pipe(within(run, config.runTimeoutSeconds))
    const { description } = code.config
    attempt.retry = retryPolicyOf(code.config)
    const before = yield* testedBefore(run, branch).pipe(within(run, config.runTimeoutSeconds))
    if (before !== null) {
      run.log.add("info", "An earlier attempt has written and tested the data: going on from there")
      attempt.quality = before.quality
      return {
        rowsWritten: before.committed.rowsWritten,
        snapshotId: before.committed.snapshotId,
        quality: before.quality,
        landingFileIds: before.inputs.zones
          .filter(({ isTestOnly }) => !isTestOnly)
          .flatMap(({ files }) => files.map(({ id }) => id)),
        description,
      } satisfies Publishable as Publishable
    }
    const slot = early ?? (yield* slots.acquire)
    return yield* Effect.gen(function* () {
      const resolved = yield* clock.within("resolve", withSlotFiles(slot)(resolve(run, code, slot, branch)))
      let { committed, written } = resolved.done
      if (committed !== null) run.log.add("info", "An earlier attempt has written the data: going on from there")
      else {
        if (written !== null) run.log.add("info", "An earlier attempt has stored the data: going on from there")
        else {
          const executed = yield* clock.within("execute", execute(run, code, resolved, slot))
          written = yield* clock.within("write", write(run, code, executed, resolved, slot))
        }
        yield* attempt.confirm
        committed = yield* clock.within("commit", commit(run, written, resolved))
      }
      progress.commit(committed)
      attempt.quality = yield* clock.within("test", runQualityTests(run, code, resolved, committed, slot))
      yield* requirePassing(attempt.quality)
      progress.test(attempt.quality)
      return {
        rowsWritten: committed.rowsWritten,
        snapshotId: committed.snapshotId,
        quality: attempt.quality,
        landingFileIds: resolved.landingFileIds,
        description,
      } satisfies Publishable as Publishable
    }).pipe(within(run, code.config.timeout_seconds ?? config.runTimeoutSeconds))
  }).pipe(Effect.scoped)

/** How often, and after what pause, a run whose slot dies before it has executed anything takes another slot. */
const maxFreshSlots = 3
const freshSlot = Schedule.exponential("20 millis")

const isSlotDied = (error: unknown): boolean =>
  typeof error === "object" && error !== null && "_tag" in error && error._tag === "SlotDied"

const runPipeline = Effect.fnUntraced(function* (attempt: Attempt, first: ActiveRun) {
  const lakehouse = yield* patientLakehouse(first.patience)
  for (let round = 0; ; round++) {
    attempt.slotFree(false)
    const run = { ...first, round }
    const ready = yield* prepare(attempt, run).pipe(
      Effect.provide(lakehouse),
      // Not the run's doing, then. What kills slots by being executed must not kill several.
      Effect.retry({
        times: maxFreshSlots,
        schedule: freshSlot,
        while: (error) => isSlotDied(error) && ["branch", "resolve"].includes(run.clock.current()),
      }),
      Effect.ensuring(Effect.sync(() => attempt.slotFree(true))),
    )
    yield* attempt.confirm
    const isConflict = yield* run.clock.within(
      "publish",
      publish(run, ready).pipe(
        Effect.as(false),
        Effect.catchTag("PublishConflict", (conflict) =>
          round < maxRebases ? Effect.succeed(true) : Effect.fail(conflict),
        ),
      ),
    )
    if (!isConflict) return
    run.progress.beginAgain()
    run.log.add("warn", "The table changed on main since the run's branch was made. Running again on a new branch.")
  }
})

/** A run without a table: what is left is the way through queue, slot and status. */
const runNothing = Effect.fnUntraced(function* (attempt: Attempt) {
  const slots = yield* RunnerSlots
  const control = yield* RunControl
  const { clock, claimed } = attempt
  const waitMs = noopWaitMs(claimed.parameters) ?? 0
  const nothing = Effect.flatMap(slots.acquire, (slot) => slot.call("noop", null))
  yield* clock
    .within("execute", Effect.scoped(waitMs === 0 ? nothing : Effect.andThen(nothing, Effect.sleep(waitMs))))
    .pipe(
      Effect.retry({ times: maxFreshSlots, schedule: freshSlot, while: isSlotDied }),
      Effect.ensuring(Effect.sync(() => attempt.slotFree(true))),
    )
  yield* untilReached(
    Effect.suspend(() =>
      control.Succeed({
        lease: claimed.lease,
        outcome: outcomeWithoutTable(clock.timings()),
      }),
    ),
  )
})

const errorIn = (cause: Cause.Cause<unknown>): { readonly _tag?: unknown } | null => {
  const error = Cause.findErrorOption(cause)
  return error._tag === "Some" ? (error.value as { readonly _tag?: unknown } | null) : null
}

/** The lease is gone, so nothing may be reported: somebody else holds the run. */
const leaseLostIn = (cause: Cause.Cause<unknown>): boolean => errorIn(cause)?._tag === "LeaseLost"

/** The catalog's database stayed away for as long as the run may take: nobody can be told, and the next attempt goes on when it is back. */
const outageIn = (cause: Cause.Cause<unknown>): boolean => {
  const error = errorIn(cause)
  return SqlError.isSqlError(error) && isPostgresOutage(error)
}

const fail = Effect.fnUntraced(function* (attempt: Attempt, cause: Cause.Cause<unknown>) {
  const control = yield* RunControl
  const { code, error } = failureOf(cause)
  if (code === "internal") yield* Effect.logError("A run failed unexpectedly", cause)
  attempt.log.add("error", error)
  yield* attempt.log.flush
  const failure = new RunFailure({
    code,
    error,
    phase: attempt.clock.current(),
    phases: attempt.clock.timings(),
    quality: attempt.quality,
    retryable: failureKind(code) !== "final",
    ...(attempt.retry === undefined ? {} : { retry: attempt.retry }),
  })
  yield* untilReached(control.Fail({ lease: attempt.claimed.lease, failure }))
  yield* Effect.logInfo("A run failed").pipe(
    Effect.annotateLogs({ code, reason: error, duration_ms: durationOf(attempt) }),
  )
})

/** Work of all phases; some overlap. */
const durationOf = (attempt: Attempt): number =>
  Math.round(attempt.clock.timings().reduce((sum, { duration_ms }) => sum + duration_ms, 0))

/**
 * Executes one attempt from claim to its end, which control has heard of when this returns. Interruption (cancel, lost
 * lease, stop of the node) stops the running statement and reports nothing: that is the caller's.
 */
export const runProgram = (attempt: Attempt) => {
  const { claimed, log, clock } = attempt
  const { target, namespace, lease } = claimed
  const begin = (target: RunTarget) => {
    const branch = RefName.make(runBranch(lease.runId))
    const progress = makeRunProgress(log, { runId: lease.runId, branch }, decodeCheckpoint(claimed.checkpoint))
    attempt.progress = progress
    const key = new TableKey({ namespace, layer: target.layer, name: target.name })
    const patience = makePatience(log)
    return runPipeline(attempt, { claimed, target, key, branch, round: 0, progress, patience, log, clock })
  }
  const program = target === null ? runNothing(attempt) : Effect.suspend(() => begin(target))
  const told = Effect.tap(program, () =>
    Effect.logInfo("A run succeeded").pipe(Effect.annotateLogs({ duration_ms: durationOf(attempt) })),
  )
  return Effect.raceFirst(told, log.lost).pipe(
    Effect.catchCause((cause) =>
      Cause.hasInterrupts(cause) || leaseLostIn(cause)
        ? Effect.failCause(cause as Cause.Cause<LeaseLost>)
        : outageIn(cause)
          ? Effect.logWarning("The catalog's database was away; another attempt follows when the lease expires", cause)
          : fail(attempt, cause),
    ),
    Effect.catchTag("LeaseLost", () => Effect.logInfo("The lease of a run is gone; its work is discarded")),
    Effect.catchTag("ControlUnreachable", () =>
      Effect.logWarning("Control could not be told how a run ended; another attempt follows when its lease expires"),
    ),
  )
}
