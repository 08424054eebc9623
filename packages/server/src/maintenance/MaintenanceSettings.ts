import { defaultMaintenancePolicy, MaintenancePolicy } from "@rat/domain"
import { byteSize, wholeNumber } from "@rat/lakehouse"
import { Config, Context, Layer } from "effect"

const defaults = defaultMaintenancePolicy

/** When tables are looked after, and what they get where nobody says otherwise. */
const config = Config.all({
  /** Whether it happens without being asked. */
  isOn: Config.Boolean("RAT_MAINTENANCE").pipe(Config.withDefault(true)),
  intervalSeconds: wholeNumber("RAT_MAINTENANCE_INTERVAL_SECONDS", 60),
  /** Tables that are looked after at the same time by this node. */
  concurrency: wholeNumber("RAT_MAINTENANCE_CONCURRENCY", 1),
  /** A node that is silent for so long has lost its run. */
  leaseSeconds: wholeNumber("RAT_MAINTENANCE_LEASE_SECONDS", 30),
  historyDays: wholeNumber("RAT_MAINTENANCE_HISTORY_DAYS", 90),
  /** How long nothing has pointed to an object before it goes. Longer than anybody writes, reads or stages. */
  orphanGraceHours: wholeNumber("RAT_ORPHAN_GRACE_HOURS", 24),
  orphanIntervalHours: wholeNumber("RAT_ORPHAN_INTERVAL_HOURS", 24),
  targetFileBytes: byteSize("RAT_TARGET_FILE_SIZE", defaults.target_file_bytes),
  everyCommits: wholeNumber("RAT_MAINTENANCE_EVERY_COMMITS", defaults.every_commits),
  everyHours: wholeNumber("RAT_MAINTENANCE_EVERY_HOURS", defaults.every_hours),
  snapshotMaxAgeHours: wholeNumber("RAT_SNAPSHOT_MAX_AGE_HOURS", defaults.snapshot_max_age_hours, 0),
  minSnapshots: wholeNumber("RAT_MIN_SNAPSHOTS", defaults.min_snapshots),
})

type Read = Config.Success<typeof config>
export type MaintenanceSettingsShape = Read & { readonly policy: MaintenancePolicy }

const withPolicy = (read: Read): MaintenanceSettingsShape => ({
  ...read,
  policy: new MaintenancePolicy({
    ...defaults,
    target_file_bytes: read.targetFileBytes,
    every_commits: read.everyCommits,
    every_hours: read.everyHours,
    snapshot_max_age_hours: read.snapshotMaxAgeHours,
    min_snapshots: read.minSnapshots,
  }),
})

export class MaintenanceSettings extends Context.Service<MaintenanceSettings, MaintenanceSettingsShape>()(
  "rat/server/maintenance/MaintenanceSettings",
) {
  static readonly layer = Layer.effect(MaintenanceSettings, Config.map(config, withPolicy))

  /** The settings of the environment with some of them replaced. */
  static readonly layerWith = (some: Partial<Read>) =>
    Layer.effect(
      MaintenanceSettings,
      Config.map(config, (all) => withPolicy({ ...all, ...some })),
    )
}
