import { availableParallelism, hostname, totalmem } from "node:os"
import { Config, Context, Effect, Layer, Schema } from "effect"
import { parseBytes } from "./template/Setting.ts"

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
  /** Longest time of a run whose pipeline says nothing, in seconds. */
  readonly runTimeoutSeconds: number
  readonly qualityTimeoutSeconds: number
  /** How long a node that stops waits for its runs to end. Others take over what is left when its leases expire. */
  readonly drainSeconds: number
  /** Lines kept of one attempt's log. */
  readonly logMaxLines: number
  /** Characters kept of one line. */
  readonly logMaxMessage: number
}

const count = (name: string, fallback: number, least = 1) =>
  Config.schema(Schema.Int.check(Schema.isGreaterThanOrEqualTo(least)), name).pipe(Config.withDefault(fallback))

const size = Schema.String.check(
  Schema.makeFilter((text: string) => (parseBytes(text) === null ? "must be a size such as 512MB or 2GiB" : undefined)),
)
const bytes = (name: string, fallback: number) =>
  Config.schema(size, name).pipe(
    Config.map((text) => parseBytes(text) ?? fallback),
    Config.withDefault(fallback),
  )

const gibibyte = 1_073_741_824

const config = Config.all({
  slots: count("RAT_RUNNER_SLOTS", Math.max(2, availableParallelism())),
  threads: count("RAT_RUNNER_THREADS", Math.max(1, Math.min(4, availableParallelism()))),
  spillLimitBytes: bytes("RAT_RUNNER_SPILL_LIMIT", 10 * gibibyte),
  runTimeoutSeconds: count("RAT_RUN_TIMEOUT_SECONDS", 3600),
  qualityTimeoutSeconds: count("QUALITY_TEST_TIMEOUT_SECS", 60),
  drainSeconds: count("RAT_RUNNER_DRAIN_SECONDS", 10, 0),
  logMaxLines: count("RAT_RUN_LOG_MAX_LINES", 10_000),
  logMaxMessage: count("RAT_RUN_LOG_MAX_MESSAGE", 8_192),
})

export class RunnerConfig extends Context.Service<RunnerConfig, RunnerSettings>()("rat/runner/RunnerConfig") {
  /** `node` defaults to host name and process id. */
  static readonly layer = (options: { readonly slotFolder: string; readonly node?: string }) =>
    Layer.effect(
      RunnerConfig,
      Effect.gen(function* () {
        const settings = yield* config
        // Half of the machine's memory for all slots together, but no more than 2 GiB for each.
        const share = Math.min(2 * gibibyte, Math.floor(totalmem() / 2 / settings.slots))
        const memoryLimitBytes = yield* bytes("RAT_RUNNER_MEMORY_LIMIT", share)
        return RunnerConfig.of({
          node: options.node ?? `${hostname()}-${process.pid}`,
          slotFolder: options.slotFolder,
          memoryLimitBytes,
          ...settings,
        })
      }),
    )
}
