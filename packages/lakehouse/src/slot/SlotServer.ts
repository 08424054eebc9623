import { writeFileSync } from "node:fs"
import { emptyFolder } from "./EmptyFolder.ts"
import { type FromSlot, resetOp, type SlotFailure, type SlotLimits, slotCodes, type ToSlot } from "./SlotProtocol.ts"

/** Thrown by an operation: the holder gets it as `SlotOpFailed`, and the slot goes on. */
export class SlotError extends Error {
  readonly code: string
  readonly details: unknown
  constructor(code: string, message: string, details?: unknown) {
    super(message)
    this.code = code
    this.details = details
  }
}

export interface SlotContext {
  /** Sends a piece of the answer; resolves when the holder is ready for more. Rejects once the holder has cancelled. */
  readonly emit: (event: unknown) => Promise<void>
  /** Aborted when the holder cancels. */
  readonly signal: AbortSignal
}

/** What a slot can do. All of it runs in the slot's process. */
export interface SlotWork {
  readonly ops: Readonly<Record<string, (args: never, context: SlotContext) => Promise<unknown>>>
  /** Makes the running operation end soon. Called when the holder cancels; never blocks. */
  readonly interrupt: () => void
  /**
   * Forgets everything of the last holder. A rejection means that the slot cannot be trusted any more; its process is
   * then replaced.
   */
  readonly reset: () => Promise<void>
}

/** Pieces of a streamed answer that may be on their way at once. */
const window = 4

const repeatMs = 10

const cancelled = () => new SlotError(slotCodes.cancelled, "Cancelled.")

const failureOf = (error: unknown, signal: AbortSignal): SlotFailure => {
  // What an interrupted engine answers is not the operation's error but the echo of the cancel.
  if (signal.aborted) return { code: slotCodes.cancelled, message: "Cancelled." }
  if (error instanceof SlotError) return { code: error.code, message: error.message, details: error.details }
  return { code: slotCodes.defect, message: error instanceof Error ? error.message : String(error) }
}

/**
 * Empties the folders that the slot writes to; `in/` is its node's. The engine may still use what it spilled, so a slot that
 * spilled is not trusted.
 */
const emptyFolders = ({ folder, standingFolders = [] }: SlotLimits): void => {
  emptyFolder(folder, "out", standingFolders)
  if (emptyFolder(folder, "spill", []) > 0)
    throw new SlotError("slot.spilled", "The engine left files where it spills.")
}

interface Running {
  readonly id: number
  readonly abort: AbortController
  /** Pieces that may still be sent before `emit` has to wait. */
  credit: number
  wake: (() => void) | undefined
  interrupting: NodeJS.Timeout | undefined
}

/**
 * The main program of a slot process: makes its work, says `ready`, serves one operation at a time. The process ends
 * the moment its channel closes, so no slot outlives a killed node. Imports nothing heavy: slots start often.
 */
export const serveSlot = (make: (limits: SlotLimits) => Promise<SlotWork>): void => {
  const send = (message: FromSlot) => process.send?.(message)
  // SIGKILL, because an orderly exit would first wait for the engine's threads.
  process.on("disconnect", () => process.kill(process.pid, "SIGKILL"))
  // Ctrl-C reaches the whole process group; the node decides when its slots end.
  for (const signal of ["SIGINT", "SIGHUP"] as const) process.on(signal, () => {})
  try {
    // When memory runs out, the kernel should pick this process and not the node.
    writeFileSync("/proc/self/oom_score_adj", "1000")
  } catch {} // other systems have no such file

  let running: Running | undefined

  const emit = (current: Running) => async (event: unknown) => {
    if (current.abort.signal.aborted) throw cancelled()
    send({ kind: "event", id: current.id, event })
    current.credit--
    if (current.credit <= 0) await new Promise<void>((resolve) => (current.wake = resolve))
    if (current.abort.signal.aborted) throw cancelled()
  }

  const call = async (work: SlotWork, limits: SlotLimits, message: ToSlot & { readonly kind: "call" }) => {
    const current: Running = {
      id: message.id,
      abort: new AbortController(),
      credit: window,
      wake: undefined,
      interrupting: undefined,
    }
    running = current
    try {
      if (message.op === resetOp) {
        await work.reset()
        emptyFolders(limits)
        send({ kind: "done", id: message.id, value: undefined })
        return
      }
      const op = work.ops[message.op]
      if (op === undefined) throw new SlotError("slot.unknown_op", `This slot has no operation "${message.op}".`)
      const value = await op(message.args as never, { emit: emit(current), signal: current.abort.signal })
      if (current.abort.signal.aborted) throw cancelled()
      send({ kind: "done", id: message.id, value })
    } catch (error) {
      send({ kind: "failed", id: message.id, error: failureOf(error, current.abort.signal) })
    } finally {
      clearInterval(current.interrupting)
      if (running === current) running = undefined
    }
  }

  const limits = JSON.parse(process.env.RAT_SLOT ?? "null") as SlotLimits | null
  if (limits === null) throw new Error("A slot is started by its pool, which sets RAT_SLOT.")
  make(limits).then(
    (work) => {
      process.on("message", (message: ToSlot) => {
        if (message.kind === "call") void call(work, limits, message)
        else if (running?.id !== message.id)
          return // about an operation that has ended meanwhile
        else if (message.kind === "more") {
          running.credit++
          running.wake?.()
          running.wake = undefined
        } else {
          running.abort.abort()
          running.wake?.()
          work.interrupt()
          // An engine forgets an interrupt that comes between two statements, so it is repeated until the end.
          running.interrupting ??= setInterval(() => work.interrupt(), repeatMs)
        }
      })
      send({ kind: "ready" })
    },
    (error) => {
      process.stderr.write(`The slot could not start: ${error instanceof Error ? error.message : error}\n`)
      process.exit(1)
    },
  )
}
