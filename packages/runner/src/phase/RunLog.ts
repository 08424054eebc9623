import { type Lease, LeaseLost, LogEntry, type LogLevel, type Phase } from "@rat/domain"
import { Cause, Clock, Deferred, Effect, Latch, type Schema, Semaphore } from "effect"
import type { RunControl } from "../claim/RunControl.ts"

/** How long lines wait for company, and how many make a batch of their own. */
const windowMs = 100
const batchLines = 100
/** After a report that did not get through. */
const retryMs = 500

export interface RunLog {
  /** Adds a line. Costs nothing: lines are sent in batches, and nobody waits for them. */
  readonly add: (level: LogLevel, message: string) => void
  readonly enter: (phase: Phase) => void
  /**
   * Puts a checkpoint into the next report; it is made when that is sent (null: there is none), and a newer one takes its place until
   * then.
   */
  readonly checkpoint: (make: () => Schema.Json | null) => void
  /** Takes the waiting checkpoint back, unless an earlier one has been sent: that must not be the last word. */
  readonly spareCheckpoint: () => void
  /** Sends what is waiting and returns when it is stored; a run's last lines must be there before its status. */
  readonly flush: Effect.Effect<void>
  /**
   * Takes the last lines, to travel with the run's end: a report less. Where a checkpoint waits too, or many lines, all is sent
   * instead, and there are none.
   */
  readonly take: Effect.Effect<ReadonlyArray<LogEntry>>
  /** The run did not end: what was taken is sent with the next report. */
  readonly putBack: () => void
  /** Lines that were not sent, for a run whose lease has ended. Nothing is sent any more. */
  readonly rest: () => ReadonlyArray<LogEntry>
  /** Fails when control answers that the lease is gone. */
  readonly lost: Effect.Effect<never, LeaseLost>
}

/**
 * The log of one attempt. Sends phase, lines and checkpoint at most every 100 ms, so that a short run needs none. Bounded by
 * lines and by their length. The sender lives as long as the scope.
 */
export const makeRunLog = Effect.fnUntraced(function* (options: {
  readonly lease: Lease
  readonly control: RunControl["Service"]
  readonly maxLines: number
  readonly maxMessage: number
}) {
  const { lease, control } = options
  const lost = yield* Deferred.make<never, LeaseLost>()
  const waiting = yield* Latch.make(false)
  const sending = yield* Semaphore.make(1)
  const clock = yield* Clock.Clock
  let lines: Array<LogEntry> = []
  let underway: Array<LogEntry> = []
  let taken: Array<LogEntry> = []
  let phase: Phase | null = null
  let sentPhase: Phase | null = null
  let checkpoint: (() => Schema.Json | null) | null = null
  let hasSentCheckpoint = false
  let seq = 0
  let isFull = false
  let isClosed = false

  const push = (level: LogLevel, message: string) => {
    const entry = new LogEntry({
      seq: ++seq,
      timestamp: new Date(clock.currentTimeMillisUnsafe()).toISOString(),
      level,
      message: message.length > options.maxMessage ? `${message.slice(0, options.maxMessage)}… (line cut)` : message,
      ...(phase === null ? {} : { phase }),
    })
    lines.push(entry)
    waiting.openUnsafe()
  }

  /** Answers whether it got through. Control out of reach: what was to be told is tried again with the next report. */
  const send = Effect.suspend(() => {
    const made = checkpoint
    const json = made?.() ?? null
    if (isClosed || (lines.length === 0 && phase === sentPhase && json === null)) return Effect.succeed(true)
    underway = lines
    lines = []
    const sent = phase
    sentPhase = phase
    checkpoint = null
    return control.Report({ lease, phase: sent, logs: underway, ...(json === null ? {} : { checkpoint: json }) }).pipe(
      Effect.map(() => {
        underway = []
        hasSentCheckpoint ||= json !== null
        return true
      }),
      Effect.catchCause((cause) => {
        if (Cause.hasInterrupts(cause)) return Effect.failCause(cause as Cause.Cause<never>)
        const error = Cause.squash(cause)
        if (error instanceof LeaseLost) return Effect.as(Deferred.fail(lost, error), true)
        lines = [...underway, ...lines]
        underway = []
        sentPhase = null
        checkpoint ??= made
        return Effect.succeed(false)
      }),
    )
  })

  yield* Effect.forkScoped(
    Effect.forever(
      Effect.gen(function* () {
        yield* waiting.await
        if (lines.length < batchLines) yield* Effect.sleep(windowMs)
        waiting.closeUnsafe()
        if (yield* sending.withPermit(send)) return
        yield* Effect.sleep(retryMs)
        waiting.openUnsafe()
      }),
      { disableYield: true },
    ),
  )

  return {
    add: (level, message) => {
      if (isFull) return
      if (seq >= options.maxLines - 1) {
        isFull = true
        push("warn", `The log ends here: it has reached its limit of ${options.maxLines} lines.`)
      } else push(level, message)
    },
    enter: (entered) => {
      phase = entered
      waiting.openUnsafe()
    },
    checkpoint: (make) => {
      checkpoint = make
      waiting.openUnsafe()
    },
    spareCheckpoint: () => {
      if (!hasSentCheckpoint) checkpoint = null
    },
    flush: Effect.asVoid(sending.withPermit(send)),
    take: sending.withPermit(
      Effect.suspend((): Effect.Effect<ReadonlyArray<LogEntry>> => {
        if (isClosed || checkpoint !== null || lines.length > batchLines) return Effect.as(send, [])
        taken = lines
        lines = []
        sentPhase = phase
        return Effect.succeed(taken)
      }),
    ),
    putBack: () => {
      lines = [...taken, ...lines]
      taken = []
      sentPhase = null
      waiting.openUnsafe()
    },
    rest: () => {
      isClosed = true
      // A report that was interrupted may have been stored or not; storing a line twice is no harm.
      return [...taken, ...underway, ...lines]
    },
    lost: Deferred.await(lost),
  } satisfies RunLog as RunLog
})
