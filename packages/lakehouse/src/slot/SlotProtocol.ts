/**
 * What goes over the IPC channel between a node and a slot process (structured clone, so bytes travel as bytes).
 * One request at a time per slot; `cancel` is the exception and interrupts the one that runs.
 */
export type ToSlot =
  | { readonly kind: "call"; readonly id: number; readonly op: string; readonly args: unknown }
  | { readonly kind: "cancel"; readonly id: number }
  /** More of a streamed answer may be sent: flow control, so that a slow client holds back the slot. */
  | { readonly kind: "more"; readonly id: number }

export type FromSlot =
  | { readonly kind: "ready" }
  | { readonly kind: "done"; readonly id: number; readonly value: unknown }
  | { readonly kind: "failed"; readonly id: number; readonly error: SlotFailure }
  /** A piece of a streamed answer, or progress. */
  | { readonly kind: "event"; readonly id: number; readonly event: unknown }

/** An error as data. `code` is stable; `message` is for people. */
export interface SlotFailure {
  readonly code: string
  readonly message: string
  readonly details?: unknown
}

/** What a slot is told at its start, as JSON in the environment variable RAT_SLOT. */
export interface SlotLimits {
  /** Its private folder with `in/`, `out/` and `spill/`. */
  readonly folder: string
  /** See `SlotPoolOptions.standingFolders`. */
  readonly standingFolders?: ReadonlyArray<string>
  /** For the engine, in bytes. */
  readonly memoryLimitBytes: number
  readonly spillLimitBytes: number
  readonly threads: number
}

/** Codes of `SlotFailure` that the mechanism itself gives; operations add their own. */
export const slotCodes = {
  /** The holder cancelled; nothing is wrong. */
  cancelled: "cancelled",
  /** An unexpected error: a defect of the slot's code. */
  defect: "slot.defect",
  /** The holder went over a limit of its slot, and was stopped from outside. */
  memory: "limit.memory",
  cpu: "limit.cpu",
  disk: "limit.disk",
  time: "limit.time",
} as const

/** The operation that every slot has: forget the last holder. */
export const resetOp = "slot.reset"
