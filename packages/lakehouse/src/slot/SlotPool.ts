import { Context, Effect, Layer, Schema, type Scope, type Stream } from "effect"
import { observeSlots } from "./SlotMetrics.ts"
import { makeWarmPool } from "./WarmPool.ts"

/** The operation failed inside the slot; the slot itself is well. */
export class SlotOpFailed extends Schema.TaggedError<SlotOpFailed>()("SlotOpFailed", {
  op: Schema.String,
  code: Schema.String,
  reason: Schema.String,
  details: Schema.optional(Schema.Unknown),
}) {
  override get message() {
    return this.reason
  }
}

/** The process died (crash, out of memory, killed); it is replaced. Nothing else was touched. */
export class SlotDied extends Schema.TaggedError<SlotDied>()("SlotDied", {
  slot: Schema.String,
  /** `SIGSEGV`, `exit code 1`, … */
  how: Schema.String,
}) {
  override get message() {
    return `The process that executed this (slot ${this.slot}) ended unexpectedly: ${this.how}.`
  }
}

/** No slot is free and the waiting line is full. */
export class SlotsBusy extends Schema.TaggedError<SlotsBusy>()("SlotsBusy", {
  pool: Schema.String,
  waiting: Schema.Int,
}) {
  override get message() {
    return `All slots of ${this.pool} are taken and ${this.waiting} callers are waiting.`
  }
}

/** One slot, held by one caller until the scope closes. */
export interface Slot {
  readonly id: string
  /** Private folder of the slot: `in/` (hard links of what may be read), `out/` (what it writes), `spill/`. */
  readonly folder: string
  /** Interrupting the effect cancels the operation in the slot; a slot that does not stop in time is killed and replaced. */
  readonly call: <A>(
    op: string,
    args: unknown,
    /** Gets what the operation tells while it runs, such as progress. */
    onEvent?: (event: unknown) => void,
  ) => Effect.Effect<A, SlotOpFailed | SlotDied>
  /** As `call`, for operations that answer in pieces. Ending the stream early cancels the operation. */
  readonly stream: <A>(op: string, args: unknown) => Stream.Stream<A, SlotOpFailed | SlotDied>
}

export interface SlotPool {
  /** Waits for a free slot (longest waiting first). The folder is empty and the slot locked down when it is handed over. */
  readonly acquire: Effect.Effect<Slot, SlotsBusy, Scope.Scope>
  readonly stats: Effect.Effect<{
    readonly size: number
    readonly free: number
    readonly waiting: number
    readonly replaced: number
  }>
}

export interface SlotPoolOptions {
  readonly name: string
  readonly size: number
  /** Callers that may wait before `SlotsBusy`. */
  readonly maxWaiting: number
  /** Module that the process runs: calls `serveSlot` with its operations. */
  readonly entry: URL
  /** Folder below which the pool has one of its name, and in it each slot its own; must lie on the same file system as the file store, for hard links. */
  readonly folder: string
  /** DuckDB's memory limit of one slot, in bytes. */
  readonly memoryLimitBytes: number
  /** Most bytes a slot may spill to disk. */
  readonly spillLimitBytes: number
  readonly threads: number
  /** A slot is replaced after so many holders, against slow leaks. */
  readonly recycleAfter: number
  /** Operations that leave nothing behind: a slot that executed no other goes to its next holder without a reset. */
  readonly harmlessOps?: ReadonlyArray<string>
  /** How long a cancelled operation may take to stop before its process is killed. */
  readonly cancelGraceMs: number
}

/** Makes pools; both runner and query use this one mechanism. */
export class SlotPools extends Context.Service<
  SlotPools,
  { readonly make: (options: SlotPoolOptions) => Effect.Effect<SlotPool, never, Scope.Scope> }
>()("rat/lakehouse/slot/SlotPools") {
  static readonly layer = Layer.succeed(SlotPools, {
    make: (options) => Effect.tap(makeWarmPool(options), (pool) => observeSlots(options.name, pool)),
  })
}
