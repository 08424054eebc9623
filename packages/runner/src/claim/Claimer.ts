import { type ClaimedRun, HandOver, type RunId } from "@rat/domain"
import { untilReconnected } from "@rat/lakehouse"
import { Cause, Clock, Effect, Exit, Fiber, Latch, Option, Scope, Stream } from "effect"
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
/** Attempts per slot that may be in hand, most of them being published. */
const inHandPerSlot = 4
/**
 * While runs hold their slots for less than this on average, more are claimed than slots are free: slots would wait for the claim,
 * and a claim of several runs costs little more than that of one. What is claimed ahead waits for about two such runs, less than
 * `aheadWait`.
 */
const quickMs = 80
/** Runs claimed ahead, for each slot; more are asked for when half of them are left. */
const aheadPerSlot = 2
/** A run that was claimed ahead and gets no slot for this long is given back: another node may have one. */
const aheadWait = "250 millis"
/** How long a node that stops waits for the answer to its last claim. */
const claimGrace = "1 second"
/** How long a node that stops tries to give a run back. */
const handOverPatience = "5 seconds"
/** Weight of the newest run in the average. */
const newest = 0.2
/** Cancels that came before their run did. */
const maxEarlyCancels = 1_000

interface Work {
  readonly claimed: ClaimedRun
  /** A slot was free when it was claimed. */
  readonly hasTurn: boolean
  fiber: Fiber.Fiber<unknown, unknown> | undefined
  /** Why it is being stopped. */
  stop: StopReason | undefined
}

/** `drained`: the node stops, and another one goes on. */
type StopReason = "cancelled" | "lost" | "drained"

/**
 * Pulls runs as slots become free and executes them until the scope closes. Woken by control's signals; claims again
 * after each run that ends, as a run of the same pipeline may be eligible now.
 */
export const claimRuns = Effect.gen(function* () {
  const control = yield* RunControl
  const config = yield* RunnerConfig
  const clock = yield* Clock.Clock
  // Apart from our own scope, which would interrupt the runs before we can wait for them.
  const runs = yield* Scope.make()
  const active = new Map<RunId, Work>()
  const earlyCancels = new Set<RunId>()
  const idle = yield* Latch.make(true)
  const go = yield* Latch.make(false)
  const stopping = yield* Latch.make(false)
  /** Below zero while runs that execute again wait for a slot. */
  let free = config.slots
  /** Runs that were claimed ahead and wait for their turn, oldest first. */
  const ahead: Array<() => void> = []
  let averageHeldMs = Number.POSITIVE_INFINITY
  let mayHaveWork = true

  const look = () => {
    mayHaveWork = true
    go.openUnsafe()
  }

  const stop = (runId: RunId, reason: StopReason) =>
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

  /** A slot is free: the oldest run that was claimed ahead begins. */
  const passTurn = () => {
    const next = free < 0 ? undefined : ahead.shift()
    if (next === undefined) free++
    else next()
    look()
  }

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
    let holdsSlot = work.hasTurn
    let begunAt = clock.currentTimeMillisUnsafe()
    const attempt: Attempt = {
      claimed,
      log,
      clock: makePhaseClock(log.enter),
      quality: [],
      progress: null,
      confirm: leases.confirm(lease),
      slotFree: (isFree) => {
        if (isFree === !holdsSlot) return
        holdsSlot = !isFree
        if (!isFree) {
          free--
          return
        }
        const heldMs = clock.currentTimeMillisUnsafe() - begunAt
        averageHeldMs = Number.isFinite(averageHeldMs) ? averageHeldMs + (heldMs - averageHeldMs) * newest : heldMs
        passTurn()
      },
    }
    // The turn is taken where it is given, so that none is lost to an interruption that comes just then.
    const turn = Effect.callback<void>((resume) => {
      const take = () => {
        holdsSlot = true
        begunAt = clock.currentTimeMillisUnsafe()
        resume(Effect.void)
      }
      ahead.push(take)
      return Effect.sync(() => {
        const index = ahead.indexOf(take)
        if (index >= 0) ahead.splice(index, 1)
      })
    })
    let hasBegun = false
    const program = Effect.gen(function* () {
      if (!holdsSlot) yield* Effect.timeoutOption(turn, aheadWait)
      hasBegun = holdsSlot
      if (hasBegun) return yield* runProgram(attempt)
      // Runs take longer than it seemed. The next ones show when they are quick again.
      averageHeldMs = Number.POSITIVE_INFINITY
      yield* untilReached(control.Release({ lease }))
    })
    const exit = yield* Effect.exit(Effect.interruptible(program))
    attempt.slotFree(true)
    if (Exit.isSuccess(exit)) return
    if (work.stop === "cancelled") {
      log.add("warn", "Run cancelled by user")
      yield* untilReached(control.Stopped({ lease, phases: attempt.clock.timings(), logs: log.rest() })).pipe(
        Effect.raceFirst(Effect.andThen(stopping.await, Effect.sleep(handOverPatience))),
        Effect.catchTag("ControlUnreachable", () => Effect.logWarning("Control could not be told that a run stopped")),
      )
    } else if (work.stop === "drained") {
      if (hasBegun) log.add("info", "The node stops: the run goes on elsewhere")
      const handOver = new HandOver({
        phase: attempt.clock.current(),
        phases: attempt.clock.timings(),
        logs: log.rest(),
        checkpoint: attempt.progress?.checkpoint() ?? null,
      })
      yield* untilReached(control.Release({ lease, ...(hasBegun ? { handOver } : {}) })).pipe(
        Effect.timeoutOption(handOverPatience),
        Effect.catchTag("ControlUnreachable", () => Effect.succeedNone),
        Effect.tap((told) =>
          Option.isSome(told)
            ? Effect.void
            : Effect.logWarning("A run could not be handed over; another node takes it when its lease expires"),
        ),
      )
    } else if (!Cause.hasInterrupts(exit.cause)) {
      yield* Effect.logError("A run ended unexpectedly", exit.cause)
    }
  })

  const start = Effect.fnUntraced(function* (claimed: ClaimedRun) {
    const { runId } = claimed.lease
    // An older attempt of ours that has not heard yet that its lease is gone.
    yield* stop(runId, "lost")
    const hasTurn = free > 0
    if (hasTurn) free--
    const work: Work = {
      claimed,
      hasTurn,
      fiber: undefined,
      stop: earlyCancels.delete(runId) ? "cancelled" : undefined,
    }
    active.set(runId, work)
    idle.closeUnsafe()
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

  // Runs that control has just given are begun in any case, also by a node that stops meanwhile: it hands them over then.
  const given = Effect.fnUntraced(function* (limit: number) {
    const ahead = limit - Math.min(limit, Math.max(0, free))
    const claimed = yield* Effect.raceFirst(
      Effect.interruptible(control.Claim({ node: config.node, limit, ahead })),
      Effect.interruptible(Effect.andThen(stopping.await, Effect.delay(Effect.succeed([]), claimGrace))),
    )
    yield* Effect.forEach(claimed, start, { discard: true })
    return claimed.length
  }, Effect.uninterruptible)

  const claim = Effect.gen(function* () {
    yield* go.await
    const most = averageHeldMs < quickMs ? config.slots * aheadPerSlot : 0
    const room = ahead.length <= most / 2 ? most - ahead.length : 0
    const limit = Math.min(free + room, config.slots * inHandPerSlot - active.size)
    if (!mayHaveWork || limit <= 0) {
      go.closeUnsafe()
      return
    }
    // Before asking: a wake that comes while control looks must not be lost.
    mayHaveWork = false
    if ((yield* given(limit)) === limit) look()
  }).pipe(
    Effect.catchCause((cause) => Effect.andThen(Effect.sync(look), Effect.failCause(cause))),
    Effect.forever,
    Effect.tapCause((cause) => Effect.logWarning("Runs could not be claimed", cause)),
    Effect.sandbox,
    Effect.retry(untilReconnected),
  )

  const signals = control.Signals({ node: config.node }).pipe(
    Stream.runForEach((signal) => (signal._tag === "Wake" ? Effect.sync(look) : stop(signal.runId, "cancelled"))),
    // A stream that ends is a connection that was lost.
    Effect.andThen(Effect.sleep("100 millis")),
    Effect.forever,
    Effect.tapCause((cause) => Effect.logWarning("Signals of the control role stopped", cause)),
    Effect.sandbox,
    Effect.retry(untilReconnected),
  )

  /** Gives back what did not end in time; what begins to end just now may do so. */
  const handOver = Effect.suspend(() =>
    Effect.forEach([...active.keys()], (runId) => stop(runId, "drained"), { discard: true }),
  ).pipe(Effect.andThen(idle.await))

  // The order is that of the stop, backwards: no new claims, then the runs in hand end, then leases and signals.
  yield* Effect.forkScoped(leases.keep)
  yield* Effect.forkScoped(signals)
  yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.sleep(safetyTick), Effect.sync(look))))
  yield* Effect.addFinalizer((exit) =>
    Effect.timeoutOption(idle.await, `${config.drainSeconds} seconds`).pipe(
      Effect.andThen(handOver),
      Effect.andThen(Scope.close(runs, exit)),
    ),
  )
  yield* Effect.forkScoped(claim)
  yield* Effect.addFinalizer(() => stopping.open)
})
