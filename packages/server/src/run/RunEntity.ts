import { RunId, RunRpc, StateUnavailable } from "@rat/domain"
import { Effect, Stream } from "effect"
import { Entity } from "effect/cluster"
import { actorPatience, noControl } from "../pipeline/PipelineEntity.ts"
import { followRun } from "./RunFollow.ts"
import { RunHub } from "./RunHub.ts"
import { RunRepository } from "./RunRepository.ts"

/** The actor of one run: cancels it and fans its news out to followers. Id: the run's. Its state is the run's rows. */
export const RunEntity = Entity.fromRpcGroup("Run", RunRpc)

/** Asks runs' actors, wherever they are. */
export const makeRunActors = Effect.map(RunEntity.client, (actor) => ({
  cancel: (runId: RunId) =>
    actor(runId)
      .Cancel()
      .pipe(Effect.timeoutOrElse({ duration: actorPatience, orElse: () => Effect.fail(noControl) })),
  /** When the actor's node dies, its successor begins anew after `afterSeq`: what was said already is left out. */
  follow: (runId: RunId, afterSeq: number) =>
    Stream.suspend(() => {
      let last = afterSeq
      return Stream.filter(actor(runId).Follow({ afterSeq }), (update) => {
        if (update._tag !== "Log") return true
        if (update.entry.seq <= last) return false
        last = update.entry.seq
        return true
      })
    }),
}))

export const RunEntityLayer = RunEntity.toLayer(
  Effect.gen(function* () {
    const { entityId } = yield* Entity.CurrentAddress
    const runId = RunId.make(entityId)
    const runs = yield* RunRepository
    const hub = yield* RunHub

    const unavailable = (cause: unknown) =>
      Effect.logWarning("The run's rows cannot be reached", cause).pipe(
        Effect.annotateLogs({ run_id: entityId }),
        Effect.andThen(Effect.fail(new StateUnavailable({ entity: `Run/${entityId}` }))),
      )

    return RunEntity.of({
      Cancel: () =>
        runs.cancel(runId).pipe(Effect.catchTag("SqlError", unavailable), Effect.annotateLogs({ run_id: entityId })),
      Follow: ({ payload }) =>
        followRun(runId, payload.afterSeq).pipe(
          Stream.provideService(RunRepository, runs),
          Stream.provideService(RunHub, hub),
          Stream.catchTag("SqlError", (error) => Stream.fromEffect(unavailable(error))),
        ),
    })
  }),
  // Followers stay for as long as the run takes, and must keep nobody from cancelling it.
  { concurrency: "unbounded", maxIdleTime: "2 minutes", mailboxCapacity: 256, disableFatalDefects: true },
)
