import { join } from "node:path"
import { Column } from "@rat/domain"
import {
  copySql,
  defaultFileSizeBytes,
  pipelinePolicyUpdates,
  planWrite,
  type Slot,
  type Strategy,
  type StrategySettings,
  stagedQuery,
  strategies,
  timestampSql,
  type WritePlan,
} from "@rat/lakehouse"
import { Clock, Effect } from "effect"
import { RunnerConfig } from "../RunnerConfig.ts"
import type { CopyArgs, CopyProgress, CopyReply, ExecuteArgs, ExecuteReply } from "../sandbox/RunnerOps.ts"
import { resultFolder } from "../sandbox/SlotFolders.ts"
import { databaseOf } from "../template/RelationName.ts"
import { strategySettingsOf } from "../template/StrategySettings.ts"
import type { ActiveRun } from "./ActiveRun.ts"
import type { Code } from "./Code.ts"
import type { Resolved } from "./Resolve.ts"
import { RunFailed } from "./RunFailed.ts"

/** The result, in files of the slot's `out/` folder. */
export interface Executed {
  readonly plan: WritePlan
  readonly strategy: Strategy
  readonly settings: StrategySettings
  /** The moment of the run's merge, as SQL. */
  readonly now: string
  /** Rows of the engine's `return_stats`, one for each file. */
  readonly stats: CopyReply["files"]
}

/**
 * Pipelines, by their settings as `Codes` keeps them, whose last result was there long before its progress would have been told:
 * asking the engine how far it is costs a tenth of a small run.
 */
const quick = new WeakSet<Code["config"]>()
/** Part of the time until progress is told for the first time. */
const quickShare = 0.25

/** Runs the statements; the rows of the last one stream into Parquet files, so that no result has to fit into memory. */
export const execute = Effect.fn("Execute.execute")(function* (
  run: ActiveRun,
  code: Code,
  resolved: Resolved,
  slot: Slot,
) {
  const config = yield* RunnerConfig
  run.log.add("info", "Detected sql pipeline")
  const described = yield* slot.call<ExecuteReply>("execute", {
    home: databaseOf(run.key.namespace),
    views: resolved.views,
    memoryLimitBytes: code.config.memory_limit_bytes,
  } satisfies ExecuteArgs)
  const strategy = strategies.get(code.config.merge_strategy)
  if (strategy === undefined) {
    return yield* new RunFailed({
      code: "config.merge_strategy",
      reason: `There is no merge strategy "${code.config.merge_strategy}". Known here: ${strategies.names().join(", ")}.`,
    })
  }
  const settings = strategySettingsOf(code.config)
  const added = strategy.addedColumns(settings)
  const now = timestampSql(yield* Clock.currentTimeMillis)
  const planned = yield* planWrite({
    table: String(run.key),
    base: resolved.own.base?.metadata ?? null,
    replaces: strategy.name === "full_refresh",
    columns: described.columns.map((column) => new Column(column)),
    added,
    evolution: {
      onChange: code.config.on_schema_change,
      allowDestructive: code.config.allow_destructive_changes,
      renames: code.config.renamed_columns,
      defaults: code.config.column_defaults,
      identifier: code.config.unique_key,
      docs: code.config.column_descriptions,
    },
    formatVersion: code.config.format_version,
  })
  const policy = pipelinePolicyUpdates(resolved.own.base?.metadata ?? null, code.config.maintenance)
  const plan: WritePlan = { ...planned, updates: [...planned.updates, ...policy] }
  for (const change of plan.changes) run.log.add("info", `Table ${run.key}: ${change}.`)
  if (plan.missing.length > 0) {
    const names = plan.missing.map((name) => `"${name}"`).join(", ")
    run.log.add("warn", `The result lacks ${names} of the table: NULL in the rows of this run.`)
  }
  const target = join(slot.folder, resultFolder)
  let told = 0
  const begunAt = yield* Clock.currentTimeMillis
  const { files } = yield* slot.call<CopyReply>(
    "copy",
    {
      sql: copySql({
        query: stagedQuery(plan.select(described.query), plan.schema, added, now),
        schema: plan.schema,
        target,
        fileSizeBytes: code.config.target_file_size_bytes ?? defaultFileSizeBytes,
      }),
      progressMs: quick.has(code.config) ? null : config.progressMs,
    } satisfies CopyArgs,
    (event) => {
      const percent = Math.floor((event as CopyProgress).progress * 100)
      // DuckDB starts over for each part of a plan that it cannot foresee; only news is told.
      if (percent > told) run.log.add("info", `Executing: ${percent} %`)
      told = Math.max(told, percent)
    },
  )
  const isQuick = (yield* Clock.currentTimeMillis) - begunAt < config.progressMs * quickShare
  quick[isQuick ? "add" : "delete"](code.config)
  return { plan, strategy, settings, now, stats: files } satisfies Executed as Executed
})
