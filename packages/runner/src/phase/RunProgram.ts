import {
  type ClaimedRun,
  type LeaseLost,
  outcomeWithoutTable,
  RefName,
  RunFailure,
  runBranch,
  TableKey,
} from "@rat/domain"
import { isPostgresOutage } from "@rat/lakehouse"
import { Cause, Effect, Schedule } from "effect"
import { SqlError } from "effect/sql"
import { RunControl } from "../claim/RunControl.ts"
import { RunnerConfig } from "../RunnerConfig.ts"
import { RunnerSlots } from "../sandbox/RunnerSlots.ts"
import type { ActiveRun } from "./ActiveRun.ts"
import { createBranch, rebaseBranch } from "./Branch.ts"
import { Codes } from "./Code.ts"
import { commit } from "./Commit.ts"
import { untilReached } from "./ControlCall.ts"
import { execute } from "./Execute.ts"
import { failureOf } from "./Failure.ts"
import { withSlotFiles } from "./Inputs.ts"
import type { PhaseClock } from "./PhaseClock.ts"
import { type Publishable, publish } from "./Publish.ts"
import { requirePassing, runQualityTests } from "./Quality.ts"
import { resolve } from "./Resolve.ts"
import { RunFailed } from "./RunFailed.ts"
import type { RunLog } from "./RunLog.ts"
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
  /** The run needs no slot any more (or again, when its publishing met a conflict). */
  readonly slotFree: (isFree: boolean) => void
}

/** Everything up to and including the quality tests, on the run's branch. The slot is given back at the end. */
const prepare = (attempt: Attempt, run: ActiveRun) =>
  Effect.gen(function* () {
    const slots = yield* RunnerSlots
    const codes = yield* Codes
    const config = yield* RunnerConfig
    const { clock } = run
    const [slot, , code] = yield* Effect.all(
      [
        slots.acquire,
        clock.within("branch", run.round > 0 ? rebaseBranch(run) : createBranch(run)),
        clock.within("resolve", codes.load(run.target)),
      ],
      { concurrency: "unbounded" },
    )
    const seconds = code.config.timeout_seconds ?? config.runTimeoutSeconds
    return yield* Effect.gen(function* () {
      const resolved = yield* clock.within("resolve", withSlotFiles(slot)(resolve(run, code, slot)))
      const executed = yield* clock.within("execute", execute(run, code, resolved, slot))
      const merged = yield* clock.within("write", write(run, code, executed, resolved, slot))
      const committed = yield* clock.within("commit", commit(run, merged, resolved.own))
      attempt.quality = yield* clock.within("test", runQualityTests(run, code, resolved, committed, slot))
      yield* requirePassing(attempt.quality)
      return {
        rowsWritten: merged.rows.added,
        snapshotId: committed.snapshotId,
        quality: attempt.quality,
        landingFileIds: resolved.landingFileIds,
        description: code.config.description,
      } satisfies Publishable as Publishable
    }).pipe(
      Effect.timeoutOrElse({
        duration: `${seconds} seconds`,
        orElse: () =>
          Effect.fail(
            new RunFailed({
              code: "limit.time",
              reason: `The run was stopped after ${seconds} s, its time limit. Make it do less, or raise timeout_seconds of the pipeline.`,
            }),
          ),
      }),
    )
  }).pipe(Effect.scoped)

/** How often, and after what pause, a run whose slot dies before it has executed anything takes another slot. */
const maxFreshSlots = 3
const freshSlot = Schedule.exponential("20 millis")

const isSlotDied = (error: unknown): boolean =>
  typeof error === "object" && error !== null && "_tag" in error && error._tag === "SlotDied"

const runPipeline = Effect.fnUntraced(function* (attempt: Attempt, first: ActiveRun) {
  for (let round = 0; ; round++) {
    attempt.slotFree(false)
    const run = { ...first, round }
    const ready = yield* prepare(attempt, run).pipe(
      // Not the run's doing, then. What kills slots by being executed must not kill several.
      Effect.retry({
        times: maxFreshSlots,
        schedule: freshSlot,
        while: (error) => isSlotDied(error) && ["branch", "resolve"].includes(run.clock.current()),
      }),
      Effect.ensuring(Effect.sync(() => attempt.slotFree(true))),
    )
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
    run.log.add("warn", "The table changed on main since the run's branch was made. Running again on a new branch.")
  }
})

/** A run without a table: what is left is the way through queue, slot and status. */
const runNothing = Effect.fnUntraced(function* (attempt: Attempt) {
  const slots = yield* RunnerSlots
  const control = yield* RunControl
  const { clock, claimed } = attempt
  yield* clock
    .within("execute", Effect.scoped(Effect.flatMap(slots.acquire, (slot) => slot.call("noop", null))))
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

/** The catalog's database was away, which is nothing that the run did: the next attempt begins when it is back. */
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
  const program =
    target === null
      ? runNothing(attempt)
      : runPipeline(attempt, {
          claimed,
          target,
          key: new TableKey({ namespace, layer: target.layer, name: target.name }),
          branch: RefName.make(runBranch(lease.runId)),
          round: 0,
          log,
          clock,
        })
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
