import { type Lease, type LeaseLost, LogEntry, type LogLevel, type Phase } from "@rat/domain"
import { Clock, Deferred, Effect, Latch, Semaphore } from "effect"
import type { RunControl } from "../claim/RunControl.ts"

/** How long lines wait for company, and how many make a batch of their own. */
const windowMs = 50
const batchLines = 100

export interface RunLog {
  /** Adds a line. Costs nothing: lines are sent in batches, and nobody waits for them. */
  readonly add: (level: LogLevel, message: string) => void
  readonly enter: (phase: Phase) => void
  /** Sends what is waiting and returns when it is stored; a run's last lines must be there before its status. */
  readonly flush: Effect.Effect<void>
  /** Lines that were not sent, for a run whose lease has ended. Nothing is sent any more. */
  readonly rest: () => ReadonlyArray<LogEntry>
  /** Fails when control answers that the lease is gone. */
  readonly lost: Effect.Effect<never, LeaseLost>
}

/**
 * The log of one attempt. Sends phase and lines at most every 50 ms, so that a short run needs one report. Bounded by
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
  let phase: Phase | null = null
  let sentPhase: Phase | null = null
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

  const send = Effect.suspend(() => {
    if (isClosed || (lines.length === 0 && phase === sentPhase)) return Effect.void
    underway = lines
    lines = []
    sentPhase = phase
    return control.Report({ lease, phase, logs: underway }).pipe(
      Effect.tap(() =>
        Effect.sync(() => {
          underway = []
        }),
      ),
      Effect.catchTag("LeaseLost", (error) => Deferred.fail(lost, error)),
      // Control is out of reach: the lines go back and are tried again with the next batch.
      Effect.catchTag("RpcClientError", () =>
        Effect.sync(() => {
          lines = [...underway, ...lines]
          underway = []
        }),
      ),
    )
  })

  yield* Effect.forkScoped(
    Effect.forever(
      Effect.gen(function* () {
        yield* waiting.await
        if (lines.length < batchLines) yield* Effect.sleep(windowMs)
        waiting.closeUnsafe()
        yield* sending.withPermit(send)
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
    flush: sending.withPermit(send),
    rest: () => {
      isClosed = true
      // A report that was interrupted may have been stored or not; storing a line twice is no harm.
      return [...underway, ...lines]
    },
    lost: Deferred.await(lost),
  } satisfies RunLog as RunLog
})
