import type { StrategySettings } from "./Strategy.ts"

/** What a strategy of our own demands and reads of a pipeline's settings. */
interface StrategyRule {
  /** Does not work without a merge key, or without a partition column. */
  readonly needs: "unique_key" | "partition_column" | null
  /** Settings that belong to this strategy alone: given to another one, they would have no effect. */
  readonly own: ReadonlyArray<string>
  /**
   * Whether a result that holds only what is new is right for it. The others read meaning into rows that are absent, or
   * replace what the result does not mention.
   */
  readonly isPartial: boolean
}

/** By name; strategies of plugins are in none of these and state their own rules. */
export const strategyRules: { readonly [Name in string]?: StrategyRule } = {
  full_refresh: { needs: null, own: [], isPartial: false },
  incremental: { needs: "unique_key", own: [], isPartial: true },
  append_only: { needs: null, own: ["dedup"], isPartial: true },
  delete_insert: { needs: "unique_key", own: [], isPartial: true },
  scd2: { needs: "unique_key", own: ["scd_valid_from", "scd_valid_to", "scd_close_missing"], isPartial: false },
  snapshot: { needs: "partition_column", own: ["partition_column"], isPartial: false },
  soft_delete: { needs: "unique_key", own: [], isPartial: false },
}

/** Name of the column that `soft_delete` adds. */
export const deletedAtColumn = "_deleted_at"

const lower = (name: string) => name.toLowerCase()

/** Why the settings do not fit a strategy of ours: one sentence for each problem, with the setting to give. */
export const strategyProblems = (strategy: string, settings: StrategySettings): ReadonlyArray<string> => {
  const problems: Array<string> = []
  const key = settings.uniqueKey
  const needs = strategyRules[strategy]?.needs
  if (needs === "unique_key" && key.length === 0) {
    problems.push(
      `merge_strategy ${strategy} needs unique_key: the column or columns that tell rows apart, for example \`unique_key: [id]\`.`,
    )
  }
  if (needs === "partition_column" && settings.partitionColumn === null) {
    problems.push(
      `merge_strategy ${strategy} needs partition_column: the column whose values in the result say which rows of the table are replaced, for example \`partition_column: day\`.`,
    )
  }
  const repeated = key.find((name, index) => key.findIndex((other) => lower(other) === lower(name)) !== index)
  if (repeated !== undefined) problems.push(`unique_key names "${repeated}" twice. Keep one of them.`)
  if (strategy === "append_only" && settings.dedup && key.length === 0) {
    problems.push("dedup: true needs unique_key: the column or columns that tell rows apart.")
  }
  const added =
    strategy === "scd2"
      ? [settings.scdValidFrom, settings.scdValidTo]
      : strategy === "soft_delete"
        ? [deletedAtColumn]
        : []
  if (added.length === 2 && lower(added[0]!) === lower(added[1]!)) {
    problems.push(`scd_valid_from and scd_valid_to are both "${added[0]}". Give them different names.`)
  }
  for (const name of key) {
    if (added.some((other) => lower(other) === lower(name))) {
      problems.push(`unique_key names "${name}", a column that merge_strategy ${strategy} adds itself. Use others.`)
    }
  }
  return problems
}
