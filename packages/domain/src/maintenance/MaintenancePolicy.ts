import { Schema } from "effect"

const count = (least: number, most: number) => Schema.Int.check(Schema.isBetween({ minimum: least, maximum: most }))

/**
 * How a table is looked after. The keys are those of `maintenance:` in a pipeline's config.yaml and of the API; what is left
 * out takes the next source's value: pipeline or API over the server's defaults.
 */
const keys = {
  /** Whether it is looked after without being asked. */
  enabled: Schema.Boolean,
  /** Size that compaction makes files of, in bytes. */
  target_file_bytes: count(2 ** 16, 2 ** 40),
  /** Files of one partition, too small or too large, that compaction waits for. */
  min_input_files: count(2, 10_000),
  /** Delete files that concern one data file from which on it is rewritten without its deleted rows. */
  delete_file_threshold: count(1, 10_000),
  /** Share of a data file's rows that are deleted from which on it is rewritten. */
  delete_ratio: Schema.Finite.check(Schema.isBetween({ minimum: 0.0001, maximum: 1 })),
  /** Compaction sorts rows by the table's sort order, files that are not sorted yet included. */
  sort: Schema.Boolean,
  /** Snapshots of main older than this go, in hours. */
  snapshot_max_age_hours: count(0, 876_000),
  /** Newest snapshots that stay whatever their age. */
  min_snapshots: count(1, 100_000),
  /** Manifests (of data or of deletes) smaller than the target that are rewritten together. */
  min_manifests: count(2, 100_000),
  /** Commits to main after which the table is due. */
  every_commits: count(1, 1_000_000),
  /** A table that was changed at all is due after this many hours. */
  every_hours: count(1, 87_600),
} as const

export class MaintenancePolicy extends Schema.Class<MaintenancePolicy>("rat/domain/MaintenancePolicy")(keys) {}

/** A policy of which only some keys are said. */
export const MaintenancePolicyPart = Schema.Struct({
  enabled: Schema.optional(keys.enabled),
  target_file_bytes: Schema.optional(keys.target_file_bytes),
  min_input_files: Schema.optional(keys.min_input_files),
  delete_file_threshold: Schema.optional(keys.delete_file_threshold),
  delete_ratio: Schema.optional(keys.delete_ratio),
  sort: Schema.optional(keys.sort),
  snapshot_max_age_hours: Schema.optional(keys.snapshot_max_age_hours),
  min_snapshots: Schema.optional(keys.min_snapshots),
  min_manifests: Schema.optional(keys.min_manifests),
  every_commits: Schema.optional(keys.every_commits),
  every_hours: Schema.optional(keys.every_hours),
})
export type MaintenancePolicyPart = typeof MaintenancePolicyPart.Type

export const maintenancePolicyKeys = Object.keys(keys) as ReadonlyArray<keyof typeof keys>

/** The server's defaults where no setting says otherwise. */
export const defaultMaintenancePolicy = new MaintenancePolicy({
  enabled: true,
  target_file_bytes: 256 * 2 ** 20,
  min_input_files: 5,
  delete_file_threshold: 4,
  delete_ratio: 0.1,
  sort: false,
  snapshot_max_age_hours: 5 * 24,
  min_snapshots: 10,
  min_manifests: 20,
  every_commits: 50,
  every_hours: 24,
})

/** Later parts win, key by key. */
export const maintenancePolicyOf = (
  defaults: MaintenancePolicy,
  ...parts: ReadonlyArray<MaintenancePolicyPart | null>
): MaintenancePolicy => {
  const said = parts.map((part) =>
    Object.fromEntries(Object.entries(part ?? {}).filter(([, value]) => value !== undefined)),
  )
  return new MaintenancePolicy(Object.assign({}, defaults, ...said))
}
