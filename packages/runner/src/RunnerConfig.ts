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
import { Config, Context, Effect, Layer } from "effect"

/** Names of the settings of `limits`, which messages name. */
export const runnerLimitSettings: LimitSettings = {
  memory: "RAT_RUNNER_PROCESS_MEMORY_LIMIT",
  cpu: "RAT_RUNNER_CPU_LIMIT_SECONDS",
  disk: "RAT_RUNNER_DISK_LIMIT",
}

/** Settings of the runner role, read once from the environment. */
export interface RunnerSettings {
  /** Name under which this node claims runs and is told to cancel them; two nodes must not share one. */
  readonly node: string
  /** Folder of the slots' own folders; on the file system of the file store, for hard links. */
  readonly slotFolder: string
  /** Runs that execute at the same time, each in a process of its own. */
  readonly slots: number
  /** Bytes that the engine of one slot may hold. */
  readonly memoryLimitBytes: number
  /** Bytes that one slot may spill to disk. */
  readonly spillLimitBytes: number
  /** Threads of one slot's engine. */
  readonly threads: number
  /** What one run may use of its process, measured from outside. */
  readonly limits: HolderLimits
  readonly recycling: SlotRecycling
  /** Longest time of a run whose pipeline says nothing, in seconds. */
  readonly runTimeoutSeconds: number
  readonly qualityTimeoutSeconds: number
  /** How long a node that stops waits for its runs to end. Others take over what is left when its leases expire. */
  readonly drainSeconds: number
  /** Lines kept of one attempt's log. */
  readonly logMaxLines: number
  /** Characters kept of one line. */
  readonly logMaxMessage: number
  /** How often a statement that takes long tells how far it is, in milliseconds. */
  readonly progressMs: number
}

/** Often enough to see that something happens, seldom enough for the log of a run that takes hours. */
const progressMs = 2_000

/** Most bytes that one run's engine gets when nobody says: 2 GiB. */
const mostMemoryShare = 2 * 2 ** 30

const config = Config.all({
  slots: wholeNumber("RAT_RUNNER_SLOTS", Math.max(2, availableParallelism())),
  threads: wholeNumber("RAT_RUNNER_THREADS", Math.max(1, Math.min(4, availableParallelism()))),
  spillLimitBytes: byteSize("RAT_RUNNER_SPILL_LIMIT", defaultSpillBytes),
  runTimeoutSeconds: wholeNumber("RAT_RUN_TIMEOUT_SECONDS", 3600),
  qualityTimeoutSeconds: wholeNumber("QUALITY_TEST_TIMEOUT_SECS", 60),
  drainSeconds: wholeNumber("RAT_RUNNER_DRAIN_SECONDS", 10, 0),
  logMaxLines: wholeNumber("RAT_RUN_LOG_MAX_LINES", 10_000),
  logMaxMessage: wholeNumber("RAT_RUN_LOG_MAX_MESSAGE", 8_192),
})

export class RunnerConfig extends Context.Service<RunnerConfig, RunnerSettings>()("rat/runner/RunnerConfig") {
  static readonly layer = (options: { readonly slotFolder: string; readonly node: string }) =>
    Layer.effect(
      RunnerConfig,
      Effect.gen(function* () {
        const settings = yield* config
        const share = Math.min(mostMemoryShare, memoryShare(settings.slots))
        const memoryLimitBytes = yield* byteSize("RAT_RUNNER_MEMORY_LIMIT", share)
        return RunnerConfig.of({
          node: options.node,
          slotFolder: options.slotFolder,
          memoryLimitBytes,
          limits: yield* holderLimits(runnerLimitSettings, memoryLimitBytes),
          recycling: yield* slotRecycling,
          progressMs,
          ...settings,
        })
      }),
    )
}
