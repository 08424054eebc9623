import { type Config, Context, Effect, Layer, Schema, type Scope, type Stream } from "effect"
import type { HolderLimits, LimitSettings } from "./SlotLimit.ts"
import { observeSlots } from "./SlotMetrics.ts"
import { slotWall } from "./SlotSettings.ts"
import { findWall, isClosed, type WallPart } from "./SlotWall.ts"
import { makeWarmPool } from "./WarmPool.ts"

/**
 * The operation failed: by what it was to do, or because its holder went over a limit (`limit.memory`, `limit.cpu`,
 * `limit.disk`, `limit.time`), which is not to be tried again. After a limit every further operation of the holder fails.
 */
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

/** The process died (a crash, killed from outside or by the kernel for want of memory); it is replaced. Nothing else was touched. */
export class SlotDied extends Schema.TaggedError<SlotDied>()("SlotDied", {
  slot: Schema.String,
  /** `SIGSEGV, it crashed`, `exit code 1`, … */
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
  /** Process id, as this process sees it; undefined when it has none (yet). */
  readonly pid: number | undefined
  /** Private folder of the slot: `in/` (hard links of what may be read; the slot cannot write there), `out/` (what it writes), `spill/`. */
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
    /** Parts of the wall around the processes that stand; see `SlotWall`. */
    readonly wall: ReadonlyArray<WallPart>
    /** Why processes cannot start at the moment; null when they can. */
    readonly problem: string | null
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
  /** What a holder may use, measured from outside; names of the settings for messages. */
  readonly limits?: HolderLimits
  readonly limitSettings?: Partial<LimitSettings>
  /** Processes that are ready beyond `size`, so that nobody waits for one that is being replaced. */
  readonly spares?: number
  /** The processes start with the first holder and end when there was none for so long. */
  readonly idleMs?: number
  /** Longest wait for a slot before `SlotsBusy`; without it one waits for as long as it takes. */
  readonly maxWaitMs?: number
  /** A slot is replaced after so many holders, against slow leaks. */
  readonly recycleAfter: number
  /** … and after this age, and when it holds so much more memory between holders than at its start. */
  readonly recycleAfterMs?: number
  readonly recycleGrowthBytes?: number
  /**
   * Folders below `in` and `out` (`in/data`) that are there for every holder, empty. Making and removing them for each would
   * be a large part of a small run: file systems are slow at giving out inodes that have just been freed.
   */
  readonly standingFolders?: ReadonlyArray<string>
  /** Operations that leave nothing behind: a slot that executed no other goes to its next holder without a reset. */
  readonly harmlessOps?: ReadonlyArray<string>
  /** How long a cancelled operation may take to stop before its process is killed. */
  readonly cancelGraceMs: number
}

/** `RAT_SLOT_WALL=require`, and this machine cannot keep slots from the network and from files of others. */
export class SlotWallMissing extends Schema.TaggedError<SlotWallMissing>()("SlotWallMissing", {
  stands: Schema.Array(Schema.String),
  missing: Schema.Array(Schema.String),
}) {
  override get message() {
    const stands = this.stands.length === 0 ? "nothing" : this.stands.join(", ")
    return `RAT_SLOT_WALL is "require", but slot processes cannot be kept from the network and from files here. What stands: ${stands}. What does not: ${this.missing.join("; ")}. Give the server CAP_SYS_ADMIN or user namespaces, or a kernel with Landlock and the program perl; or set RAT_SLOT_WALL=auto.`
  }
}

/** Makes pools; both runner and query use this one mechanism. */
export class SlotPools extends Context.Service<
  SlotPools,
  { readonly make: (options: SlotPoolOptions) => Effect.Effect<SlotPool, never, Scope.Scope> }
>()("rat/lakehouse/slot/SlotPools") {
  static readonly layer: Layer.Layer<SlotPools, Config.ConfigError | SlotWallMissing> = Layer.effect(
    SlotPools,
    Effect.gen(function* () {
      const mode = yield* slotWall
      if (mode === "require") {
        const wall = yield* Effect.promise(() => findWall(mode))
        if (!isClosed(wall)) return yield* new SlotWallMissing({ stands: wall.parts, missing: wall.missing })
      }
      const run = Effect.runForkWith(yield* Effect.context<never>())
      let isTold = false
      const find = async (folder: string) => {
        const wall = await findWall(mode, folder)
        if (!isTold)
          run(
            Effect.logInfo("The wall around slot processes was looked at.").pipe(
              Effect.annotateLogs({ mode, stands: wall.parts, missing: wall.missing }),
            ),
          )
        isTold = true
        return wall
      }
      return SlotPools.of({
        make: (options) =>
          Effect.tap(makeWarmPool(options, { mode, find }), (pool) => observeSlots(options.name, pool)),
      })
    }),
  )
}
