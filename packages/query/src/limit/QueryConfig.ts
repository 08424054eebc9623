import { availableParallelism } from "node:os"
import {
  byteSize,
  defaultSpillBytes,
  type HolderLimits,
  holderLimits,
  type LimitSettings,
  memoryShare,
  type SlotRecycling,
  slotRecycling,
  wholeNumber,
} from "@rat/lakehouse"
import { Context, Effect, Layer } from "effect"

/** Names of the settings of `limits`, which messages name. */
export const queryLimitSettings: LimitSettings = {
  memory: "RAT_QUERY_PROCESS_MEMORY_LIMIT",
  cpu: "RAT_QUERY_CPU_LIMIT_SECONDS",
  disk: "RAT_QUERY_DISK_LIMIT",
}

/** Settings of the query role, read once from the environment. */
export interface QuerySettings {
  /** Folder of the slots' own folders; on the file system of the file store, for hard links. */
  readonly slotFolder: string
  /** Queries that execute at the same time, each in a process of its own (RAT_QUERY_SLOTS, default 2). */
  readonly slots: number
  /** Queries that may wait for a slot before more are refused with 429 (RAT_QUERY_MAX_WAITING, default 64). */
  readonly maxWaiting: number
  /** Bytes that the engine of one query may hold (RAT_QUERY_MEMORY_LIMIT). Default: half of the memory for all slots. */
  readonly memoryLimitBytes: number
  /** Bytes that one query may spill to disk, and the largest Parquet result (RAT_QUERY_SPILL_LIMIT, default 10 GiB). */
  readonly spillLimitBytes: number
  /** Threads of one query (RAT_QUERY_THREADS, default: all cores). */
  readonly threads: number
  /** Longest time of a query from its arrival to its last byte, in milliseconds (RAT_QUERY_TIMEOUT_MS, default 60,000). */
  readonly timeoutMs: number
  /** What one query may use of its process, measured from outside (RAT_QUERY_PROCESS_MEMORY_LIMIT, _CPU_LIMIT_SECONDS, _DISK_LIMIT). */
  readonly limits: HolderLimits
  readonly recycling: SlotRecycling
}

export class QueryConfig extends Context.Service<QueryConfig, QuerySettings>()("rat/query/limit/QueryConfig") {
  static readonly layer = (options: { readonly slotFolder: string }) =>
    Layer.effect(
      QueryConfig,
      Effect.gen(function* () {
        const slots = yield* wholeNumber("RAT_QUERY_SLOTS", 2)
        const memoryLimitBytes = yield* byteSize("RAT_QUERY_MEMORY_LIMIT", memoryShare(slots))
        return QueryConfig.of({
          slotFolder: options.slotFolder,
          slots,
          maxWaiting: yield* wholeNumber("RAT_QUERY_MAX_WAITING", 64, 0),
          memoryLimitBytes,
          limits: yield* holderLimits(queryLimitSettings, memoryLimitBytes),
          recycling: yield* slotRecycling,
          spillLimitBytes: yield* byteSize("RAT_QUERY_SPILL_LIMIT", defaultSpillBytes),
          threads: yield* wholeNumber("RAT_QUERY_THREADS", availableParallelism()),
          timeoutMs: yield* wholeNumber("RAT_QUERY_TIMEOUT_MS", 60_000),
        })
      }),
    )
}
