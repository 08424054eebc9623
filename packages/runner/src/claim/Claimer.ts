import type { ClaimedRun, RunId } from "@rat/domain"
import { Cause, Effect, Exit, Fiber, Latch, Schedule, Scope, Stream } from "effect"
import { untilReached } from "../phase/ControlCall.ts"
import { makePhaseClock } from "../phase/PhaseClock.ts"
import { makeRunLog } from "../phase/RunLog.ts"
import { type Attempt, runProgram } from "../phase/RunProgram.ts"
import { RunnerConfig } from "../RunnerConfig.ts"
import { makeLeases } from "./Leases.ts"
import { RunControl } from "./RunControl.ts"
import { parentOf } from "./Traceparent.ts"

/** Asks for work now and then even without a signal: a lost one costs a delay, never a run. */
const safetyTick = "30 seconds"
/** Control is away: how long to wait before asking again. */
const reconnect = Schedule.min([Schedule.exponential("100 millis", 2), Schedule.spaced("2 seconds")]).pipe(
  Schedule.jittered,
)
/** Attempts per slot that may be in hand, most of them being published. */
const inHandPerSlot = 4
/** Cancels that came before their run did. */
const maxEarlyCancels = 1_000

interface Work {
  readonly claimed: ClaimedRun
  fiber: Fiber.Fiber<unknown, unknown> | undefined
  /** Why it is being stopped. */
  stop: "cancelled" | "lost" | undefined
}

/**
 * Pulls runs as slots become free and executes them until the scope closes. Woken by control's signals; claims again
 * after each run that ends, as a run of the same pipeline may be eligible now.
 */
export const claimRuns = Effect.gen(function* () {
  const control = yield* RunControl
  const config = yield* RunnerConfig
  // Apart from our own scope, which would interrupt the runs before we can wait for them.
  const runs = yield* Scope.make()
  const active = new Map<RunId, Work>()
  const earlyCancels = new Set<RunId>()
  const idle = yield* Latch.make(true)
  const go = yield* Latch.make(false)
  let free = config.slots
  let mayHaveWork = true

  const look = () => {
    mayHaveWork = true
    go.openUnsafe()
  }

  const stop = (runId: RunId, reason: "cancelled" | "lost") =>
    Effect.suspend(() => {
      const work = active.get(runId)
      if (work === undefined) {
        if (reason === "cancelled") {
          earlyCancels.add(runId)
          // The oldest one belongs to a run that had ended already.
          if (earlyCancels.size > maxEarlyCancels) earlyCancels.delete(earlyCancels.values().next().value!)
        }
        return Effect.void
      }
      work.stop ??= reason
      return work.fiber === undefined ? Effect.void : Effect.forkIn(Fiber.interrupt(work.fiber), runs)
    })

  const leases = yield* makeLeases({ control, lost: (runId) => stop(runId, "lost") })

  const attemptOf = Effect.fnUntraced(function* (work: Work) {
    const { claimed } = work
    const { lease } = claimed
    const log = yield* makeRunLog({
      lease,
      control,
      maxLines: config.logMaxLines,
      maxMessage: config.logMaxMessage,
    })
    let holdsSlot = true
    const attempt: Attempt = {
      claimed,
      log,
      clock: makePhaseClock(log.enter),
      quality: [],
      slotFree: (isFree) => {
        if (isFree === !holdsSlot) return
        holdsSlot = !isFree
        free += isFree ? 1 : -1
        if (isFree) look()
      },
    }
    const exit = yield* Effect.exit(Effect.interruptible(runProgram(attempt)))
    attempt.slotFree(true)
    if (Exit.isSuccess(exit)) return
    if (work.stop === "cancelled") {
      log.add("warn", "Run cancelled by user")
      yield* untilReached(control.Stopped({ lease, phases: attempt.clock.timings(), logs: log.rest() })).pipe(
        Effect.catchTag("ControlUnreachable", () => Effect.logWarning("Control could not be told that a run stopped")),
      )
    } else if (!Cause.hasInterrupts(exit.cause)) {
      yield* Effect.logError("A run ended unexpectedly", exit.cause)
    }
  })

  const start = Effect.fnUntraced(function* (claimed: ClaimedRun) {
    const { runId } = claimed.lease
    // An older attempt of ours that has not heard yet that its lease is gone.
    yield* stop(runId, "lost")
    const work: Work = { claimed, fiber: undefined, stop: earlyCancels.delete(runId) ? "cancelled" : undefined }
    active.set(runId, work)
    idle.closeUnsafe()
    free--
    yield* leases.hold(claimed.lease)
    const parent = parentOf(claimed.traceparent)
    const { target } = claimed
    work.fiber = yield* Effect.scoped(attemptOf(work)).pipe(
      Effect.withSpan("Run.attempt", {
        ...(parent === undefined ? { root: true } : { parent }),
        attributes: { run_id: runId, attempt: claimed.lease.attempt },
      }),
      Effect.annotateLogs({
        run_id: runId,
        attempt: claimed.lease.attempt,
        namespace: claimed.namespace,
        node: config.node,
        ...(target === null ? {} : { pipeline: `${target.layer}.${target.name}` }),
      }),
      Effect.ensuring(
        Effect.sync(() => {
          if (active.get(runId) === work) active.delete(runId)
          leases.release(claimed.lease)
          if (active.size === 0) idle.openUnsafe()
          look()
        }),
      ),
      // Only the program itself can be interrupted: an attempt that is stopped before it began is counted out all the
      // same, and what a cancelled run has to say is said.
      Effect.forkIn(runs, { uninterruptible: true }),
    )
    if (work.stop !== undefined) yield* stop(runId, work.stop)
  })

  const claim = Effect.gen(function* () {
    yield* go.await
    const limit = Math.min(free, config.slots * inHandPerSlot - active.size)
    if (!mayHaveWork || limit <= 0) {
      go.closeUnsafe()
      return
    }
    // Before asking: a wake that comes while control looks must not be lost.
    mayHaveWork = false
    const claimed = yield* control.Claim({ node: config.node, limit })
    if (claimed.length === limit) look()
    yield* Effect.forEach(claimed, start, { discard: true })
  }).pipe(
    Effect.catchCause((cause) => Effect.andThen(Effect.sync(look), Effect.failCause(cause))),
    Effect.forever,
    Effect.tapCause((cause) => Effect.logWarning("Runs could not be claimed", cause)),
    Effect.sandbox,
    Effect.retry(reconnect),
  )

  const signals = control.Signals({ node: config.node }).pipe(
    Stream.runForEach((signal) => (signal._tag === "Wake" ? Effect.sync(look) : stop(signal.runId, "cancelled"))),
    // A stream that ends is a connection that was lost.
    Effect.andThen(Effect.sleep("100 millis")),
    Effect.forever,
    Effect.tapCause((cause) => Effect.logWarning("Signals of the control role stopped", cause)),
    Effect.sandbox,
    Effect.retry(reconnect),
  )

  // The order is that of the stop, backwards: no new claims, then the runs in hand end, then leases and signals.
  yield* Effect.forkScoped(leases.keep)
  yield* Effect.forkScoped(signals)
  yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.sleep(safetyTick), Effect.sync(look))))
  yield* Effect.addFinalizer((exit) =>
    Effect.andThen(Effect.timeoutOption(idle.await, `${config.drainSeconds} seconds`), Scope.close(runs, exit)),
  )
  yield* Effect.forkScoped(claim)
})
