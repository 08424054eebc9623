import { RunControlRpc } from "@rat/domain"
import { Effect } from "effect"
import { outlastOutage } from "../sql/SqlRetry.ts"
import { RunHub } from "./RunHub.ts"
import { RunRepository } from "./RunRepository.ts"

/**
 * What runners ask of the control role. Every method may be repeated after a lost answer, so each waits for a database
 * that is away for a moment; one that stays away is a defect, which the runner treats like a lost control role.
 */
const layer = RunControlRpc.toLayer(
  Effect.gen(function* () {
    const runs = yield* RunRepository
    const hub = yield* RunHub

    const sure = <A, E extends { readonly _tag: string }, R>(effect: Effect.Effect<A, E, R>) =>
      outlastOutage(effect).pipe(
        Effect.catch((error) => (error._tag === "SqlError" ? Effect.die(error) : Effect.fail(error))),
      ) as Effect.Effect<A, Exclude<E, { readonly _tag: "SqlError" }>, R>

    return RunControlRpc.of({
      Claim: ({ node, limit, ahead }) => sure(runs.claim(node, limit, ahead)),
      Renew: ({ leases }) => sure(runs.renew(leases)),
      Release: ({ lease, handOver }) => sure(runs.release(lease, handOver)),
      Report: (progress) => sure(runs.report(progress)),
      ListZone: ({ lease, zone }) => sure(runs.listZone(lease, zone)),
      Succeed: ({ lease, outcome }) => sure(runs.succeed(lease, outcome)),
      Fail: ({ lease, failure }) => sure(runs.fail(lease, failure)),
      Stopped: ({ lease, phases, logs }) =>
        sure(
          // A branch that the attempt made after the cancel expires like any other.
          Effect.flatMap(runs.stopped(lease, phases, logs), (branch) => runs.expireBranchOf({ branch })),
        ),
      Signals: ({ node }) => hub.signals(node),
    })
  }),
)

export const RunControl = { layer }
