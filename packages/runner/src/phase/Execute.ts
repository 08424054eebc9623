import { join } from "node:path"
import { Column } from "@rat/domain"
import { planWrite, type Slot, type WritePlan } from "@rat/lakehouse"
import { Effect } from "effect"
import { RunnerConfig } from "../RunnerConfig.ts"
import type { CopyArgs, CopyProgress, CopyReply, ExecuteArgs, ExecuteReply } from "../sandbox/RunnerOps.ts"
import { databaseOf } from "../template/RelationName.ts"
import type { ActiveRun } from "./ActiveRun.ts"
import type { Code } from "./Code.ts"
import type { Resolved } from "./Resolve.ts"

export type Operation = "append" | "overwrite"

/** The result, in files of the slot's `out/` folder. */
export interface Executed {
  readonly operation: Operation
  readonly plan: WritePlan
  /** Rows of the engine's `return_stats`, one for each file. */
  readonly stats: CopyReply["files"]
}

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
  const operation: Operation = code.config.merge_strategy === "append_only" ? "append" : "overwrite"
  const plan = yield* planWrite({
    table: String(run.key),
    base: resolved.own.base?.metadata ?? null,
    operation: resolved.own.base === null ? "overwrite" : operation,
    columns: described.columns.map((column) => new Column(column)),
  })
  if (plan.missing.length > 0) {
    const names = plan.missing.map((name) => `"${name}"`).join(", ")
    run.log.add("warn", `The result lacks ${names} of the table: NULL in the rows of this run.`)
  }
  const target = join(slot.folder, "out", "result")
  let told = 0
  const { files } = yield* slot.call<CopyReply>(
    "copy",
    { sql: plan.copySql(described.query, target), progressMs: config.progressMs } satisfies CopyArgs,
    (event) => {
      const percent = Math.floor((event as CopyProgress).progress * 100)
      // DuckDB starts over for each part of a plan that it cannot foresee; only news is told.
      if (percent > told) run.log.add("info", `Executing: ${percent} %`)
      told = Math.max(told, percent)
    },
  )
  return { operation, plan, stats: files } satisfies Executed as Executed
})
