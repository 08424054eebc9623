import { Cause, Effect, Queue, Stream } from "effect"
import { type Slot, SlotDied, SlotOpFailed } from "./SlotPool.ts"
import type { SlotProcess } from "./SlotProcess.ts"

type Failure = SlotOpFailed | SlotDied

// Errors of a slot come from another process: a stack of this one explains nothing and costs more than the call.
const noStack = { captureStackTrace: false }

/** The holder's view of a process: operations as effects and streams. */
export const heldSlot = (process: SlotProcess, cancelGraceMs: number): Slot => {
  /** Starts an operation. `stop` cancels it and completes when it has ended, by itself or by its process's death. */
  const begin = (op: string, args: unknown, event: (event: unknown) => void, end: (outcome: Outcome) => void) => {
    let hasEnded = false
    let onEnd: (() => void) | undefined
    const settle = (outcome: Outcome) => {
      hasEnded = true
      end(outcome)
      onEnd?.()
    }
    const id = process.start(op, args, {
      event,
      done: (value) => settle({ value }),
      failed: (error) =>
        // What comes out of a slot is not trusted to have any form.
        settle({
          error: new SlotOpFailed({
            op,
            code: String(error?.code),
            reason: String(error?.message),
            details: error?.details,
          }),
        }),
      died: (how) => settle({ error: new SlotDied({ slot: process.id, how }) }),
    })
    const stop = Effect.callback<void>((resume) => {
      if (hasEnded) return resume(Effect.void)
      onEnd = () => resume(Effect.void)
      process.cancel(id, cancelGraceMs)
    })
    return { id, stop }
  }

  return {
    id: process.id,
    get pid() {
      return process.pid
    },
    get folder() {
      // Who knows it may put files there, and those must be gone for the next holder.
      process.used = true
      return process.folder
    },
    call: <A>(op: string, args: unknown, onEvent?: (event: unknown) => void) =>
      Effect.callback<A, Failure>((resume) => {
        const { id, stop } = begin(
          op,
          args,
          (event) => {
            process.more(id) // news must not hold the operation back
            onEvent?.(event)
          },
          (outcome) => resume("error" in outcome ? Effect.fail(outcome.error) : Effect.succeed(outcome.value as A)),
        )
        return stop
      }).pipe(Effect.withSpan(`Slot.${op}`, { attributes: { slot: process.id } }, noStack)),
    stream: <A>(op: string, args: unknown) =>
      Stream.suspend(() => {
        let id = 0
        return Stream.callback<A, Failure>(
          (queue) =>
            Effect.suspend(() => {
              const operation = begin(
                op,
                args,
                (event) => Queue.offerUnsafe(queue, event as A),
                (outcome) => {
                  if ("error" in outcome) Queue.failCauseUnsafe(queue, Cause.fail(outcome.error))
                  else Queue.endUnsafe(queue)
                },
              )
              id = operation.id
              return Effect.addFinalizer(() => operation.stop)
            }),
          // The queue is bounded by the protocol's credit, which is given back only when a piece has been taken.
        ).pipe(Stream.tap(() => Effect.sync(() => process.more(id))))
      }).pipe(Stream.withSpan(`Slot.${op}`, { attributes: { slot: process.id }, captureStackTrace: false })),
  }
}

type Outcome = { readonly value: unknown } | { readonly error: Failure }
