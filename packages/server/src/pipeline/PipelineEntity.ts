import { PipelineRpc, RoleUnavailable, RunId, StateUnavailable } from "@rat/domain"
import { Duration, Effect } from "effect"
import { Entity } from "effect/cluster"
import { SecureRandom } from "effect/crypto"
import { RunRepository } from "../run/RunRepository.ts"

/** The actor of one pipeline: the one place where its runs are accepted, so that its limits hold. */
export const PipelineEntity = Entity.fromRpcGroup("Pipeline", PipelineRpc)

/** Id of the actor that accepts a run: the pipeline's, or one per namespace for runs without a pipeline. */
const pipelineEntityId = (namespace: string, pipelineId: string | null): string => pipelineId ?? `noop:${namespace}`

/** How long a node with the role `control` is looked for: a dead one is replaced within two seconds when there is another. */
export const actorPatience = Duration.seconds(10)

export const noControl = new RoleUnavailable({
  role: "control",
  reason: `nobody answered within ${Duration.toSeconds(actorPatience)} s.`,
})

/**
 * Asks the actor that accepts a run. The run's id is chosen here: when the actor's node dies before it has answered, its
 * successor is asked again for the same run.
 */
export const makeSubmitter = Effect.map(
  PipelineEntity.client,
  (actor) => (submission: Omit<Parameters<ReturnType<typeof actor>["Submit"]>[0], "runId">) =>
    Effect.suspend(() =>
      actor(pipelineEntityId(submission.namespace, submission.pipelineId)).Submit({
        ...submission,
        runId: RunId.make(SecureRandom.uuidV7Unsafe()),
      }),
    ).pipe(Effect.timeoutOrElse({ duration: actorPatience, orElse: () => Effect.fail(noControl) })),
)

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
