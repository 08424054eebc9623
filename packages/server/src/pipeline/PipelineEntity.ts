import { PipelineRpc, StateUnavailable } from "@rat/domain"
import { Effect } from "effect"
import { Entity } from "effect/cluster"
import { RunRepository } from "../run/RunRepository.ts"

/** The actor of one pipeline: the one place where its runs are accepted, so that its limits hold. */
export const PipelineEntity = Entity.fromRpcGroup("Pipeline", PipelineRpc)

/** Id of the actor that accepts a run: the pipeline's, or one per namespace for runs without a pipeline. */
export const pipelineEntityId = (namespace: string, pipelineId: string | null): string =>
  pipelineId ?? `noop:${namespace}`

export const PipelineEntityLayer = PipelineEntity.toLayer(
  Effect.gen(function* () {
    const { entityId } = yield* Entity.CurrentAddress
    const runs = yield* RunRepository

    return PipelineEntity.of({
      Submit: ({ payload }) =>
        runs
          .submit(payload)
          .pipe(
            Effect.catchTag("SqlError", (error) =>
              Effect.logWarning("The queue cannot be reached", error).pipe(
                Effect.andThen(Effect.fail(new StateUnavailable({ entity: `Pipeline/${entityId}` }))),
              ),
            ),
          ),
    })
  }),
  // The repository accepts in groups, one group after the other; the actor must not make them groups of one.
  { concurrency: "unbounded", maxIdleTime: "2 minutes", mailboxCapacity: 1024, disableFatalDefects: true },
)
