import type { Answer, Plain, RatClient, Run } from "@rat/client"
import type { LogEntry, WireRunStatus } from "@rat/domain"
import { Effect } from "effect"
import { type CliFailure, failureOf } from "../failure/CliFailure.ts"
import { request } from "../option/Connection.ts"
import type { GivenParameters } from "../option/RunParameters.ts"
import type { Style } from "../output/Style.ts"

export type Quality = Answer<"runs", "quality">
export type QualityResult = Quality["results"][number]

/** A run that has ended, with its quality results. */
export interface EndedRun {
  readonly run: Run
  readonly quality: ReadonlyArray<QualityResult>
}

export interface RunListener {
  readonly onLog?: (entry: Plain<LogEntry>) => void
  readonly onStatus?: (status: WireRunStatus) => void
}

/** Waits until the run has ended, whatever its result. Interrupting it leaves the run alone. */
export const followToEnd = Effect.fnUntraced(function* (client: RatClient, runId: string, listener: RunListener = {}) {
  yield* Effect.tryPromise({
    try: async (signal) => {
      for await (const update of client.runs.follow(runId, { signal })) {
        if (update.type === "log") listener.onLog?.(update.entry)
        else listener.onStatus?.(update.status)
      }
    },
    catch: failureOf,
  })
  const run = yield* request((signal) => client.runs.get(runId, { signal }))
  const { results } = yield* request((signal) => client.runs.quality(runId, { signal }))
  return { run, quality: results } satisfies EndedRun
})

/** Submits a run of a pipeline; durable when this succeeds. */
export const submitRun = (
  client: RatClient,
  address: { readonly namespace: string; readonly layer: "bronze" | "silver" | "gold"; readonly name: string },
  trigger: string,
  given: GivenParameters = {},
): Effect.Effect<string, CliFailure> =>
  Effect.map(
    request((signal) =>
      client.runs.create(
        { namespace: address.namespace, layer: address.layer, pipeline: address.name, trigger, ...given },
        { signal },
      ),
    ),
    (answer) => answer.run_id,
  )

/** One log line for people: time of day, level unless it is info, text. */
export const logLine = (entry: Plain<LogEntry>, style: Style): string => {
  const time = style.dim(entry.timestamp.slice(11, 19))
  const level =
    entry.level === "info" ? "" : `${entry.level === "error" ? style.red("error") : style.yellow(entry.level)} `
  return `${time} ${level}${entry.message}`
}
