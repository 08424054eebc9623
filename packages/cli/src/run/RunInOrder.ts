import type { RatClient } from "@rat/client"
import { Deferred, Effect } from "effect"
import type { CliFailure } from "../failure/CliFailure.ts"
import { addressText, parseAddress } from "../option/PipelineArgument.ts"
import type { GivenParameters } from "../option/RunParameters.ts"
import { inOrder, type PipelineGraph } from "../project/PipelineGraph.ts"
import { type EndedRun, followToEnd, type RunListener, submitRun } from "./FollowRun.ts"

/** What happened to one of several pipelines. */
export type Step =
  | { readonly _tag: "Ran"; readonly pipeline: string; readonly ended: EndedRun }
  /** Something that it reads did not succeed. */
  | { readonly _tag: "Skipped"; readonly pipeline: string; readonly because: string }

export const isGood = (step: Step): boolean => step._tag === "Ran" && step.ended.run.status === "success"

/**
 * Runs the chosen pipelines (`layer.name`), each as soon as those that it reads have succeeded; independent ones at the
 * same time. `onStep` is called in order of their ends. Answers in order of dependence.
 */
export const runInOrder = Effect.fnUntraced(function* <R>(
  client: RatClient,
  graph: PipelineGraph,
  chosen: Iterable<string>,
  options: {
    readonly namespace: string
    readonly trigger: string
    readonly given?: GivenParameters
    readonly listener?: (pipeline: string) => RunListener
    readonly onStart?: (pipeline: string, runId: string) => Effect.Effect<void, never, R>
    readonly onStep: (step: Step) => Effect.Effect<void, never, R>
  },
) {
  const ordered = yield* inOrder(graph, chosen)
  const outcomes = new Map<string, Deferred.Deferred<Step>>()
  for (const pipeline of ordered) outcomes.set(pipeline, yield* Deferred.make<Step>())

  const runOne = Effect.fnUntraced(function* (pipeline: string) {
    for (const read of graph.get(pipeline) ?? []) {
      const upstream = outcomes.get(read)
      if (upstream === undefined) continue
      if (!isGood(yield* Deferred.await(upstream))) return { _tag: "Skipped", pipeline, because: read } as const
    }
    const address = yield* parseAddress(pipeline, options.namespace)
    const runId = yield* submitRun(client, address, options.trigger, options.given)
    if (options.onStart !== undefined) yield* options.onStart(addressText(address), runId)
    const ended = yield* followToEnd(client, runId, options.listener?.(pipeline))
    return { _tag: "Ran", pipeline, ended } as const
  })

  return yield* Effect.forEach(
    ordered,
    (pipeline): Effect.Effect<Step, CliFailure, R> =>
      Effect.gen(function* () {
        const step: Step = yield* runOne(pipeline)
        yield* options.onStep(step)
        yield* Deferred.succeed(outcomes.get(pipeline)!, step)
        return step
      }),
    { concurrency: "unbounded" },
  )
})
