import { wholeNumber } from "@rat/lakehouse"
import { Config, Context, Duration, Layer } from "effect"

/** Limits and times of the queue, of attempts and of what is kept. Names are environment variables. */
const config = Config.all({
  /** Pending runs of one pipeline; one more is refused. */
  maxPendingPerPipeline: wholeNumber("RAT_MAX_PENDING_PER_PIPELINE", 10),
  maxPendingPerNamespace: wholeNumber("RAT_MAX_PENDING_PER_NAMESPACE", 1000),
  /** Runs of one namespace that execute at the same time, on all nodes together; the others wait. */
  maxRunningPerNamespace: wholeNumber("RAT_MAX_RUNNING_PER_NAMESPACE", 1000, 0),
  /** Time after which a silent attempt counts as lost. Holders renew every third of it. */
  leaseSeconds: wholeNumber("RAT_LEASE_SECONDS", 10),
  /** Attempts of a run whose attempts are lost (crash, kill, lost network), the first included. */
  maxAttempts: wholeNumber("RAT_MAX_ATTEMPTS", 3),
  /** Attempts that follow ones that met an outage (object store, catalog), each of which has waited for as long as it may take. */
  maxOutageRetries: wholeNumber("RAT_MAX_OUTAGE_RETRIES", 5, 0),
  /** How long the branch of a failed or cancelled run can be read. */
  branchHours: wholeNumber("RAT_BRANCH_HOURS", 24, 0),
  /** How long main's replaced versions and dropped tables can be gone back to; what a branch or tag sees stays longer. */
  catalogRetentionHours: wholeNumber("RAT_CATALOG_RETENTION_HOURS", 168, 1),
  /** Lines kept of one run's log; what comes after them is dropped. */
  maxLogLines: wholeNumber("RAT_MAX_LOG_LINES", 10_000),
  runsMaxPerPipeline: wholeNumber("RAT_RUNS_MAX_PER_PIPELINE", 100),
  runsMaxAgeDays: wholeNumber("RAT_RUNS_MAX_AGE_DAYS", 90, 0),
  logsMaxAgeDays: wholeNumber("RAT_LOGS_MAX_AGE_DAYS", 30, 0),
  /** How long the attempts before a run's last one are kept. The last one stays as long as its run. */
  attemptsMaxAgeDays: wholeNumber("RAT_ATTEMPTS_MAX_AGE_DAYS", 30, 0),
  qualityResultsMaxPerTest: wholeNumber("RAT_QUALITY_RESULTS_MAX_PER_TEST", 100),
  softDeletePurgeDays: wholeNumber("RAT_SOFT_DELETE_PURGE_DAYS", 30, 0),
  retentionIntervalMinutes: wholeNumber("RAT_RETENTION_INTERVAL_MINUTES", 15),
  /** Open log streams of one client address and of this node, and the life of one. */
  streamsPerClient: wholeNumber("RAT_STREAMS_PER_CLIENT", 10),
  streamsPerNode: wholeNumber("RAT_STREAMS_PER_NODE", 1000),
  streamMaxLife: Config.Duration("RAT_STREAM_MAX_LIFE").pipe(Config.withDefault(Duration.minutes(30))),
  streamHeartbeat: Config.Duration("RAT_STREAM_HEARTBEAT").pipe(Config.withDefault(Duration.seconds(15))),
})

export type RunSettingsShape = Config.Success<typeof config>

export class RunSettings extends Context.Service<RunSettings, RunSettingsShape>()("rat/server/run/RunSettings") {
  static readonly layer = Layer.effect(RunSettings, config)

  /** The settings of the environment with some of them replaced. */
  static readonly layerWith = (some: Partial<RunSettingsShape>) =>
    Layer.effect(
      RunSettings,
      Config.map(config, (all) => ({ ...all, ...some })),
    )
}
