import type { PipelineConfig } from "@rat/domain"
import { strategyProblems, strategyRules } from "@rat/lakehouse"
import type { Issue } from "./Issue.ts"

/** Where a setting was written. */
export interface Given {
  readonly source: "code" | "config"
  readonly line?: number
  readonly column?: number
}

/** The settings of a pipeline that strategies read. */
export const strategySettingsOf = (config: PipelineConfig) => ({
  uniqueKey: config.unique_key,
  partitionColumn: config.partition_column,
  dedup: config.dedup,
  scdValidFrom: config.scd_valid_from,
  scdValidTo: config.scd_valid_to,
  scdCloseMissing: config.scd_close_missing,
})

/**
 * Settings that do not fit the pipeline's strategy: those that it needs and nobody gave, and those that only another one reads.
 * Each at the place where it (or the strategy) was written.
 */
export const strategyIssues = (
  config: PipelineConfig,
  given: ReadonlyMap<string, Given>,
): ReadonlyArray<Issue & Pick<Given, "source">> => {
  const strategy = config.merge_strategy
  const chosen = given.get("merge_strategy") ?? given.get("unique_key") ?? { source: "code" as const }
  const foreign = Object.entries(strategyRules).flatMap(([name, rule]) =>
    name === strategy
      ? []
      : (rule?.own ?? []).flatMap((key) => {
          const place = given.get(key)
          return place === undefined
            ? []
            : [
                {
                  ...place,
                  code: "config.unused",
                  message: `${key} belongs to merge_strategy ${name}; this pipeline has ${strategy}, which does not read it. Remove it or change the strategy.`,
                },
              ]
        }),
  )
  return [
    ...strategyProblems(strategy, strategySettingsOf(config)).map((message) => ({
      ...chosen,
      code: "config.strategy",
      message,
    })),
    ...foreign,
  ]
}
